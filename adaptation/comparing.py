"""Model in use and candidate on the same photographs, none of which either has learned here.

Verdicts are decided by networks that were tuned without their part, and as long as the candidate:
tuned for less they would be worse than it. Frozen castings, which no candidate ever learns, are
decided by the candidate itself. Neither is asked whether its gate would let the photograph pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptation.leaving_out import Decisions
from adaptation.photographs import Photograph
from adaptation.promotion import FROZEN, KINDS, VERDICTS, Comparison, Group, compared_group
from adaptation.run import Adapted
from adaptation.task import Task
from common.errors import UserError
from common.text import count_of


@dataclass(frozen=True)
class Fresh:
    """Which photographs can tell: good and defective ones with a verdict, and frozen castings.

    Those of parts of which the model in use, or the lesson of old castings, shows no photograph;
    and frozen castings of which no verdict does. Bool (N,) each.
    """

    good: np.ndarray
    defective: np.ndarray
    frozen: np.ndarray


def fresh(task: Task) -> Fresh:
    """Find them, before hours of work depend on it.

    Raises:
        UserError: there is none.
    """
    good, defective, earlier = task.good, task.defective, task.earlier
    learned = learned_before(task.parent.checkpoint.adaptation)
    again = {one.contents for one in earlier.learned}
    spoken = {one.contents for one in (*good.photographs, *defective.photographs)}
    found = Fresh(
        unknown(good.photographs, good.parts, learned, again),
        unknown(defective.photographs, defective.parts, learned, again),
        unknown(earlier.frozen, earlier.parts, learned, spoken),
    )
    if not (found.good.any() or found.defective.any()):
        raise UserError(
            "nothing new: the model in use has learned the parts of all "
            f"{count_of(len(found.good) + len(found.defective), 'photograph')} with a verdict"
        )
    kinds = earlier.is_defect[found.frozen]
    if kinds.all() or not kinds.any():
        raise UserError(
            "--old: of its castings that are not to be learned, none of the good or none of the "
            "defective ones is left to test: the others have been learned, or have a verdict"
        )
    return found


def learned_before(adaptation: dict | None) -> set[str]:
    """SHA-256 of the photographs that a model was adapted by, and those before it."""
    if not adaptation:
        return set()
    own = (one["sha256"] for kind in ("good", "defective", "old") for one in adaptation[kind])
    return {*own, *adaptation.get("verdicts", {}).get("learned", ())}


def unknown(
    photographs: Sequence[Photograph], parts: Sequence[str], learned: set[str], shown: set[bytes]
) -> np.ndarray:
    """Bool (N,): of whose part no photograph is learned, by SHA-256, or shown, by contents."""
    known = {
        part
        for one, part in zip(photographs, parts, strict=True)
        if one.sha256 in learned or one.contents in shown
    }
    return np.array([part not in known for part in parts], bool)


def compared(adapted: Adapted, able: Fresh) -> Comparison:
    """How model in use and candidate decide all photographs that can tell."""
    groups = _on_verdicts(adapted.task, adapted.decisions, able) + _frozen(adapted, able)
    return Comparison(groups)


def _on_verdicts(task: Task, decisions: Decisions, able: Fresh) -> list[Group]:
    def before(pixels: np.ndarray) -> np.ndarray:
        return task.parent.scores(task.parent.network, pixels) >= 0

    good, defective = task.good, task.defective
    wrong = before(good.pixels), decisions.rejected
    missed = ~before(defective.pixels), ~decisions.caught
    return [
        _group(VERDICTS, KINDS[0], good.parts, *wrong, able.good),
        _group(VERDICTS, KINDS[1], defective.parts, *missed, able.defective),
    ]


def _frozen(adapted: Adapted, able: Fresh) -> list[Group]:
    parent, earlier = adapted.task.parent, adapted.task.earlier
    before = parent.scores(parent.network, earlier.pixels) >= 0
    now = parent.scores(adapted.network, earlier.pixels) >= adapted.point
    wrong = before != earlier.is_defect, now != earlier.is_defect
    kinds = zip(KINDS, (~earlier.is_defect, earlier.is_defect), strict=True)
    return [_group(FROZEN, kind, earlier.parts, *wrong, able.frozen & own) for kind, own in kinds]


def _group(
    source: str,
    kind: str,
    parts: Sequence[str],
    before: np.ndarray,
    now: np.ndarray,
    chosen: np.ndarray,
) -> Group:
    names = np.array(parts)[chosen].tolist()
    return compared_group(source, kind, names, before[chosen], now[chosen])
