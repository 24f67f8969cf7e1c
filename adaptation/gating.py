"""The gate of an adapted model: what it knows from before, and the new line.

Features are taken to be normal about two means, those of the training images and of the new
photographs, which weigh alike. One mean and covariance stand for both, so that the gate is wider
than before, most of all between the two lines. The training images' features are those of the
network before: they are not at hand, and tuning changes the first stages little.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adaptation.photographs import Photograph
from dataset.batches import unit_range
from gate.fitting import REFUSE, REVIEW, fit_distance, fit_limits
from gate.limits import Interval, Limits
from model import Checkpoint
from networks.devices import tf32
from networks.features import Distance, logits_and_features

AT_ONCE = 16  # photographs


@torch.inference_mode()
def features_in_all_positions(network: nn.Module, pixels: np.ndarray, device) -> np.ndarray:
    """Features float32 (N, 8, D) of images uint8 (N, S, S), turned and mirrored as parts lie."""
    found = []
    for image in torch.from_numpy(pixels):
        turned = [image.rot90(quarter) for quarter in range(4)]
        views = torch.stack(turned + [view.flip(1) for view in turned])
        found.append(features_of_views(network, views, device))
    return torch.stack(found).numpy()


def features_of_views(network: nn.Module, views: Tensor, device) -> Tensor:
    """Features (B, D) of images uint8 (B, S, S), in full float32 precision, on the CPU."""
    with tf32(allowed=False):
        return logits_and_features(network, unit_range(views.to(device)))[1].cpu()


def fit_gate(
    parent: Checkpoint, photographs: Sequence[Photograph], parts: Sequence[str], features
) -> dict | None:
    """What `Checkpoint.gate` holds; None where the parent has none.

    Args:
        features: (N, 8, D), as `features_in_all_positions` gives them.
    """
    if parent.gate is None:
        return None
    mean, whitening = pooled(parent.gate, features)
    limits = parent.limits
    known = max(limits.known, float(held_out(parent, features, parts).max()))
    fitted = fit_limits([one.measures for one in photographs], np.array([known]))
    measures = {
        name: wider(interval, fitted.measures.get(name))
        for name, interval in limits.measures.items()
    }
    limits = Limits(measures, known, REVIEW * known, REFUSE * known)
    return {
        "mean": mean,
        "whitening": whitening,
        "limits": limits.as_dict(),
        "training_images": parent.gate["training_images"] + len(photographs),
        "validation_images": parent.gate["validation_images"],
    }


@torch.inference_mode()
def handed_over(
    checkpoint: Checkpoint, network: nn.Module, photographs: Sequence[Photograph], device
) -> int:
    """Of how many photographs the model's gate lets it decide nothing: a person has to."""
    if checkpoint.gate is None:
        return 0
    pixels = torch.from_numpy(np.stack([one.pixels for one in photographs]))
    found = [features_of_views(network, some, device) for some in pixels.split(AT_ONCE)]
    distance = Distance(checkpoint.gate["mean"], checkpoint.gate["whitening"])
    distances = distance(torch.cat(found)).tolist()
    opinions = (
        checkpoint.limits.opinion(one.measures, of)
        for one, of in zip(photographs, distances, strict=True)
    )
    return sum(bool(kind) for kind, _ in opinions)


def pooled(before: dict, features: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean (D,) and whitening (D, D) of both lines, from a gate and new features (N, 8, D)."""
    found = features.reshape(-1, features.shape[-1]).astype(float)
    new_mean, new_whitening = (tensor.double().numpy() for tensor in fit_distance(found))
    old_mean, old_whitening = (before[name].double().numpy() for name in ("mean", "whitening"))
    apart = (new_mean - old_mean) / 2  # of either mean from the middle
    covariance = (covariance_of(old_whitening) + covariance_of(new_whitening)) / 2
    covariance += np.outer(apart, apart)
    # W W^T = C^-1: the inverse, transposed, of C's factor
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return torch.from_numpy(old_mean + apart).float(), torch.from_numpy(whitening).float()


def covariance_of(whitening: np.ndarray) -> np.ndarray:
    """C (D, D) of W with W W^T = C^-1."""
    inverse = np.linalg.inv(whitening)
    return inverse.T @ inverse


def held_out(parent: Checkpoint, features: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Distances (N,) of the photographs as they lie, each by a gate that has not seen its part."""
    parts, distances = np.array(parts), np.zeros(len(parts))
    for part in set(parts.tolist()):
        own = parts == part
        others = features[~own] if not own.all() else features
        distance = Distance(*pooled(parent.gate, others))
        distances[own] = distance(torch.from_numpy(features[own, 0]).float()).numpy()
    return distances


def wider(before: Interval, new: Interval | None) -> Interval:
    """What either spans and lets pass."""
    if new is None:
        return before
    return Interval(
        min(before.low, new.low),
        max(before.high, new.high),
        min(before.lowest, new.lowest),
        max(before.highest, new.highest),
    )
