"""Control charts: p chart, Laney's p' chart, individuals chart, runs on one side of the centre."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError

SIGMAS = 3.0
RUN_LENGTH = 8  # so many in a row on one side of the centre line are a signal (Western Electric)


MOVING_RANGE_D2 = 1.128  # mean range of two normal values, in standard deviations


@dataclass(frozen=True)
class PChart:
    """Shares (G,) with limits (G,) for each subgroup's own size; NaN where it has no parts."""

    rates: np.ndarray
    centre: float
    sigma_z: float  # Laney's: deviation of the standardised shares; 1 where they vary as binomials
    z: np.ndarray  # standardised by the binomial deviation
    lower: np.ndarray
    upper: np.ndarray
    laney_z: np.ndarray  # z / sigma_z
    laney_lower: np.ndarray
    laney_upper: np.ndarray
    runs: np.ndarray  # bool: in a run on one side of the centre

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): outside the binomial limits."""
        return _outside(self.rates, self.lower, self.upper)

    @property
    def laney_beyond(self) -> np.ndarray:
        """Bool (G,): outside Laney's limits."""
        return _outside(self.rates, self.laney_lower, self.laney_upper)


def p_chart(
    counts: Sequence[int], sizes: Sequence[int], baseline: np.ndarray, unit: str = "subgroup"
) -> PChart:
    """The p chart and Laney's p' chart of `counts` out of `sizes` (G,), in time order.

    Limits come from the subgroups in `baseline` (G,) alone and are clipped to 0..1. For subgroup i
    of n_i parts: sigma_i = sqrt(p (1 - p) / n_i), limits p +- 3 sigma_i; Laney (Improved control
    charts for attributes, Quality Engineering 14, 2002) widens them by sigma_z, the mean moving
    range of z_i = (p_i - p) / sigma_i over 1.128, because shares of large subgroups vary more than
    coin tosses do. `unit` is what people call a subgroup.

    Raises:
        UserError: fewer than two subgroups with parts in the baseline.
    """
    counts, sizes = np.asarray(counts, float), np.asarray(sizes, float)
    used = baseline & (sizes > 0)
    if used.sum() < 2:
        where = "" if baseline.all() else " in the baseline"
        raise UserError(
            f"limits need at least 2 {unit}s with inspected parts{where}, not {used.sum()}"
        )
    centre = counts[used].sum() / sizes[used].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts / sizes
        sigma = np.sqrt(centre * (1 - centre) / sizes)
        z = np.where(rates == centre, 0.0, (rates - centre) / sigma)  # no variation at all: +-inf
    z[sizes == 0] = np.nan
    sigma[sizes == 0] = np.nan
    # Equal shares have no variation to measure: then as binomials
    sigma_z = float(np.abs(np.diff(z[used])).mean() / MOVING_RANGE_D2) or 1.0
    lower, upper = _limits(centre, SIGMAS * sigma)
    laney_lower, laney_upper = _limits(centre, SIGMAS * sigma * sigma_z)
    laney_z = z / sigma_z
    runs = runs_on_one_side(rates, centre)
    return PChart(rates, centre, sigma_z, z, lower, upper, laney_z, laney_lower, laney_upper, runs)


def _limits(centre: float, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


def _outside(values: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    slack = 1e-12  # a point on its limit is inside, whatever the rounding
    return (values > upper + slack) | (values < lower - slack)


def runs_on_one_side(values: np.ndarray, centre: float) -> np.ndarray:
    """Bool (G,): whether a value belongs to RUN_LENGTH or more in a row on one side of the centre.

    A value on the centre ends a run; a subgroup without parts (NaN) neither ends nor extends one.
    """
    found = np.zeros(len(values), bool)
    present = np.flatnonzero(~np.isnan(values))
    sides = np.sign(values[present] - centre)
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

    @property
    def beyond(self) -> np.ndarray:
        """Bool (G,): outside the limits."""
        return _outside(self.values, self.lower, self.upper)


def trend_chart(sums: Sequence[float], counts: Sequence[int], baseline: np.ndarray) -> TrendChart:
    """Means `sums / counts` (G,) with limits of 3 moving-range deviations from the baseline."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(sums, float) / np.asarray(counts, float)
    known = values[baseline & ~np.isnan(values)]
    if len(known) < 2:
        return TrendChart(values, np.nan, np.nan, np.nan)
    reach = SIGMAS * np.abs(np.diff(known)).mean() / MOVING_RANGE_D2
    centre = known.mean()
    return TrendChart(values, float(centre), float(centre - reach), float(centre + reach))
