"""Fit the gate of a finished network: from its training images, with limits by validation ones."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dataset.batches import Batches, unit_range
from dataset.listing import ImageRow
from gate.fitting import IMAGES, fit_distance, fit_limits
from gate.measures import measure
from imaging.reading import upright_size_px
from metrics.castings import equally
from model import Checkpoint
from networks.devices import tf32
from networks.features import Distance, logits_and_features
from training.setup import Run

AT_ONCE = 8


def fit_gate(run: Run, checkpoint: Checkpoint) -> dict:
    """What `Checkpoint.gate` holds, for the network with the checkpoint's weights."""
    model = checkpoint.model().to(run.device)
    features, measures = {}, []
    for split, batches in (("train", run.train_batches), ("val", run.val_batches)):
        rows = [row for row in run.rows if row.split == split]
        chosen = equally([row.casting or row.path for row in rows], IMAGES)
        features[split] = features_in(model, batches, chosen)
        if split == "train":
            measures = measures_of(run, batches, rows, chosen)
    mean, whitening = fit_distance(features["train"])
    distances = Distance(mean, whitening)(torch.from_numpy(features["val"])).numpy()
    return {
        "mean": mean,
        "whitening": whitening,
        "limits": fit_limits(measures, distances).as_dict(),
        "training_images": len(features["train"]),
        "validation_images": len(distances),
    }


@torch.inference_mode()
def features_in(model: nn.Module, batches: Batches, chosen: Sequence[int]) -> np.ndarray:
    """Features float32 (N, D) of the chosen images of a split, in full float32 precision."""
    found = []
    with tf32(allowed=False):
        for part in torch.tensor(chosen).split(AT_ONCE):
            pixels = batches.pixels[part.to(batches.pixels.device)].to(batches.device)
            found.append(logits_and_features(model, unit_range(pixels))[1].cpu())
    return torch.cat(found).numpy()


def measures_of(
    run: Run, batches: Batches, rows: Sequence[ImageRow], chosen: Sequence[int]
) -> list[dict[str, float]]:
    """Measures of the chosen images, hubs included where they are found."""
    found = []
    for index in chosen:
        size_px = upright_size_px(run.root / rows[index].path)
        pixels = batches.pixels[torch.tensor([index], device=batches.pixels.device)]
        found.append(measure(pixels[0].cpu().numpy(), size_px, hub=True))
    return found
