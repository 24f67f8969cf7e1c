"""What was predicted wrongly, the worst first: missed defects, false alarms, wrong kinds."""

from dataclasses import dataclass

import numpy as np

from common.colours import DEFECT_COLOUR, GOOD_COLOUR, PALE_COLOUR
from common.labels import is_defect
from common.text import count_of
from evaluation.held_out import Evaluation

MISSED, ALARM, WRONG_KIND, RIGHT = "missed", "false alarm", "wrong kind", "right"
COLOURS = {MISSED: DEFECT_COLOUR, ALARM: GOOD_COLOUR, WRONG_KIND: PALE_COLOUR, RIGHT: PALE_COLOUR}


@dataclass(frozen=True)
class Errors:
    """Indices of images (N,), of each sort the farthest from the threshold first."""

    missed: list[int]
    alarms: list[int]
    wrong_kinds: list[int]  # defects that are rejected as another kind
    right: list[int]  # the least certain first

    @property
    def count(self) -> int:
        return len(self.missed) + len(self.alarms) + len(self.wrong_kinds)

    def describe(self) -> str:
        """'3 missed defects, 1 false alarm, 2 taken for another kind'."""
        kinds = f", {len(self.wrong_kinds):,} taken for another kind" if self.wrong_kinds else ""
        missed = count_of(len(self.missed), "missed defect")
        return f"{missed}, {count_of(len(self.alarms), 'false alarm')}{kinds}"


def sort_of(label: str, predicted: str) -> str:
    """What a prediction is: right, or which sort of error."""
    if label == predicted:
        return RIGHT
    if is_defect(label) == is_defect(predicted):
        return WRONG_KIND
    return MISSED if is_defect(label) else ALARM


def distances(evaluation: Evaluation) -> np.ndarray:
    """How far from their thresholds the images (N,) lie."""
    parts = evaluation.parts
    return np.abs(parts.prob_defect - parts.threshold)


def errors_of(evaluation: Evaluation) -> Errors:
    """The errors among held-out images."""
    far = distances(evaluation)
    found: dict[str, list[int]] = {name: [] for name in COLOURS}
    for index in np.argsort(-far, kind="stable").tolist():
        image = evaluation.images[index]
        found[sort_of(image.row.label, image.prediction.predicted_class)].append(index)
    return Errors(found[MISSED], found[ALARM], found[WRONG_KIND], found[RIGHT][::-1])


def decided_wrongly(evaluation: Evaluation) -> list[int]:
    """Missed defects and false alarms together, the worst first."""
    errors, far = errors_of(evaluation), distances(evaluation)
    return sorted(errors.missed + errors.alarms, key=lambda index: -far[index])


def most_telling(evaluation: Evaluation, count: int = 12) -> list[int]:
    """Indices of the parts worth a look: the worst errors first, then the least certain.

    Of missed defects and of false alarms alike where there are more; wrong kinds come after them.
    """
    errors, far = errors_of(evaluation), distances(evaluation)
    missed = errors.missed[: max(count // 2, count - len(errors.alarms))]
    decided = missed + errors.alarms[: count - len(missed)]
    decided.sort(key=lambda index: -far[index])
    return [*decided, *errors.wrong_kinds, *errors.right][:count]
