"""Probabilities of logits at a temperature, and how far probabilities can be believed."""

import numpy as np

CALIBRATION_BINS = 10


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, C) of logits (N, C) at a temperature."""
    from scipy.special import softmax

    return softmax(logits / temperature, axis=1)


def uncalibrated(probabilities: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probabilities (N, C) at temperature 1 of those at each row's own temperature (N,)."""
    from scipy.special import softmax

    log_p = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return softmax(log_p * temperatures[:, None], axis=1)


def calibration_errors(is_defect: np.ndarray, prob_defect: np.ndarray) -> dict:
    """Brier score, negative log-likelihood and expected calibration error of P(defect) (N,).

    The ECE takes CALIBRATION_BINS bins of equal width (Naeini et al., 2015).
    """
    from sklearn.metrics import brier_score_loss, log_loss

    # P(defect) is a sum over classes, which may round to more than 1
    prob_defect = np.clip(prob_defect, 0, 1)
    clipped = np.clip(prob_defect, 1e-7, 1 - 1e-7)
    counts, means, rates = reliability(is_defect, prob_defect)
    return {
        "brier": float(brier_score_loss(is_defect, prob_defect, pos_label=True)),
        "nll": float(log_loss(is_defect, clipped, labels=[False, True])),
        "ece": float(np.sum(counts * np.abs(means - rates)) / len(prob_defect)),
        "bins": CALIBRATION_BINS,
    }


def reliability(
    is_defect: np.ndarray, prob_defect: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each bin that holds parts: how many, their mean P(defect), their share of defects."""
    bins = np.minimum((prob_defect * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    used = counts > 0
    means = np.bincount(bins, prob_defect, CALIBRATION_BINS)[used] / counts[used]
    rates = np.bincount(bins, is_defect, CALIBRATION_BINS)[used] / counts[used]
    return counts[used], means, rates
