"""Counts, rates and intervals from predictions; numpy in, plain numbers out.

Positive means 'defect'. A part is rejected when its defect probability reaches the threshold.
Photographs of one casting are not independent, so intervals come from resampling castings.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from metrics.castings import mostly_defective
from metrics.exact import exact_rate

BOOTSTRAP_DRAWS = 2000
INTERVALS = (
    f"95 %, castings resampled within class ({BOOTSTRAP_DRAWS:,} draws); per casting "
    "Clopper-Pearson; variance of training is left out"
)


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
    is_defect: np.ndarray, defect_probability: np.ndarray, threshold: float | np.ndarray
) -> DecisionCounts:
    """Count decisions of parts (N,) at a threshold or each at its own; equal to it rejects."""
    is_defect = np.asarray(is_defect, bool)
    rejected = np.asarray(defect_probability) >= threshold
    return DecisionCounts(
        defects=int(is_defect.sum()),
        missed=int((is_defect & ~rejected).sum()),
        good=int((~is_defect).sum()),
        false_alarms=int((~is_defect & rejected).sum()),
    )


# --- a set of held-out parts ---------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Held-out images (N,) with their predictions."""

    is_defect: np.ndarray  # bool
    prob_defect: np.ndarray
    threshold: np.ndarray  # of the model that predicted the image
    castings: np.ndarray  # names; an image of unknown casting is its own
    folds: np.ndarray  # int, which model predicted the image
    sessions: np.ndarray  # names, of when it was photographed; '' where nobody knows

    def chosen(self, mask: np.ndarray) -> "Parts":
        """The parts that a bool mask (N,) picks."""
        return Parts(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    @property
    def by_session(self) -> dict[str, np.ndarray]:
        """Masks (N,) by the session's name; none unless at least two sessions are known."""
        names = sorted(set(self.sessions.tolist()) - {""})
        return {name: self.sessions == name for name in names} if len(names) > 1 else {}

    @property
    def rejected(self) -> np.ndarray:
        return self.prob_defect >= self.threshold

    @property
    def counts(self) -> DecisionCounts:
        return count_decisions(self.is_defect, self.prob_defect, self.threshold)

    @property
    def both_labels(self) -> list[str]:
        """Castings with good and defective images: suspected label errors."""
        return sorted(
            set(self.castings[self.is_defect].tolist())
            & set(self.castings[~self.is_defect].tolist())
        )


def summarise(parts: Parts, seed: int = 0) -> dict:
    """All figures of a set of parts: counts first, then rates with intervals.

    `rates` count images; `within_castings` averages images within each casting first; `per_casting`
    decides each casting once, by the mean probability over its images. The latter two leave
    out castings with both labels; `without_both_labels` shows the former without them too.
    """
    both = parts.both_labels
    single = parts.chosen(~np.isin(parts.castings, both))
    table = CastingTable(parts, seed)
    result = {
        "images": len(parts.is_defect),
        "castings": len(table.names),
        "castings_good": int((~table.defective).sum()),
        "counts": asdict(parts.counts),
        "rates": table.rates(),
        "roc_auc": table.auc(parts),
        "within_castings": {},
        "per_casting": {},
        "both_labels": both,
    }
    if len(single.is_defect):
        table = CastingTable(single, seed)
        result["within_castings"] = {
            **table.rates(within_castings=True),
            "balanced_accuracy": table.balanced_accuracy(),
        }
        castings = one_part_a_casting(single)
        result["per_casting"] = exact_rates(castings.counts)
        result["per_casting_roc_auc"] = CastingTable(castings, seed).auc(castings)
    if both:
        result["without_both_labels"] = {
            "images": len(single.is_defect),
            "counts": asdict(single.counts),
            "rates": CastingTable(single, seed).rates() if len(single.is_defect) else {},
        }
    return result


class CastingTable:
    """Sums of decisions by casting, and how often each casting is drawn in each resampling."""

    def __init__(self, parts: Parts, seed: int = 0, draws: int = BOOTSTRAP_DRAWS):
        self.names, self.casting = np.unique(parts.castings, return_inverse=True)

        def by_casting(flags: np.ndarray) -> np.ndarray:
            return np.bincount(self.casting, flags, minlength=len(self.names))

        self.sums = {
            "defects": by_casting(parts.is_defect),
            "missed": by_casting(parts.is_defect & ~parts.rejected),
            "good": by_casting(~parts.is_defect),
            "false_alarms": by_casting(~parts.is_defect & parts.rejected),
        }
        self.sizes = self.sums["defects"] + self.sums["good"]
        self.defective = mostly_defective(self.sums["defects"], self.sizes)
        random = np.random.default_rng(seed)
        self.times = np.zeros((draws, len(self.names)))  # of each casting in each draw
        for group in (np.flatnonzero(self.defective), np.flatnonzero(~self.defective)):
            if len(group):
                even = np.full(len(group), 1 / len(group))
                self.times[:, group] = random.multinomial(len(group), even, size=draws)

    def rates(self, *, within_castings: bool = False) -> dict[str, dict]:
        """The rates that a manufacturing engineer reads, in this order, each with its interval."""
        size = self.sizes if within_castings else np.ones(len(self.names))
        defects, missed = self.sums["defects"] / size, self.sums["missed"] / size
        good, alarms = self.sums["good"] / size, self.sums["false_alarms"] / size
        caught = defects - missed
        return {
            "missed_defects": self._rate(missed, defects),
            "false_alarms": self._rate(alarms, good),
            "accuracy": self._rate(caught + good - alarms, defects + good),
            "precision": self._rate(caught, caught + alarms),
            "recall": self._rate(caught, defects),
        }

    def balanced_accuracy(self) -> dict:
        """Mean of the shares of defects caught and of good parts passed, within castings.

        None without both kinds: the mean of one share would be no balance.
        """
        defects, missed, good, alarms = (each / self.sizes for each in self.sums.values())
        if not (defects.any() and good.any()):
            return {"rate": None, "low": None, "high": None}

        def mean_of_shares(times: np.ndarray) -> np.ndarray:
            caught = ratio(times @ (defects - missed), times @ defects)
            return (caught + ratio(times @ (good - alarms), times @ good)) / 2

        low, high = self.interval(mean_of_shares)
        return {"rate": float(mean_of_shares(np.ones(len(good)))), "low": low, "high": high}

    def _rate(self, successes: np.ndarray, trials: np.ndarray) -> dict:
        total = float(trials.sum())
        if not total:
            return {"count": 0, "of": 0, "rate": None, "low": None, "high": None}
        low, high = self.interval(lambda times: ratio(times @ successes, times @ trials))
        count = float(successes.sum())
        whole = count.is_integer() and total.is_integer()
        return {
            "count": int(count) if whole else round(count, 4),
            "of": int(total) if whole else round(total, 4),
            "rate": count / total,
            "low": low,
            "high": high,
        }

    def interval(self, statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """Percentile interval of a statistic of the draws: (D, castings) -> (D,), NaN for none."""
        parts = np.array_split(self.times, 8)  # a draw's weights of all images take memory
        values = np.concatenate([statistic(times) for times in parts])
        low, high = np.nanquantile(values, (0.025, 0.975))
        return float(low), float(high)

    def auc(self, parts: Parts) -> dict:
        """ROC-AUC: the mean over folds with its interval, each fold's, and that of all pooled.

        Scores of different models are on different scales, which the pooled figure ignores.
        """
        masks = [parts.folds == fold for fold in np.unique(parts.folds)]
        masks = [m for m in masks if len(set(parts.is_defect[m].tolist())) == 2]
        if not masks:
            return {"mean": None, "low": None, "high": None, "folds": [], "pooled": None}
        each = [weighted_auc(parts.is_defect[m], parts.prob_defect[m]) for m in masks]

        def mean_over_folds(times: np.ndarray) -> np.ndarray:
            images = times[:, self.casting]  # (D, N)
            aucs = [
                weighted_auc(parts.is_defect[m], parts.prob_defect[m], images[:, m]) for m in masks
            ]
            present = ~np.isnan(aucs)  # a draw may leave a fold without good castings
            return ratio(np.where(present, aucs, 0).sum(axis=0), present.sum(axis=0))

        low, high = self.interval(mean_over_folds)
        return {
            "mean": float(np.mean(each)),
            "low": low,
            "high": high,
            "folds": [float(value) for value in each],
            "pooled": float(weighted_auc(parts.is_defect, parts.prob_defect)),
        }


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where nothing was tried."""
    empty = denominator == 0
    return np.where(empty, np.nan, numerator / np.where(empty, 1, denominator))


def weighted_auc(
    is_defect: np.ndarray, prob_defect: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve, ties counted half.

    Args:
        is_defect, prob_defect: (N,).
        weights: (N,) or, for many weightings at once, (D, N); the result is then (D,).
    """
    weights = np.ones(len(is_defect)) if weights is None else weights
    order = np.argsort(prob_defect, kind="stable")
    scores = prob_defect[order]
    first = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))  # of each distinct score
    defects = np.add.reduceat((weights * is_defect)[..., order], first, axis=-1)
    good = np.add.reduceat((weights * ~is_defect)[..., order], first, axis=-1)
    good_below = np.cumsum(good, axis=-1) - good / 2
    pairs = defects.sum(axis=-1) * good.sum(axis=-1)
    return ratio((defects * good_below).sum(axis=-1), pairs)


def one_part_a_casting(parts: Parts) -> Parts:
    """Each casting as one part: the mean probability of its images, at their model's threshold."""
    names, first, casting = np.unique(parts.castings, return_index=True, return_inverse=True)
    sizes = np.bincount(casting)
    return Parts(
        is_defect=mostly_defective(np.bincount(casting, parts.is_defect), sizes),
        prob_defect=np.bincount(casting, parts.prob_defect) / sizes,
        threshold=parts.threshold[first],
        castings=names,
        folds=parts.folds[first],
        sessions=np.full(len(names), ""),  # its images may be of several
    )


def exact_rates(counts: DecisionCounts) -> dict[str, dict]:
    """Rates of independent parts, each with its Clopper-Pearson interval."""
    return {
        "missed_defects": exact_rate(counts.missed, counts.defects),
        "false_alarms": exact_rate(counts.false_alarms, counts.good),
        "accuracy": exact_rate(counts.right, counts.images),
        "recall": exact_rate(counts.caught, counts.defects),
    }


def format_rate(value: dict) -> str:
    """'2/241 = 0.83 % (0.23 % to 2.97 %)'."""
    if value["rate"] is None:
        return "none to count"
    low, high = value["low"], value["high"]
    count = value["count"] if isinstance(value["count"], int) else f"{value['count']:.1f}"
    text = f"{count}/{value['of']:g} = {100 * value['rate']:.2f} %"
    if low == high:  # no castings that differ: resampling them says nothing
        return text
    return f"{text} ({100 * low:.2f} % to {100 * high:.2f} %)"
