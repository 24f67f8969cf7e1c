"""Where a model decides on a new line, by scores of its good parts and of synthetic defects.

Scores are logit margins of a defect, over the margin at which the model before decides: 0 is its
decision. There are two rules, for the two ways to adapt.

* With the threshold alone: where more of the good photographs are rejected than chance explains,
  it is raised until nine in ten pass. Else it stays, as each step up costs defects; and it is never
  lowered, as good parts do not tell how many defects that would catch.
* With a tuned network: the balanced point between its scores of good parts and of synthetic defects
  (metrics/operating_point.py), and the point before. Each weighs by how many good castings it
  rests on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.castings import class_weights
from metrics.operating_point import balanced_curve, platt_goals

PASSING = 0.9  # share of the photographs of good parts
CHANCE = 0.05  # of so many rejected ones, or more, were this share to pass as it is
ROOM = 0.1  # above all of them, as a logit margin


@dataclass(frozen=True)
class Scores:
    """Scores of good parts (N,), and of defective ones (M,), synthetic or real; and their parts."""

    good: np.ndarray
    good_parts: list[str]
    defective: np.ndarray
    defective_parts: list[str]

    @property
    def parts(self) -> int:
        """How many good parts."""
        return len(set(self.good_parts))


def point_of(scores: Scores, castings_before: int, threshold_only: bool) -> float:
    """The score at which to decide, by the rule for either way to adapt."""
    return raised_point(scores) if threshold_only else blended_point(scores, castings_before)


def raised_point(scores: Scores) -> float:
    """The score at which to decide, when nothing but the threshold may change."""
    from scipy.stats import binom

    rejected = int((scores.good >= 0).sum())
    if binom.sf(rejected - 1, len(scores.good), 1 - PASSING) > CHANCE:
        return 0.0
    highest = float(np.quantile(scores.good, PASSING, method="inverted_cdf"))
    above = scores.good[scores.good > highest]
    # Midway, as rounding and a photograph's noise want room on either side
    return max(0.0, (highest + float(above.min())) / 2 if len(above) else highest + ROOM)


def blended_point(scores: Scores, castings_before: int) -> float:
    """The score at which to decide with a tuned network.

    Args:
        castings_before: good ones that the model's own operating point rests on.
    """
    odds = np.concatenate([scores.defective, scores.good])
    defective = np.arange(len(odds)) < len(scores.defective)
    castings = [f"defective {name}" for name in scores.defective_parts] + list(scores.good_parts)
    weights, goals = class_weights(castings, defective), platt_goals(defective, castings)
    _, balanced = balanced_curve(odds, goals, weights)
    return float(balanced) * scores.parts / (scores.parts + castings_before)


def groups_of(parts: Sequence[str], count: int) -> list[list[str]]:
    """The parts in at most `count` groups, to leave out one after another; [] for a single part."""
    names = sorted(set(parts), key=list(parts).index)
    if len(names) < 2:
        return []
    return [names[first::count] for first in range(min(count, len(names)))]
