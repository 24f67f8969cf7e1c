"""Rates of independent trials: their intervals, and what so many good castings certify."""

from math import ceil, log

from common.text import count_of

CONFIDENCE = 0.95
TARGET = 0.05  # the false-alarm rate that people ask about first


def exact_rate(successes: int, trials: int) -> dict:
    """A proportion of independent trials with its Clopper-Pearson interval; None without any."""
    from scipy.stats import binomtest

    if trials == 0:
        return {"count": successes, "of": 0, "rate": None, "low": None, "high": None}
    interval = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return {
        "count": successes,
        "of": trials,
        "rate": successes / trials,
        "low": float(interval.low),
        "high": float(interval.high),
    }


def highest_rate(successes: int, trials: int) -> float:
    """The one-sided upper bound of a rate, Clopper-Pearson: without successes 1 - 0.05^(1/N).

    Args:
        trials: independent ones, at least 1.
    """
    from scipy.stats import binomtest

    one_sided = binomtest(successes, trials, alternative="less")
    return float(one_sided.proportion_ci(CONFIDENCE, method="exact").high)


def trials_to_certify(rate: float) -> int:
    """How many trials, none of them a success, put the upper bound at `rate` or below."""
    return ceil(log(1 - CONFIDENCE) / log(1 - rate))


def certificate(rejected: int, good: int) -> dict | None:
    """What good castings, each decided once, certify of the false-alarm rate; None without any."""
    if not good:
        return None
    return {
        "good": good,
        "rejected": rejected,
        "confidence": CONFIDENCE,
        "at_most": highest_rate(rejected, good),
        "target": TARGET,
        "good_for_target": trials_to_certify(TARGET),
    }


def certificate_text(found: dict) -> str:
    """'of 17 good castings 1 was rejected: with 95 % confidence ...', and what would take it on."""
    count = found["rejected"]
    which = f"{count or 'none'} {'were' if count > 1 else 'was'} rejected"
    text = (
        f"of {count_of(found['good'], 'good casting')} {which}: with "
        f"{100 * found['confidence']:g} % confidence the false-alarm rate per casting is at most "
        f"{100 * found['at_most']:.1f} %"
    )
    if found["at_most"] <= found["target"]:
        return text
    return (
        f"{text}; {found['good_for_target']} without one rejected would certify "
        f"{100 * found['target']:g} %"
    )
