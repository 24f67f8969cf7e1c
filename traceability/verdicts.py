"""What persons say about photographs, and what the model had said: the last word on each."""

from dataclasses import dataclass

from common.text import chance
from traceability.log import InspectionLog

SPOKEN = """SELECT v.id, i.id, i.sha256, i.file, i.status, i.decision, i.threshold,
        i.prob_defect, v.verdict, v.person, v.time
    FROM standing v JOIN inspections i ON i.id = v.inspection_id ORDER BY v.id DESC"""


@dataclass(frozen=True)
class Judged:
    """A photograph on which a person decided, and the inspection that he decided on."""

    number: int  # of the verdict
    inspection: int
    sha256: str  # of the image file; empty when it could not be read
    file: str
    status: str
    decision: str  # the model's then
    threshold: float
    prob_defect: float | None
    verdict: str  # 'ok' or 'defect'
    person: str
    time: str  # of the verdict, UTC
    contradicted: bool = False  # an earlier verdict on the photograph was another

    @property
    def said(self) -> str:
        """'ok' or 'defect': what the model decided or, where a person was asked, leaned to."""
        if self.decision != "review" or self.prob_defect is None:
            return self.decision
        return "defect" if self.prob_defect >= self.threshold else "ok"

    @property
    def disagrees(self) -> bool:
        """Whether the model had said otherwise."""
        return bool(self.said) and self.said != self.verdict

    @property
    def opinion(self) -> str:
        """The model's, in words."""
        leaning = f", leaning to {self.said}" if self.decision == "review" else ""
        return f"{self.decision or self.status}{leaning}"

    def describe(self) -> str:
        """A line for people."""
        opinion = self.opinion
        if self.prob_defect is not None:
            opinion += f" ({chance(self.prob_defect)})"
        earlier = "; an earlier verdict was another" if self.contradicted else ""
        return f"{self.file}: {opinion}; {self.verdict} says {self.person}{earlier}"


def judged_photographs(log: InspectionLog) -> list[Judged]:
    """Each photograph with a verdict once, by the latest, whichever of its inspections it was on.

    Those where the model had decided otherwise come first, then those where it had leaned to the
    other side; of each kind the latest.
    """
    rows = list(log.query(SPOKEN))
    said: dict[str, set[str]] = {}
    latest: dict[str, tuple] = {}
    for row in rows:
        _, inspection, sha256, *_, verdict, _, _ = row
        photograph = sha256 or f"inspection {inspection}"  # without a file all are different
        said.setdefault(photograph, set()).add(verdict)
        latest.setdefault(photograph, row)
    found = [Judged(*row, len(said[photograph]) > 1) for photograph, row in latest.items()]
    return sorted(found, key=lambda one: (not one.disagrees, one.decision == "review"))
