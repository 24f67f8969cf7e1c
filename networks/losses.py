"""Losses: cross-entropy for either head, and what the local network learns from.

The local network learns from whole parts by their class, and from cells where the truth is known.
A photograph of a defective casting says only that some cell is bad. One of a good casting says that
all its cells are good, but for those with a synthetic defect, which are bad.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_max_pool2d,
    binary_cross_entropy_with_logits,
    cross_entropy,
    max_pool2d,
)

from networks.classes import class_logits, defect_flags, logit_margin
from networks.local import LocalNetwork

CELL_WEIGHT = 0.5  # of the cells' loss, beside that of the parts


class LocalLoss(nn.Module):
    """Mean loss over `(maps, each (B, C, h, w), targets (B,), marks (B, 1, S, S))`.

    Marks are 1 on synthetic defects. A part with one counts as defective, whatever kind
    of defect, and no longer as its target.
    """

    def __init__(self, network: LocalNetwork, class_names: list[str], smoothing: float = 0.0):
        super().__init__()
        self.pooled = network.pooled
        self.class_names, self.smoothing = class_names, smoothing
        self.register_buffer("defects", defect_flags(class_names))

    def forward(
        self, maps: Sequence[Tensor], targets: Tensor, marks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss (), and which parts (B,) were classified right."""
        maps = [cells.float() for cells in maps]
        logits = class_logits(self.pooled(maps), self.class_names)
        synthetic = marks.flatten(1).amax(1) > 0
        by_class = cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)
        any_defect = -logits.log_softmax(1).masked_fill(~self.defects, -torch.inf).logsumexp(1)
        parts = torch.where(synthetic, any_defect, by_class).mean()
        known = ~self.defects[targets]
        cells = [logit_margin(one, self.defects) for one in maps if one[0, 0].numel() > 1]
        loss = parts + CELL_WEIGHT * sum(cell_loss(one, marks, known) for one in cells)
        predicted = logits.detach().argmax(1)
        return loss, torch.where(synthetic, self.defects[predicted], predicted == targets)


def cell_loss(logits: Tensor, marks: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of cells, marked and unmarked ones weighing alike.

    Args:
        logits: of 'is a defect', (B, h, w).
        marks: (B, 1, S, S); a cell that holds a marked pixel is bad. Its neighbours, which see it
            too, are left out.
        known: bool (B,), the images whose cells are known.
    """
    bad = adaptive_max_pool2d(marks[:, 0], logits.shape[1:])  # (B, h, w), as all below
    near = max_pool2d(bad, 3, stride=1, padding=1)  # bad, or beside a bad one
    known = known.view(-1, 1, 1).float()
    each = binary_cross_entropy_with_logits(logits, bad, reduction="none")
    marked, plain = known * bad, known * (1 - near)
    # One is added to either count: a batch without marked cells has none to divide by.
    return sum((each * weight).sum() / (weight.sum() + 1) for weight in (marked, plain))


def loss_function(head: str, class_names: Sequence[str], smoothing: float = 0.0) -> nn.Module:
    """Mean loss over `(logits (B, C), class indices (B,))`, for either head.

    `smoothing` is the share of the target that goes to all classes alike (label smoothing).
    """
    if head == "softmax":
        return nn.CrossEntropyLoss(label_smoothing=smoothing)
    return DefectBCELoss(class_names, smoothing)


class DefectBCELoss(nn.Module):
    """BCEWithLogitsLoss on the single logit (B, 1) of 'is a defect', from class indices (B,)."""

    def __init__(self, class_names: Sequence[str], smoothing: float = 0.0):
        super().__init__()
        certain = defect_flags(class_names).float()
        self.register_buffer("wanted", certain * (1 - smoothing) + smoothing / 2)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        wanted = self.wanted.to(logits.device)[targets]
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0].float(), wanted)
