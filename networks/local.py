"""A network that finds defects cell by cell: two stages of a narrow ResNet, top-k pooling.

ResNet-18 averages over the whole part, so that a pore of four pixels is a small share of the
average, and part, lamp and background are the rest. Here each cell (8 px of the input, with a
receptive field of some 50 px) gets logits of its own, and the part's are the mean of its few most
suspicious cells. Whatever separates the classes has to be seen in a cell. Half of ResNet-18's
channels are enough; what they save pays for more pixels. At 300 px a pass is 0.43 GMAC, a quarter
of ResNet-18's at 224 px.

Local contrast normalisation comes first: from each pixel the mean grey around it is taken, and what
is left is divided by its deviation there. Exposure, contrast and smooth shadows are gone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from networks.classes import logit_margin
from networks.resnet import BasicBlock, draw_weights, wider_stage

CHANNELS = 32  # of the first stage; the second has twice as many
TOP_SHARE = 0.01  # k as a share of the cells: 14 of 38 x 38
NEIGHBOURHOODS = 20  # along a side; local means are over three by three of them
FLAT = 0.25  # of the image's own variance is added, so that flat ground does not become noise
LARGEST = 4.0  # deviations


class LocalNetwork(nn.Module):
    """Grey images (B, 1, S, S) in 0..1 to logits (B, C); its parts have ResNet's names.

    What makes logits comes in maps: one of cells here, several in a network of more scales.

    Args:
        outputs: C; 1 for the single logit of 'is a defect'.
        defects: which classes are defects.
    """

    top_share = TOP_SHARE
    by_cells_alone = True  # or by the whole, too

    def __init__(self, outputs: int, defects: Sequence[bool]):
        super().__init__()
        few, many = CHANNELS, 2 * CHANNELS
        self.conv1 = nn.Conv2d(1, few, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(few), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(few, few), BasicBlock(few, few))
        self.layer2 = wider_stage(few)
        self.fc = nn.Conv2d(many, outputs, kernel_size=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer is not self.fc:
                draw_weights(layer)
        self.register_buffer("defects", torch.tensor(defects), persistent=False)

    def forward(self, images: Tensor, pool: bool = True) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, C); without pooling the maps that they come from, each (B, C, h, w)."""
        maps = self.maps_of(self.stages(images))
        return self.pooled(maps) if pool else maps

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs (B, channels, h, w) of the stages, of images as they are."""
        return self.later_stages(self.stem(normalise_local_contrast(images)))

    def stem(self, contrast: Tensor) -> Tensor:
        """What the first stage takes, from normalised images."""
        return self.maxpool(self.relu(self.bn1(self.conv1(contrast))))

    def later_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the stages, of what the stem has made."""
        first = self.layer1(x)
        return first, self.layer2(first)

    def maps_of(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Logits (B, C, h, w) of the cells, from the outputs of the stages."""
        return (self.fc(stages[1]),)

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, C) of the whole parts: what the most suspicious cells of each map say."""
        return sum(self.top_k_pooling(cells) for cells in maps)

    def top_k_pooling(self, cells: Tensor) -> Tensor:
        """Mean logits (B, C) of the few cells of (B, C, h, w) with the largest margin."""
        cells = cells.flatten(2)
        count = max(1, round(self.top_share * cells.shape[2]))
        strongest = logit_margin(cells, self.defects).topk(count, dim=1).indices
        return cells.gather(2, strongest.unsqueeze(1).expand(-1, cells.shape[1], -1)).mean(2)


def normalise_local_contrast(images: Tensor) -> Tensor:
    """Each pixel's grey against its local mean, in local deviations; the same under any gain."""
    difference = images - local_mean(images)
    squared = difference * difference
    variance = local_mean(squared) + FLAT * squared.mean(dim=(2, 3), keepdim=True)
    contrast = difference / (variance + 1e-6).sqrt()
    return contrast.clamp(-LARGEST, LARGEST)


def local_mean(images: Tensor) -> Tensor:
    """Smooth local mean (B, 1, S, S): over cells, over three by three of them, then in between."""
    side = images.shape[-1]
    cell = max(1, side // NEIGHBOURHOODS)
    missing = -side % cell
    coarse = avg_pool2d(pad(images, (0, missing, 0, missing), mode="replicate"), cell)
    coarse = avg_pool2d(pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    whole = side + missing
    smooth = interpolate(coarse, size=(whole, whole), mode="bilinear", align_corners=False)
    return smooth[..., :side, :side]
