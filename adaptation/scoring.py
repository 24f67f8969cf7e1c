"""Scores of photographs, as they are and with synthetic defects of known size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dataset.augmentation import geometric_augmentation
from dataset.batches import seeded, unit_range
from dataset.synthetic_defects import with_synthetic_defects
from metrics.castings import equally
from model import Checkpoint
from networks.classes import class_logits, defect_flags
from networks.devices import tf32

AT_ONCE = 8
PICTURES = 160  # with synthetic defects, at most
# Upper ends of the classes of size: the width of a disc of the same area, in shares of the image's
SIZES = (0.02, 0.03, 0.04, 0.06, 0.08, math.inf)


@torch.inference_mode()
def log_odds(network: nn.Module, checkpoint: Checkpoint, images: Tensor, device) -> np.ndarray:
    """Log odds of a defect (N,), times the temperature: with two classes, the logit margin.

    Args:
        checkpoint: whose classes and temperature are the network's.
        images: grey bytes (N, S, S), or (N, 1, S, S) in 0..1.
    """
    names, temperature = checkpoint.class_names, checkpoint.temperature
    defects = defect_flags(names)
    found = []
    with tf32(allowed=False):
        for piece in images.split(AT_ONCE):
            piece = unit_range(piece) if piece.dtype == torch.uint8 else piece
            logits = class_logits(network(piece.to(device)).cpu().double(), names) / temperature
            bad, good = (logits[:, kind].logsumexp(1) for kind in (defects, ~defects))
            found.append(temperature * (bad - good))
    return torch.cat(found).numpy()


@dataclass(frozen=True)
class Drawn:
    """Photographs of good parts with synthetic defects: images (M, 1, S, S) in 0..1."""

    images: Tensor
    photograph: np.ndarray  # (M,), index of the photograph that each was drawn on
    width: np.ndarray  # (M,), of a disc as large as its defects, in shares of the image's width


def drawn_on(pixels: np.ndarray, parts: Sequence[str], seed: int) -> Drawn:
    """Pictures on photographs uint8 (N, S, S) of these parts (N,), turned and mirrored.

    As many on each photograph, or, of more than PICTURES, one on equally many of each part.
    """
    chosen = equally(parts, PICTURES)
    which = np.tile(chosen, PICTURES // len(chosen))
    generator, images, marked = seeded(seed), [], []
    for some in np.array_split(which, -(-len(which) // AT_ONCE)):
        plain = geometric_augmentation(
            unit_range(torch.from_numpy(pixels[some])), "flip", generator
        )
        chosen = torch.ones(len(some), dtype=torch.bool)
        drawn, marks = with_synthetic_defects(plain, chosen, generator)
        images.append(drawn)
        marked.append(marks.flatten(1).sum(1))
    area = torch.cat(marked).numpy()
    visible = area > 0
    width = np.sqrt(4 * area / np.pi) / pixels.shape[-1]
    return Drawn(torch.cat(images)[torch.from_numpy(visible)], which[visible], width[visible])
