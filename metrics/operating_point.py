"""Where to put the decision: temperature and threshold from validation parts, and their range.

Every casting counts alike, however many images it has: weights of images are 1 / images of their
casting. All of it is fitted on validation castings, never on test images. There are two aims:

* a recall: the largest threshold that catches this share of the defects. The worst of the defects
  place it, and they may be ones that nobody can see.
* 'balanced': the point at which a part is as likely to be good as to be defective, by a logistic
  curve through the scores of all parts, the classes weighing alike. The last layer's bias takes it
  in, so that the threshold is 0.5 and probabilities on either side of it can be believed alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from common.errors import UserError
from metrics.calibration import calibrated
from metrics.castings import casting_names, casting_weights, class_weights, mostly_defective

BALANCED = "balanced"
TEMPERATURES = (0.25, 10.0)  # bounds of the search; meeting one is reported
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class OperatingPoint:
    """How a checkpoint's temperature and threshold came about."""

    temperature: float
    threshold: float
    threshold_low: float  # 95 % of the thresholds fitted on resampled validation castings
    threshold_high: float
    min_recall: float | None  # None: balanced
    castings_defective: int
    castings_good: int
    logit_bias: float = 0.0  # to be taken from the logits of defects: the threshold is then 0.5
    note: str = ""

    def describe(self) -> str:
        """One line for people."""
        castings = f"{self.castings_defective} defective and {self.castings_good} good"
        note = f"; {self.note}" if self.note else ""
        return (
            f"operating point from {castings} validation castings: temperature "
            f"{self.temperature:.2f}, threshold {self.threshold:.4f} (resampled castings: "
            f"{self.threshold_low:.4f} to {self.threshold_high:.4f}) {self.aim()}{note}"
        )

    def aim(self) -> str:
        """What the threshold is for, in words."""
        if self.min_recall is None:
            return "at which both errors weigh alike"
        return f"for a recall of at least {self.min_recall:g}"

    def as_dict(self) -> dict:
        """Plain values for JSON; the logit bias is called 'cut' there."""
        return {{"logit_bias": "cut"}.get(name, name): v for name, v in asdict(self).items()}


def fit_temperature(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """The temperature that minimises the weighted negative log-likelihood of softmax(logits / T).

    Guo et al., On Calibration of Modern Neural Networks, 2017.

    Args:
        logits: (N, C).
        targets: class indices (N,).
        weights: (N,).
    """
    from scipy.special import log_softmax

    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return -float(np.sum(weights * log_softmax(scaled, axis=1)[rows, targets]))

    return _best_temperature(loss)


def _best_temperature(loss: Callable[[float], float]) -> float:
    """Where the loss, a function of the temperature's logarithm, is smallest."""
    from scipy.optimize import minimize_scalar

    bounds = np.log(TEMPERATURES)
    inner = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    # The bounded search never tries the bounds themselves.
    return float(np.exp(min((inner.x, *bounds), key=loss)))


def fit_threshold(
    is_defect: np.ndarray, prob_defect: np.ndarray, weights: np.ndarray, min_recall: float
) -> float:
    """The largest threshold whose weighted recall is at least `min_recall`.

    It lies midway between the lowest score that it must reject and the next lower one, so that
    scores on either side may move a little. Images of weight 0 do not count.
    """
    present = weights > 0
    is_defect, prob_defect, weights = is_defect[present], prob_defect[present], weights[present]
    order = np.argsort(-prob_defect, kind="stable")
    scores, caught = prob_defect[order], np.cumsum((weights * is_defect)[order])
    recall = caught / caught[-1]
    # Scores may tie: a threshold rejects all parts of one score or none.
    last_of_score = np.append(scores[:-1] != scores[1:], True)
    enough = np.flatnonzero(last_of_score & (recall >= min_recall - 1e-12))
    lowest_rejected = scores[enough[0]]
    lower = scores[scores < lowest_rejected]
    return float((lowest_rejected + (lower[0] if len(lower) else 0.0)) / 2)


def fit_operating_point(
    logits: np.ndarray,
    targets: np.ndarray,
    defect_classes: np.ndarray,
    castings: Sequence[str],
    aim: float | str,
    seed: int = 0,
) -> OperatingPoint:
    """Where to decide, from validation logits (N, C), targets (N,) and castings (N,).

    Args:
        defect_classes: bool (C,), which classes are defects.
        aim: BALANCED, or the share of defective parts to catch, castings weighted alike.

    Raises:
        UserError: no validation part is defective, or for BALANCED none is good.
    """
    is_defect = defect_classes[targets]
    if not is_defect.any():
        raise UserError("the validation part holds no defective casting to place a threshold by")
    if aim == BALANCED and is_defect.all():
        raise UserError("the validation part holds no good casting to place a threshold by")
    find = _balanced if aim == BALANCED else partial(_of_recall, min_recall=aim)
    temperature, threshold, bias, drawn = find(logits, targets, defect_classes, castings, seed)
    low, high = np.quantile(drawn, (0.025, 0.975))
    names = casting_names(castings)
    at_bound = min(abs(temperature - bound) for bound in TEMPERATURES) < 1e-9
    return OperatingPoint(
        temperature=temperature,
        threshold=threshold,
        threshold_low=float(low),
        threshold_high=float(high),
        min_recall=None if aim == BALANCED else aim,
        castings_defective=len(set(names[is_defect])),
        castings_good=len(set(names[~is_defect])),
        logit_bias=bias,
        note=f"the temperature met its bound {temperature:g}" if at_bound else "",
    )


def _of_recall(logits, targets, defect_classes, castings, seed, min_recall) -> tuple:
    """Temperature, threshold, no logit bias, and the thresholds of resampled castings."""
    is_defect, weights = defect_classes[targets], casting_weights(castings)
    temperature = fit_temperature(logits, targets, weights)
    prob_defect = calibrated(logits, temperature)[:, defect_classes].sum(axis=1)
    fit = partial(fit_threshold, is_defect, prob_defect, min_recall=min_recall)
    drawn = [fit(weights * times) for times in _resampled_castings(is_defect, castings, seed)]
    return temperature, fit(weights), 0.0, drawn


def _balanced(logits, targets, defect_classes, castings, seed) -> tuple:
    """Temperature after the logit bias, the threshold 0.5, the bias, and resampled thresholds.

    The latter are by curves of the same steepness to the same goals.
    """
    from scipy.special import expit

    is_defect = defect_classes[targets]
    weights, goals = class_weights(castings, is_defect), platt_goals(is_defect, castings)
    _, bias = balanced_curve(_log_odds(logits, defect_classes), goals, weights)
    temperature = fit_temperature(logits - bias * defect_classes, targets, weights)
    # Once more: the sum over several defect classes depends on the temperature.
    odds = temperature * _log_odds(logits / temperature, defect_classes)
    curve_temperature, bias = balanced_curve(odds, goals, weights)
    biases = [
        _fit_bias(odds, goals, weights * times, curve_temperature)[1]
        for times in _resampled_castings(is_defect, castings, seed)
    ]
    return temperature, 0.5, bias, expit((np.array(biases) - bias) / temperature)


# --- balanced ------------------------------------------------------------------------------------


def platt_goals(is_defect: np.ndarray, castings: Sequence[str]) -> np.ndarray:
    """What P(defect) (N,) should be: as near to 0 or 1 as the number of castings warrants.

    With goals of 0 and 1 a curve between classes that do not overlap would be infinitely steep, and
    its middle anywhere between them. Platt, Probabilistic Outputs for Support Vector Machines,
    1999, section 2.2, with castings as samples. The middle comes to lie nearer to the class of
    which less is known: its scores are taken to be less typical. That is mostly the good parts.
    """
    names = casting_names(castings)
    defective, good = (len(set(names[chosen])) for chosen in (is_defect, ~is_defect))
    return np.where(is_defect, (defective + 1) / (defective + 2), 1 / (good + 2))


def balanced_curve(odds: np.ndarray, goals: np.ndarray, weights: np.ndarray) -> tuple:
    """`(temperature, bias)` of the curve sigmoid((odds - bias) / temperature) through the goals.

    Args:
        odds: log odds of a defect, (N,).
        goals: P(defect) that is aimed at, (N,).
        weights: (N,).
    """
    temperature = _best_temperature(
        lambda log_t: _fit_bias(odds, goals, weights, np.exp(log_t))[0],
    )
    return temperature, _fit_bias(odds, goals, weights, temperature)[1]


def _fit_bias(
    odds: np.ndarray, goals: np.ndarray, weights: np.ndarray, temperature: float
) -> tuple[float, float]:
    """The smallest weighted cross-entropy of the curve of this temperature, and its bias."""
    from scipy.optimize import minimize_scalar

    def loss(bias: float) -> float:
        scaled = (odds - bias) / temperature
        return float(weights @ (np.logaddexp(0, scaled) - goals * scaled))

    bounds = odds.min() - 1, odds.max() + 1
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(found.fun), float(found.x)


def _log_odds(logits: np.ndarray, defect_classes: np.ndarray) -> np.ndarray:
    """Log odds (N,) of any defect, of logits (N, C)."""
    from scipy.special import logsumexp

    bad, good = logits[:, defect_classes], logits[:, ~defect_classes]
    return logsumexp(bad, axis=1) - logsumexp(good, axis=1)


def _resampled_castings(
    is_defect: np.ndarray, castings: Sequence[str], seed: int
) -> Iterator[np.ndarray]:
    """BOOTSTRAP_DRAWS times: how often each image's casting is drawn, (N,), within its class."""
    random = np.random.default_rng(seed)
    unique, inverse = np.unique(casting_names(castings), return_inverse=True)
    defective = mostly_defective(np.bincount(inverse, is_defect), np.bincount(inverse))
    for _ in range(BOOTSTRAP_DRAWS):
        times = np.zeros(len(unique))
        for group in (np.flatnonzero(defective), np.flatnonzero(~defective)):
            if len(group):
                drawn = random.choice(group, len(group))
                times += np.bincount(drawn, minlength=len(unique))
        drawn_kinds = set(is_defect[times[inverse] > 0])
        if drawn_kinds == set(is_defect):
            yield times[inverse]
