"""ResNet-18 (He et al., Deep Residual Learning for Image Recognition, 2016), and its block.

Its parts have torchvision's names and shapes, so that torchvision's weights fit, and are drawn in
torchvision's order. Importing torchvision takes two seconds more than PyTorch alone.
"""

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut: (B, C, H, W) to (B, C', H / stride, W / stride)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample  # the shortcut, where the shape changes

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        return self.relu(x)


class ResNet18(nn.Module):
    """Normalised images (B, 3, H, W) to logits (B, C)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64))
        self.layer2, self.layer3, self.layer4 = map(wider_stage, (64, 128, 256))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                draw_weights(layer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def wider_stage(channels: int) -> nn.Sequential:
    """A stage that halves the sides and doubles the channels."""
    many = 2 * channels
    shortcut = nn.Sequential(nn.Conv2d(channels, many, 1, 2, bias=False), nn.BatchNorm2d(many))
    return nn.Sequential(BasicBlock(channels, many, 2, shortcut), BasicBlock(many, many))


def draw_weights(convolution: nn.Conv2d) -> None:
    """Weights to begin training with."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
