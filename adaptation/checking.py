"""What an adapted model is worth, as far as the photographs at hand can tell."""

from dataclasses import asdict, dataclass

import numpy as np
from torch import nn

from adaptation.gating import handed_over
from adaptation.leaving_out import Decisions
from adaptation.photographs import Material, framing
from adaptation.scoring import SIZES
from adaptation.task import Task
from common.text import printable
from metrics.castings import mostly_defective
from metrics.decisions import count_decisions
from metrics.exact import certificate, exact_rate


@dataclass(frozen=True)
class Checked:
    """The figures of an adaptation; rates with Clopper-Pearson intervals, as `exact_rate` has them.

    `held_out`: the good photographs, decided by models that have not seen their parts; None with a
    single part. `synthetic`: defects drawn on the good photographs, by size. `old`: photographs of
    the line before, decided anew; None without any.
    """

    photographs: int
    parts: int
    recognised: bool
    framing: str
    left_out: list[dict]
    rejected_before: dict
    handed_over_before: int  # good photographs that the parent's gate leaves to a person
    held_out: dict | None
    certificate: dict | None
    defects: dict | None
    synthetic: list[dict]
    old: dict | None
    seconds: float

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def pays(self) -> bool:
        """Whether anything speaks for the adapted model: else the one before is better kept."""
        rejected = self.held_out["photographs"]["count"] if self.held_out else 0
        caught_before, caught = self.synthetic_caught
        return bool(
            self.handed_over_before
            or rejected < self.rejected_before["count"]
            or caught > caught_before
        )

    @property
    def synthetic_caught(self) -> tuple[int, int]:
        """How many of the drawn defects the parent finds, and the adapted model."""
        before, now = (
            sum(one[name] for one in self.synthetic) for name in ("caught_before", "caught")
        )
        return before, now

    def headline(self) -> dict:
        """What the last line of the command says."""
        without = self.held_out or {"photographs": {"count": None}}
        return {
            "photographs": self.photographs,
            "parts": self.parts,
            "rejected_before": self.rejected_before["count"],
            "rejected": without["photographs"]["count"],
            "pays": self.pays,
            "worse": self.old and self.old["worse"],
            "seconds": self.seconds,
        }

    def validation(self) -> dict:
        """What `Checkpoint.validation` holds: numbers."""
        found = {"parts": self.parts}
        if self.held_out:
            found["good"] = self.photographs
            found["false_alarms"] = self.held_out["photographs"]["count"]
        return found


def checked(
    task: Task, network: nn.Module, point: float, decisions: Decisions, seconds: float
) -> Checked:
    """The figures of the adapted network, which decides at this point.

    Args:
        decisions: on parts that were left out.
        seconds: that the adaptation took.
    """
    parent, good, left_out = task.parent, task.good, bool(decisions.points)
    without = held_out_figures(decisions.rejected, good.parts) if left_out else None
    drawn, defects = task.drawn, None
    if task.defective:
        before = parent.scores(parent.network, task.defective.pixels) >= 0
        defects = defect_figures(before, decisions.caught if left_out else None)
    good_before, drawn_before = task.before
    drawn_now = parent.scores(network, drawn.images)
    return Checked(
        photographs=len(good.photographs),
        parts=good.count,
        recognised=good.recognised,
        framing=framing(good.photographs),
        left_out=[{"path": printable(path), "reason": reason} for path, reason in good.left_out],
        rejected_before=exact_rate(int((good_before >= 0).sum()), len(good_before)),
        handed_over_before=handed_over(
            parent.checkpoint, parent.network, good.photographs, parent.device
        ),
        held_out=without,
        certificate=certified(without, good),
        defects=defects,
        synthetic=synthetic_figures(drawn.width, drawn_before >= 0, drawn_now >= point),
        old=old_figures(task, network, point) if task.earlier else None,
        seconds=round(seconds, 1),
    )


def certified(without: dict | None, good: Material) -> dict | None:
    """What parts that were left out certify; None where photographs may show one and the same."""
    if without is None or not good.recognised:
        return None
    return certificate(without["parts"]["count"], good.count)


def held_out_figures(rejected: np.ndarray, parts: list[str]) -> dict:
    """Of good photographs (N,): how many are rejected, of how many parts, and of each part.

    A part is rejected that half of its photographs or more are.
    """
    each = []
    for part in dict.fromkeys(parts):
        own = rejected[np.array(parts) == part]
        each.append({"part": part, "photographs": len(own), "rejected": int(own.sum())})
    lost = sum(mostly_defective(one["rejected"], one["photographs"]) for one in each)
    return {
        "photographs": exact_rate(int(rejected.sum()), len(rejected)),
        "parts": exact_rate(lost, len(each)),
        "each": each,
    }


def defect_figures(before: np.ndarray, caught: np.ndarray | None) -> dict:
    """Of defective photographs (M,): how many the parent, and models without them, reject."""
    return {
        "caught_before": exact_rate(int(before.sum()), len(before)),
        "caught": None if caught is None else exact_rate(int(caught.sum()), len(caught)),
    }


def synthetic_figures(widths: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[dict]:
    """By class of size: how many defects there are, and how many parent and adapted model catch."""
    rows, low = [], 0.0
    for number, high in enumerate(SIZES):
        own = np.digitize(widths, SIZES) == number
        rows.append(
            {
                "from": low,
                "to": None if np.isinf(high) else high,  # of the image's width
                "drawn": int(own.sum()),
                "caught_before": int(before[own].sum()),
                "caught": int(after[own].sum()),
            }
        )
        low = high
    return rows


def old_figures(task: Task, network: nn.Module, point: float) -> dict:
    """Of photographs of the line before: which decisions became wrong, and which right."""
    parent, earlier = task.parent, task.earlier
    is_defect = earlier.is_defect
    scores_before = parent.scores(parent.network, earlier.pixels)
    scores = parent.scores(network, earlier.pixels)
    before = count_decisions(is_defect, scores_before, 0)
    now = count_decisions(is_defect, scores, point)
    right_before, right = (scores_before >= 0) == is_defect, (scores >= point) == is_defect
    return {
        "photographs": len(is_defect),
        "recognised": earlier.recognised,
        "defective": now.defects,
        "missed_before": before.missed,
        "missed": now.missed,
        "false_alarms_before": before.false_alarms,
        "false_alarms": now.false_alarms,
        "worse": int((right_before & ~right).sum()),
        "better": int((~right_before & right).sum()),
    }
