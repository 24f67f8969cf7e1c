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
from networks.classes import defect_margin
from networks.devices import tf32

AT_ONCE = 8
PICTURES = 160  # with synthetic defects, at most
# Upper ends of the classes of size: the width of a disc of the same area, in shares of the image's
SIZES = (0.02, 0.03, 0.04, 0.06, 0.08, math.inf)


@torch.inference_mode()
def margins(network: nn.Module, class_names: list[str], images: Tensor, device) -> np.ndarray:
    """Logit margins of a defect (N,) of grey bytes (N, S, S), or of images (N, 1, S, S) in 0..1."""
    found = []
    with tf32(allowed=False):
        for piece in images.split(AT_ONCE):
            piece = unit_range(piece) if piece.dtype == torch.uint8 else piece
            found.append(defect_margin(network(piece.to(device)), class_names).cpu())
    return torch.cat(found).double().numpy()


@dataclass(frozen=True)
class Drawn:
    """Photographs of good parts with synthetic defects: images (M, 1, S, S) in 0..1."""

    images: Tensor
    photograph: np.ndarray  # (M,), index of the photograph that each was drawn on
    width: np.ndarray  # (M,), of a disc as large as its defects, in shares of the image's width

    def of(self, photographs: Sequence[int]) -> "Drawn":
        """Those drawn on these photographs."""
        chosen = np.isin(self.photograph, photographs)
        return Drawn(self.images[torch.from_numpy(chosen)], self.photograph[chosen],
                     self.width[chosen])  # fmt: skip

    def size_class(self) -> np.ndarray:
        """Which of SIZES each belongs to (M,)."""
        return np.digitize(self.width, SIZES)


def drawn_on(pixels: np.ndarray, seed: int) -> Drawn:
    """The same number of pictures on each photograph uint8 (N, S, S), turned and mirrored."""
    copies = max(1, PICTURES // len(pixels))
    which = np.tile(np.arange(len(pixels)), copies)[:PICTURES]
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
