"""How an image looks to the network, in a few hundred numbers, and how far that is from training.

A network that has learned two kinds of parts says one or the other of anything, a black image too.
What its first two stages respond to tells whether an image is like those that it was trained on:
the features are mean and deviation of each channel over the image. Their Mahalanobis distance d
from the training images' mean m, with covariance C (Lee et al., A simple unified framework for
detecting out-of-distribution samples, 2018; without their classes), here over the number D of
features, is near 1 for an image like them:

    d^2 = (f - m)^T C^-1 (f - m) / D
"""

import torch
from torch import Tensor, nn

from networks.local import LocalNetwork
from networks.tensor_files import check_finite

FEATURES = {
    "resnet18": 384,
    "local": 192,
    "multiscale": 192,
}  # D: two for each channel of both stages


def logits_and_features(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and features (B, D) of grey images (B, 1, S, S) in 0..1, in one pass."""
    if isinstance(model, LocalNetwork):
        stages = model.stages(images)
        return model.pooled(model.maps_of(stages)), features_of(stages[:2])
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    first = model.layer1(x)
    second = model.layer2(first)
    x = model.avgpool(model.layer4(model.layer3(second)))
    return model.fc(x.flatten(1)), features_of((first, second))


def features_of(stages: tuple[Tensor, ...]) -> Tensor:
    """Features (B, D) of the outputs (B, C, h, w) of the stages."""
    found = []
    for stage in stages:
        x = stage.float()
        mean = x.mean(dim=(2, 3), keepdim=True)
        deviation = (x - mean).square().mean(dim=(2, 3)).sqrt()
        found += [mean[..., 0, 0], deviation]
    return torch.cat(found, dim=1)


def check_distance(mean: Tensor, whitening: Tensor, architecture: str) -> None:
    """Raise ValueError unless these fit the network's features and are finite."""
    count = FEATURES[architecture]
    for name, tensor, shape in (("mean", mean, (count,)), ("whitening", whitening, (count, count))):
        if not isinstance(tensor, Tensor) or tensor.shape != shape or tensor.dtype != torch.float32:
            raise ValueError(f"the gate's {name} is not float32 {shape}")
        check_finite(f"the gate's {name}", tensor)


class Distance(nn.Module):
    """Features (B, D) to distances (B,) from the training images.

    Args:
        mean: m (D,).
        whitening: W (D, D) with W W^T = C^-1.
    """

    def __init__(self, mean: Tensor, whitening: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) @ self.whitening).square().mean(dim=1).sqrt()
