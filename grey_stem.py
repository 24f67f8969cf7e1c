"""ResNet's first convolution for grey pictures: normalised, repeated three times, added up once.

ImageNet's networks take three colour channels, each normalised by its own mean m_c and deviation
s_c. A grey picture g fills all three alike, and so the convolution with weights w_c is

    sum_c w_c * (g - m_c) / s_c  =  (sum_c w_c / s_c) * (g - m)  -  sum_c w_c * (m_c - m) / s_c

for any m: one channel and a term that does not depend on the picture. That term is not a constant:
padding is zero after normalisation, so near the border fewer weights count.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

KERNEL_PX, STRIDE_PX, PADDING_PX = 7, 2, 3
# From a side of this length (or one more, when odd) on, the border term only repeats its middle.
REPEATING_PX, MIDDLE = 12, 3


class GreyStem(nn.Conv2d):
    """Takes grey pictures (B, 1, H, W) in 0..1; weights are those of ResNet's `conv1` for colour.

    Equal, up to rounding, to normalising three equal channels and convolving them.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__(3, 64, KERNEL_PX, STRIDE_PX, PADDING_PX, bias=False)
        # Not part of the weights: a checkpoint names mean and deviation itself.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        scaled = self.weight / self.std  # (64, 3, 7, 7)
        middle = self.mean.mean()  # nearest to all three: the border term stays small
        # One channel leaves open whether it lies first or last in memory; all layers take it last
        pictures = (grey - middle)[:, 0, :, :, None].permute(0, 3, 1, 2)
        one_channel = scaled.sum(1, keepdim=True)
        output = conv2d(pictures, one_channel, stride=STRIDE_PX, padding=PADDING_PX)
        offset = (scaled * (self.mean - middle)).sum(1, keepdim=True)
        return output - self._border_term(offset, *grey.shape[2:])

    def _border_term(self, weight: Tensor, height: int, width: int) -> Tensor:
        """`weight` (64, 1, 7, 7) over ones (1, 1, H, W), taken from a small picture of ones."""
        small = [min(side, REPEATING_PX + side % 2) for side in (height, width)]
        ones = weight.new_ones(1, 1, *small)
        term = conv2d(ones, weight, stride=STRIDE_PX, padding=PADDING_PX)
        for dim, side in ((2, height), (3, width)):
            place = torch.arange((side + 1) // 2, device=weight.device)
            repeated = len(place) - term.shape[dim]
            # The first places, then the middle again and again, then the last places
            place = torch.maximum(place.clamp(max=MIDDLE), place - repeated)
            term = term.index_select(dim, place)
        return term
