"""Fit what is unusual, at the end of a run on good parts alone: how far a part is from those.

Drawn defects teach a network where to look, but real ones need not look like them. On magnetic
tiles its logits told good from defective with a ROC-AUC of 0.78 and 0.82, the distance of the last
stage's features with 0.84 and 0.92 (docs/experiments.md, 2026-11-27). Both count: the distance
twice as much, in deviations of good validation parts.
"""

import numpy as np
import torch
from torch import nn

from dataset.batches import Batches, unit_range
from gate.fitting import fit_distance
from model import Checkpoint
from networks.classes import defect_margin
from networks.devices import tf32
from networks.features import Distance, features_of
from networks.multiscale import UNUSUAL, Unusual
from training.setup import Run

SHARE = 2.0  # of the distance, to 1 of the logits
AT_ONCE = 32


def without_unusual(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The weights that were trained."""
    return {k: v for k, v in checkpoint.weights.items() if not k.startswith(UNUSUAL)}


def with_unusual(run: Run, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The trained weights, and those of the distance from the training images."""
    model = checkpoint.model().to(run.device)
    features, _ = last_stage(model, run.train_batches, run.class_names)
    mean, whitening = fit_distance(features)
    good = ~run.val_batches.is_defect.cpu().numpy()
    features, margins = last_stage(model, run.val_batches, run.class_names)
    distances = Distance(mean, whitening)(torch.from_numpy(features[good])).numpy()
    fitted = Unusual()
    fitted.distance = Distance(mean, whitening)
    fitted.usual.fill_(float(np.median(distances)))
    fitted.weight.fill_(float(SHARE * margins[good].std() / max(distances.std(), 1e-6)))
    return checkpoint.weights | {UNUSUAL + name: v for name, v in fitted.state_dict().items()}


@torch.inference_mode()
def last_stage(
    model: nn.Module, batches: Batches, class_names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 (N, D) of the last stage and logit margins (N,) of a split's images."""
    found, margins = [], []
    with tf32(allowed=False):
        for part in torch.arange(len(batches.targets)).split(AT_ONCE):
            pixels = batches.pixels[part.to(batches.pixels.device)].to(batches.device)
            stages = model.stages(unit_range(pixels))
            found.append(features_of(stages[-1:]).cpu())
            margins.append(defect_margin(model.pooled(model.maps_of(stages)), class_names).cpu())
    return torch.cat(found).numpy(), torch.cat(margins).numpy()
