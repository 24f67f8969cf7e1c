"""ResNet's first convolution for grey images: three equal channels as one, and one of ones.

ImageNet's networks take three colour channels, each normalised by its own mean m_c and deviation
s_c. A grey image g fills all three alike, and so the convolution with weights w_c is

    sum_c w_c (g - m_c) / s_c  =  (sum_c w_c / s_c) (g - m)  +  (sum_c w_c (m - m_c) / s_c) 1

for any m. The ones cannot be left out for a constant: padding is zero after normalisation, so that
near the border fewer weights count; as a channel of their own they are padded with zeros as well.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class GreyStem(nn.Conv2d):
    """Takes grey images (B, 1, H, W) in 0..1; weights are those of ResNet's `conv1` for colour.

    Equal, up to rounding, to normalising three equal channels and convolving them.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        # Not part of the weights: a checkpoint names mean and deviation itself.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        images = grey[:, 0] - self.middle
        # Channels last in memory, as all layers have them: (B, H, W, 2), seen as (B, 2, H, W)
        images = torch.stack([images, torch.ones_like(images)], dim=3).permute(0, 3, 1, 2)
        return conv2d(images, self.two_channels(), stride=self.stride, padding=self.padding)

    @property
    def middle(self) -> Tensor:
        """The m of the formula, nearest to all three means: the ones' weights stay small."""
        return self.mean.mean()

    def two_channels(self) -> Tensor:
        """Weights (64, 2, 7, 7) of the grey image minus `middle` and of the ones."""
        scaled = self.weight / self.std  # (64, 3, 7, 7)
        return torch.stack([scaled.sum(1), (scaled * (self.middle - self.mean)).sum(1)], dim=1)
