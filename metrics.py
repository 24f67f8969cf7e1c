"""Counts, rates and intervals from predictions; numpy in, plain numbers out.

Positive means 'defect'. A part is rejected when its defect probability reaches the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DecisionCounts:
    """What a threshold does to defective and good parts."""

    defects: int
    missed: int  # defective parts that were accepted
    good: int
    false_alarms: int  # good parts that were rejected

    @property
    def images(self) -> int:
        return self.defects + self.good

    @property
    def caught(self) -> int:
        return self.defects - self.missed

    @property
    def right(self) -> int:
        return self.images - self.missed - self.false_alarms


def count_decisions(
    is_defect: np.ndarray, defect_probability: np.ndarray, threshold: float
) -> DecisionCounts:
    """Count decisions of parts (N,) at a threshold; a probability equal to it rejects."""
    is_defect = np.asarray(is_defect, bool)
    rejected = np.asarray(defect_probability) >= threshold
    return DecisionCounts(
        defects=int(is_defect.sum()),
        missed=int((is_defect & ~rejected).sum()),
        good=int((~is_defect).sum()),
        false_alarms=int((~is_defect & rejected).sum()),
    )


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (nan, nan) without trials.

    It assumes independent trials. Photographs of one casting are not: the true interval is wider.
    """
    from scipy.stats import binomtest

    if trials == 0:
        return float("nan"), float("nan")
    interval = binomtest(successes, trials).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def rate(successes: int, trials: int) -> dict[str, float | int | None]:
    """A proportion as counts, value and Wilson interval; None where nothing was tried."""
    if trials == 0:
        return {"count": successes, "of": 0, "rate": None, "low": None, "high": None}
    low, high = wilson_interval(successes, trials)
    return {"count": successes, "of": trials, "rate": successes / trials, "low": low, "high": high}


def decision_rates(counts: DecisionCounts) -> dict[str, dict]:
    """The rates that a manufacturing engineer reads, in this order, each with its interval."""
    rejected = counts.caught + counts.false_alarms
    return {
        "missed_defects": rate(counts.missed, counts.defects),
        "false_alarms": rate(counts.false_alarms, counts.good),
        "accuracy": rate(counts.right, counts.images),
        "precision": rate(counts.caught, rejected),
        "recall": rate(counts.caught, counts.defects),
    }


def roc_auc(is_defect: np.ndarray, defect_probability: np.ndarray) -> float | None:
    """Area under the ROC curve; None when only one class is present."""
    from sklearn.metrics import roc_auc_score

    if len(set(np.asarray(is_defect, bool).tolist())) < 2:
        return None
    return float(roc_auc_score(is_defect, defect_probability))


def confusion_matrix(
    labels: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Counts (C, C): rows are true classes, columns predicted ones, in the order of class_names."""
    index = {name: i for i, name in enumerate(class_names)}
    matrix = np.zeros((len(class_names), len(class_names)), int)
    for label, prediction in zip(labels, predicted, strict=True):
        matrix[index[label], index[prediction]] += 1
    return matrix


def format_rate(value: dict) -> str:
    """'2/241 = 0.83 % (0.23 % to 2.97 %)'."""
    if value["rate"] is None:
        return "none to count"
    low, high = value["low"], value["high"]
    percent = f"{100 * value['rate']:.2f} %"
    return f"{value['count']}/{value['of']} = {percent} ({100 * low:.2f} % to {100 * high:.2f} %)"
