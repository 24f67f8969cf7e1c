"""Which labels are likely wrong, by predictions of models that never saw the image's casting.

The rule is that of confident learning (Northcutt, Jiang and Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, Journal of Artificial Intelligence Research 70, 2021). The threshold
of a class is its mean self-confidence: the mean probability of the class over the images that are
labelled so. A label is contradicted where its own probability is below its class's threshold and
that of another class reaches the other's. So a class of which models are less sure in general is
not suspected in general. Images are ordered by their normalised margin: the probability of the
label minus the largest of another class.

Here images come in castings, and whoever labels, labels castings. So castings come first: those
with labels of good parts and of defects, of which one must be wrong, and those whose images are
nearly all contradicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.castings import casting_names, mostly_defective

NEARLY_ALL = 0.8  # share of a casting's images


@dataclass(frozen=True)
class SuspiciousCasting:
    """A casting that was labelled twice, or against nearly all predictions."""

    name: str
    images: int
    defects: int  # images labelled as a defect
    contradicted: int  # images whose label the predictions contradict

    @property
    def both_labels(self) -> bool:
        return 0 < self.defects < self.images


@dataclass(frozen=True)
class LabelIssues:
    """What a person should look at, the most likely error first."""

    order: list[int]  # indices of images
    castings: list[SuspiciousCasting]


def class_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean self-confidence of each class, (C,); infinite for a class that no image has."""
    thresholds = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = probabilities[labels == label, label].mean()
    return thresholds


def contradicted_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Bool (N,): below the threshold of its label's class, and not below that of another class."""
    reached = probabilities >= class_thresholds(labels, probabilities)
    own = reached[np.arange(len(labels)), labels]
    return ~own & reached.any(axis=1)


def label_margins(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Probability of the label minus the largest of another class, (N,), -1 to 1."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return probabilities[np.arange(len(labels)), labels] - others.max(axis=1)


def find_label_issues(
    labels: np.ndarray,
    probabilities: np.ndarray,
    castings: Sequence[str],
    defect_classes: Sequence[bool],
) -> LabelIssues:
    """The contradicted labels, and of castings with both kinds those of the rarer kind.

    Suspicious castings come first, that with the lowest mean margin of its listed images leading;
    within a casting, and behind the castings, images go by their margin.

    Args:
        labels: int (N,), the class of each image as it is labelled.
        probabilities: (N, C), of models that never saw the casting.
        castings: names (N,).
        defect_classes: which of the C classes are defects.
    """
    contradicted = contradicted_labels(labels, probabilities)
    margins = label_margins(labels, probabilities)
    is_defect = np.asarray(defect_classes, bool)[labels]
    names = casting_names(castings)
    listed, suspicious = contradicted.copy(), []
    for name in np.unique(names):
        own = names == name
        listed |= own & rarer_kind(own, is_defect)
        found = SuspiciousCasting(
            str(name), int(own.sum()), int(is_defect[own].sum()), int(contradicted[own].sum())
        )
        if found.both_labels or found.contradicted >= NEARLY_ALL * found.images:
            suspicious.append(found)

    def members(casting: SuspiciousCasting) -> np.ndarray:
        return np.flatnonzero(listed & (names == casting.name))

    suspicious.sort(key=lambda casting: margins[members(casting)].mean())
    groups = [members(casting) for casting in suspicious]
    groups.append(np.setdiff1d(np.flatnonzero(listed), np.concatenate([*groups, []])).astype(int))
    ordered = (group[np.argsort(margins[group], kind="stable")] for group in groups)
    return LabelIssues([int(i) for group in ordered for i in group], suspicious)


def rarer_kind(own: np.ndarray, is_defect: np.ndarray) -> np.ndarray:
    """Bool (N,): the images of a casting that are labelled unlike most; none where all agree.

    Args:
        own: bool (N,), the casting's images.
        is_defect: bool (N,).
    """
    return own & (is_defect != mostly_defective(int(is_defect[own].sum()), int(own.sum())))
