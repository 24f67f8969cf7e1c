"""A local network with two more stages, for defects of any size and for their kinds.

Where parts show texture all over, or defects may be as large as the part, cells of 8 px with a view
of 50 px do not tell. Two stages more see further: cells of 16 px with a view of some 180 px, and
the mean over the whole image. A part's logits are the sum of what the most suspicious cells of both
sizes and that mean say, so that either alone can find a defect. On magnetic tiles, in folds that
share tiles, of which the local network tells good from defective with a ROC-AUC of 0.89 and
ResNet-18 with 0.71, this one reached 0.98 (docs/experiments.md, 2026-11-27). Local contrast
normalisation, without which it is 0.73, stays as it is.

A network that has learned from good parts and drawn defects alone finds defects that look like
those. What else is unusual, its last stage still sees: how far a part's features are from those of
the good parts in training (the distance of networks/features.py) is then a part of the logits, too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from networks.features import Distance, features_of
from networks.local import CHANNELS, LocalNetwork
from networks.resnet import draw_weights, wider_stage

UNUSUAL = "unusual."  # how the names of these weights begin
UNUSUAL_FEATURES = 2 * 8 * CHANNELS  # mean and deviation of each channel of the last stage


class MultiscaleNetwork(LocalNetwork):
    """Grey images (B, 1, S, S) in 0..1 to logits (B, C); arguments as of `LocalNetwork`."""

    by_cells_alone = False
    top_share = 0.03  # 12 of 20 x 20 cells, 3 of 10 x 10

    def __init__(self, outputs: int, defects: Sequence[bool]):
        super().__init__(outputs, defects)
        second, third, fourth = 2 * CHANNELS, 4 * CHANNELS, 8 * CHANNELS
        self.layer3, self.layer4 = wider_stage(second), wider_stage(third)
        for layer in (*self.layer3.modules(), *self.layer4.modules()):
            if isinstance(layer, nn.Conv2d):
                draw_weights(layer)
        self.fc3 = nn.Conv2d(third, outputs, kernel_size=1)
        self.fc4 = nn.Conv2d(fourth, outputs, kernel_size=1)
        self.unusual: Unusual | None = None

    def later_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the four stages, of what the stem has made."""
        first, second = super().later_stages(x)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)

    def maps_of(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Logits of the fine cells, of the coarse ones, and of the whole, (B, C, 1, 1)."""
        _, second, third, fourth = stages
        whole = self.fc4(fourth.mean(dim=(2, 3), keepdim=True))
        if self.unusual is not None:
            logit = self.unusual(fourth).view(-1, 1, 1, 1)
            whole = whole + (
                logit if whole.shape[1] == 1 else logit * self.defects.view(1, -1, 1, 1)
            )
        return self.fc(second), self.fc3(third), whole


class Unusual(nn.Module):
    """Outputs of the last stage (B, 256, h, w) to logits (B,) of 'is unlike the good parts'.

    Its buffers belong to the network's weights, under `unusual.`; zeros until they are set.
    """

    def __init__(self):
        super().__init__()
        count = UNUSUAL_FEATURES
        self.distance = Distance(torch.zeros(count), torch.zeros(count, count))
        self.register_buffer("usual", torch.zeros(1))  # distance of a good part
        self.register_buffer("weight", torch.zeros(1))

    def forward(self, last: Tensor) -> Tensor:
        # Of a channel without any deviation a root has no gradient: heatmaps explain the rest
        return self.weight * (self.distance(features_of((last.detach(),))) - self.usual)
