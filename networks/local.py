"""A network that looks for defects cell by cell: two stages of a narrow ResNet.

ResNet-18 averages over the whole part, so that a pore of four pixels is a small share of the
average, and part, lamp and background are the rest. Here each cell (8 px of the input, judged by
what lies within some 50 px of it) gets logits of its own, and the part's are those of its few most
suspicious cells. Whatever separates the classes has to be seen in a cell. Half of ResNet-18's
channels do; what they save pays for more pixels, and in use for judging each picture in four turns:
what is suspicious in one of them only is noise.

The light is evened out first: from each pixel the mean grey around it is taken, and what is left is
divided by its deviation there. Exposure, contrast and smooth shadows are gone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad
from torchvision.models.resnet import BasicBlock

from networks.classes import logit_margin

CHANNELS = 32  # of the first stage; the second has twice as many
# Of 38 x 38 cells the 29 most suspicious decide. Learning rests on half as many; judging by more of
# them raised fewer false alarms on castings of development (docs/experiments.md, 2026-11-25).
SHARE_THAT_DECIDES = 0.02
SHARE_THAT_LEARNS = 0.01
NEIGHBOURHOODS = 20  # along a side; light is measured over three by three of them
FLAT = 0.25  # of the picture's own variance is added, so that flat ground does not become noise
LARGEST = 4.0  # deviations
QUARTER_TURNS = 4


class LocalNetwork(nn.Module):
    """Grey pictures (B, 1, S, S) in 0..1 to logits (B, C); its parts have ResNet's names.

    Args:
        outputs: C; 1 for the single logit of 'is a defect'.
        defects: which classes are defects.

    With `in_turns`, as in every finished model, cells are means over the four quarter turns of the
    picture. Training does without, and so does validation between epochs, for their time.
    """

    def __init__(self, outputs: int, defects: Sequence[bool]):
        super().__init__()
        few, many = CHANNELS, 2 * CHANNELS
        self.conv1 = nn.Conv2d(1, few, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(few), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(few, few), BasicBlock(few, few))
        shortcut = nn.Sequential(nn.Conv2d(few, many, 1, 2, bias=False), nn.BatchNorm2d(many))
        self.layer2 = nn.Sequential(BasicBlock(few, many, 2, shortcut), BasicBlock(many, many))
        self.fc = nn.Conv2d(many, outputs, kernel_size=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer is not self.fc:  # as ResNet begins
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("defects", torch.tensor(defects), persistent=False)
        self.in_turns = False

    def forward(self, images: Tensor, pool: bool = True) -> Tensor:
        """Logits (B, C); without pooling those of the cells, (B, C, h, w)."""
        pictures = evenly_lit(images)
        cells = self.cells_in_turns(pictures) if self.in_turns else self.cells(pictures)
        return self.pooled(cells) if pool else cells

    def cells(self, pictures: Tensor) -> Tensor:
        """Logits of the cells (B, C, h, w) of evenly lit pictures as they lie."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        return self.fc(self.layer2(self.layer1(x)))

    def cells_in_turns(self, pictures: Tensor) -> Tensor:
        """The same, averaged over the quarter turns; in one batch, so that a graph has it once.

        Cells of turned pictures look some px beside those of the picture as it lies, since strides
        begin at another border: four samplings of the same place.
        """
        turns = range(QUARTER_TURNS)
        turned = torch.cat([pictures.rot90(turn, (2, 3)) for turn in turns])
        cells = self.cells(turned).unflatten(0, (QUARTER_TURNS, -1))  # (turns, B, C, h, w)
        return sum(cells[turn].rot90(-turn, (2, 3)) for turn in turns) / QUARTER_TURNS

    def pooled(self, cells: Tensor, share: float = SHARE_THAT_DECIDES) -> Tensor:
        """Mean logits (B, C) of the `share` of cells (B, C, h, w) that speak most for a defect."""
        cells = cells.flatten(2)
        count = max(1, round(share * cells.shape[2]))
        strongest = logit_margin(cells, self.defects).topk(count, dim=1).indices
        return cells.gather(2, strongest.unsqueeze(1).expand(-1, cells.shape[1], -1)).mean(2)


def evenly_lit(images: Tensor) -> Tensor:
    """Each pixel's grey against its surroundings, in deviations; the same under any gain."""
    difference = images - surroundings(images)
    squared = difference * difference
    variance = surroundings(squared) + FLAT * squared.mean(dim=(2, 3), keepdim=True)
    contrast = difference / (variance + 1e-6).sqrt()
    return contrast.clamp(-LARGEST, LARGEST)


def surroundings(images: Tensor) -> Tensor:
    """Smooth local mean (B, 1, S, S): over cells, over three by three of them, then in between."""
    side = images.shape[-1]
    cell = max(1, side // NEIGHBOURHOODS)
    missing = -side % cell
    coarse = avg_pool2d(pad(images, (0, missing, 0, missing), mode="replicate"), cell)
    coarse = avg_pool2d(pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    whole = side + missing
    smooth = interpolate(coarse, size=(whole, whole), mode="bilinear", align_corners=False)
    return smooth[..., :side, :side]
