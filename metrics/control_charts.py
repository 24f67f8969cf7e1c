"""Control charts: p chart, Laney's p' chart, individuals chart, runs on one side of the centre."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from metrics.exact import CONFIDENCE

SIGMAS = 3.0
TAIL = 0.00135  # what lies beyond 3 sigma of a normal value, on one side
RUN_LENGTH = 8  # so many in a row on one side of the centre line are a signal (Western Electric)
MOVING_RANGE_D2 = 1.128  # mean range of two normal values, in standard deviations
FEW = 0.25  # of the usual size: the mean of fewer parts spreads more than twice as much


@dataclass(frozen=True)
class PChart:
    """Shares (G,) with limits (G,) for each subgroup's own size; NaN where it has no parts.

    `alarm_lower` and `alarm_upper` decide, and are drawn: Laney's limits, nowhere narrower than the
    binomial distribution itself allows. Normal limits need enough parts. With few, a single reject
    can lie beyond them (Montgomery, Introduction to Statistical Quality Control, 7.2, on the sample
    size of a p chart: n p must be large enough to find one).
    """

    counts: np.ndarray
    sizes: np.ndarray
    rates: np.ndarray
    centre: float
    reference: float  # the rate that the limits are of: the centre, unless that is 0 or 1
    sigma_z: float  # Laney's: deviation of the standardised shares; 1 where they vary as binomials
    z: np.ndarray  # standardised by the binomial deviation
    lower: np.ndarray
    upper: np.ndarray
    laney_z: np.ndarray  # z / sigma_z
    laney_lower: np.ndarray
    laney_upper: np.ndarray
    alarm_lower: np.ndarray
    alarm_upper: np.ndarray
    runs_above: np.ndarray  # bool: in a run above the centre
    runs_below: np.ndarray

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): outside the binomial limits."""
        return _above(self.rates, self.upper) | _above(self.lower, self.rates)

    @property
    def spikes(self) -> np.ndarray:
        """Bool (G,): above the upper limit."""
        return _above(self.rates, self.alarm_upper)

    @property
    def dips(self) -> np.ndarray:
        """Bool (G,): below the lower limit."""
        return _above(self.alarm_lower, self.rates)

    @property
    def beyond_limits(self) -> np.ndarray:
        """Bool (G,): a spike or a dip."""
        return self.spikes | self.dips

    @property
    def runs(self) -> np.ndarray:
        """Bool (G,): in a run on one side of the centre."""
        return self.runs_above | self.runs_below


def p_chart(
    counts: Sequence[int],
    sizes: Sequence[int],
    baseline: np.ndarray,
    unit: str = "subgroup",
    note: str = "",
) -> PChart:
    """The p chart and Laney's p' chart of `counts` out of `sizes` (G,), in time order.

    Limits come from the subgroups in `baseline` (G,) alone and are clipped to 0..1. For subgroup i
    of n_i parts: sigma_i = sqrt(p (1 - p) / n_i), limits p +- 3 sigma_i; Laney (Improved control
    charts for attributes, Quality Engineering 14, 2002) widens them by sigma_z, the mean moving
    range of z_i = (p_i - p) / sigma_i over 1.128, because shares of large subgroups vary more than
    coin tosses do. A baseline of N parts without a single reject says only that p is at most
    1 - 0.05^(1/N), some 3 / N, with 95 % confidence (Clopper and Pearson): this is then the p of
    the limits. `unit` is what people call a subgroup; `note` ends the message of too few.

    Raises:
        UserError: fewer than two subgroups with parts in the baseline.
    """
    counts, sizes = np.asarray(counts, float), np.asarray(sizes, float)
    used = baseline & (sizes > 0)
    if used.sum() < 2:
        where = "" if baseline.all() else " in the baseline"
        raise UserError(
            f"limits need at least 2 {unit}s with inspected parts{where}, not {used.sum()}{note}"
        )
    centre = counts[used].sum() / sizes[used].sum()
    reference = _reference(centre, int(sizes[used].sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts / sizes
        sigma = np.where(sizes > 0, np.sqrt(reference * (1 - reference) / sizes), np.nan)
        z = (rates - reference) / sigma
    # Equal shares have no variation to measure: then as binomials
    varies = len(np.unique(rates[used])) > 1
    sigma_z = float(np.abs(np.diff(z[used])).mean() / MOVING_RANGE_D2) if varies else 1.0
    lower, upper = _limits(reference, SIGMAS * sigma)
    laney_lower, laney_upper = _limits(reference, SIGMAS * sigma * sigma_z)
    least, most = _binomial_limits(sizes, reference)
    alarm_lower, alarm_upper = np.minimum(laney_lower, least), np.maximum(laney_upper, most)
    sides = _sides(counts, sizes, reference)
    above, below = (runs_on_one_side(np.where(sides == -side, 0, sides)) for side in (1, -1))
    return PChart(
        counts, sizes, rates, centre, reference, sigma_z, z, lower, upper, z / sigma_z,
        laney_lower, laney_upper, alarm_lower, alarm_upper, above, below,
    )  # fmt: skip


def _reference(centre: float, parts: int) -> float:
    """The rate that limits are of: where the centre is 0 or 1, the furthest it may be from it."""
    if 0 < centre < 1:
        return centre
    return abs(centre - (1 - (1 - CONFIDENCE) ** (1 / parts)))


def _limits(centre: float, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


def _binomial_limits(sizes: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares (G,) beyond which chance alone leads no more often than TAIL; never one reject.

    Half a reject beyond the last number that is inside: so no point lies on a limit.
    """
    from scipy.stats import binom

    sizes = np.where(sizes > 0, sizes, np.nan)
    fewest, most = binom.ppf(TAIL, sizes, rate), np.maximum(binom.isf(TAIL, sizes, rate), 1)
    return np.clip((fewest - 0.5) / sizes, 0, 1), np.clip((most + 0.5) / sizes, 0, 1)


def _above(values: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    return values > limit + 1e-12  # a point on its limit is inside, whatever the rounding


def _at_least(counts: np.ndarray, sizes: np.ndarray, rate: float) -> np.ndarray:
    """The probability (G,) of so many rejects or more."""
    from scipy.special import bdtrc

    return np.where(counts > 0, bdtrc(counts - 1, sizes.astype(int), rate), 1.0)


def _at_most(counts: np.ndarray, sizes: np.ndarray, rate: float) -> np.ndarray:
    """The probability (G,) of so many rejects or fewer."""
    from scipy.special import bdtr

    return bdtr(counts, sizes.astype(int), rate)


def _sides(counts: np.ndarray, sizes: np.ndarray, rate: float) -> np.ndarray:
    """On which side (G,) of the usual number of rejects, -1, 0 or 1; NaN without parts.

    The usual number is the median: with few parts most shares are below the mean, none at all
    often, and runs below it would be the rule.
    """
    above = _at_least(counts, sizes, rate) <= 0.5
    below = _at_most(counts, sizes, rate) <= 0.5
    return np.where(sizes > 0, above.astype(float) - below, np.nan)


def runs_on_one_side(sides: np.ndarray) -> np.ndarray:
    """Bool (G,): whether a value belongs to RUN_LENGTH or more in a row on one side of the centre.

    The sides (G,) are -1, 0 and 1. A value on the centre, 0, ends a run; a subgroup without parts
    (NaN) neither ends nor extends one.
    """
    found = np.zeros(len(sides), bool)
    present = np.flatnonzero(~np.isnan(sides))
    sides = sides[present]
    start = 0
    for end in range(1, len(sides) + 1):
        if end == len(sides) or sides[end] != sides[start]:
            if end - start >= RUN_LENGTH and sides[start] != 0:
                found[present[start:end]] = True
            start = end
    return found


@dataclass(frozen=True)
class TrendChart:
    """Means (G,) of subgroups as an individuals chart; NaN where nothing was measured."""

    values: np.ndarray
    centre: float
    lower: float
    upper: float
    few: np.ndarray  # bool: too few parts for these limits

    @property
    def above(self) -> np.ndarray:
        """Bool (G,): above the upper limit, and not for want of parts."""
        return _above(self.values, self.upper) & ~self.few

    @property
    def below(self) -> np.ndarray:
        """Bool (G,): below the lower limit, and not for want of parts."""
        return _above(self.lower, self.values) & ~self.few

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): either."""
        return self.above | self.below


def trend_chart(sums: Sequence[float], counts: Sequence[int], baseline: np.ndarray) -> TrendChart:
    """Means `sums / counts` (G,) with limits of 3 moving-range deviations from the baseline.

    The limits are for subgroups of the usual size. The mean of n parts spreads by 1 / sqrt(n): one
    of fewer than a quarter of the baseline's median makes no limits and is not held against them.
    """
    counts = np.asarray(counts, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(sums, float) / counts
    known = baseline & ~np.isnan(values)
    usual = np.median(counts[known]) if known.any() else 0
    few = (counts > 0) & (counts < FEW * usual)
    used = values[known & ~few]
    if len(used) < 2:
        return TrendChart(values, np.nan, np.nan, np.nan, few)
    reach = SIGMAS * np.abs(np.diff(used)).mean() / MOVING_RANGE_D2
    centre = used.mean()
    return TrendChart(values, float(centre), float(centre - reach), float(centre + reach), few)
