"""Whether a candidate may take the place of the model in use: the test, stated beforehand.

Both decide the same photographs: verdicts that neither has learned, and frozen castings of the line
before; of either the good and the defective ones. They are counted by part, so that many
photographs of one count once: a part is wrong when half of its photographs or more are.

The candidate is promoted when

1. on the verdicts it is right on as many parts as the model in use, or more, and
2. in none of the four groups do parts that became wrong outnumber those that became right by more
   than chance explains: an exact one-sided sign test on the parts that changed, at 5 %.

Of fewer than five parts that changed the second says nothing, whichever way they changed. So each
group also says how large a loss remains possible: an upper bound of the share of parts that become
wrong, exact, with 95 % confidence. Four groups are tested, each at 5 %: of candidates just as good
as the model in use some are refused by chance. That costs an evening, a worse model costs parts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from common.text import count_of
from metrics.castings import mostly_defective
from metrics.exact import CONFIDENCE, highest_rate

SIGNIFICANT = 0.05
VERDICTS, FROZEN = "verdicts", "frozen castings"
KINDS = ("good", "defective")


@dataclass(frozen=True)
class Group:
    """How many parts of a kind both models decide rightly, and how many changed, either way."""

    source: str  # VERDICTS or FROZEN
    kind: str  # one of KINDS
    parts: int
    right_before: int
    became_wrong: int
    became_right: int

    @property
    def name(self) -> str:
        """'verdicts, good'."""
        return f"{self.source}, {self.kind}"

    @property
    def right(self) -> int:
        """Parts that the candidate decides rightly."""
        return self.right_before + self.became_right - self.became_wrong

    @property
    def chance(self) -> float:
        """How often a fair coin turns so many of the parts that changed wrong, or more."""
        from scipy.stats import binom

        return float(binom.sf(self.became_wrong - 1, self.became_wrong + self.became_right, 0.5))

    @property
    def worse_at_most(self) -> float | None:
        """Share of such parts that become wrong, with 95 % confidence; None without parts."""
        return highest_rate(self.became_wrong, self.parts) if self.parts else None

    def reason(self) -> str:
        """Why this group speaks against the candidate; empty when it does not."""
        if self.chance > SIGNIFICANT:
            return ""
        return (
            f"{self.name}: {self.became_wrong} became wrong, {self.became_right} right: "
            f"chance explains this in {100 * self.chance:.1f} %"
        )

    def describe(self) -> str:
        """A line for people."""
        text = f"{self.name}: {count_of(self.parts, 'part')}"
        if not self.parts:
            return text
        return (
            f"{text}, right {self.right_before} before, {self.right} now; {self.became_wrong} "
            f"became wrong, {self.became_right} right; at most {100 * self.worse_at_most:.0f} % "
            f"become wrong, with {100 * CONFIDENCE:g} % confidence"
        )

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        found = {"right": self.right, "chance": self.chance, "worse_at_most": self.worse_at_most}
        return asdict(self) | found


@dataclass(frozen=True)
class Comparison:
    """Model in use and candidate, on the same parts."""

    groups: list[Group]

    def right(self, source: str) -> tuple[int, int, int]:
        """Of a source: parts that the model in use and the candidate decide rightly, of how many.

        Good and defective ones together.
        """
        own = [group for group in self.groups if group.source == source]
        counts = ((group.right_before, group.right, group.parts) for group in own)
        before, now, parts = (sum(column) for column in zip(*counts, strict=True))
        return before, now, parts

    @property
    def reasons(self) -> list[str]:
        """Why the candidate is not promoted; empty when it is."""
        before, now, parts = self.right(VERDICTS)
        found = [reason for group in self.groups if (reason := group.reason())]
        if now < before:
            found.insert(0, f"verdicts: right on {now} of {parts} parts, the model in use {before}")
        return found

    def as_dict(self) -> dict:
        """Plain values, for JSON; also what the history of models keeps."""
        sides = {}
        for source in (VERDICTS, FROZEN):
            before, now, parts = self.right(source)
            sides[source] = {"parts": parts, "right_before": before, "right": now}
        return {
            "promoted": not self.reasons,
            "reasons": self.reasons,
            "right": sides,
            "groups": [group.as_dict() for group in self.groups],
        }


def compared_group(
    source: str, kind: str, parts: Sequence[str], before: np.ndarray, now: np.ndarray
) -> Group:
    """A group of photographs (N,) of these parts.

    Args:
        before, now: which of them model in use and candidate decide wrongly, bool (N,).
    """
    names = list(dict.fromkeys(parts))
    wrong_before, wrong_now = (wrong_parts(names, parts, wrong) for wrong in (before, now))
    return Group(
        source,
        kind,
        parts=len(names),
        right_before=int((~wrong_before).sum()),
        became_wrong=int((~wrong_before & wrong_now).sum()),
        became_right=int((wrong_before & ~wrong_now).sum()),
    )


def wrong_parts(names: Iterable[str], parts: Sequence[str], wrong: np.ndarray) -> np.ndarray:
    """Of which of the named parts half of the photographs or more are wrong, bool."""
    of = np.array(parts)
    shares = [(int(wrong[of == name].sum()), int((of == name).sum())) for name in names]
    return np.array([mostly_defective(*share) for share in shares], bool)
