"""One channel gives what three equal, normalised ones give, up to the very border."""

import pytest
import torch
from closeness import assert_near
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18

from model import IMAGENET_MEAN, IMAGENET_STD, build_model
from networks.grey_stem import GreyStem


def stems(mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """The grey stem, and normalisation and torchvision's layer with the same weights."""
    torch.manual_seed(0)
    grey, colour = GreyStem(mean, std), nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    colour.load_state_dict(grey.state_dict())
    return grey, lambda images: colour(normalised(images, mean, std)), colour


def normalised(images, mean, std):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    return (images - mean) / std


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_bright_borders_are_convolved_as_with_three_channels(height, width):
    # Padding is black only after normalisation: a white image shows whether that was kept
    grey, three_channels, _ = stems()
    for images in (torch.ones(1, 1, height, width), torch.rand(2, 1, height, width)):
        expected = three_channels(images)
        assert_near(grey(images), expected, 1e-5)


def test_gradients_of_the_weights_are_those_of_three_channels():
    grey, three_channels, colour = stems((0.1, 0.5, 0.9), (0.5, 0.25, 1.0))
    images, direction = torch.rand(2, 1, 30, 31), torch.randn(2, 64, 15, 16)
    (grey(images) * direction).sum().backward()
    (three_channels(images) * direction).sum().backward()
    assert_near(grey.weight.grad, colour.weight.grad, 3e-5)


def test_the_checkpoints_normalisation_is_the_one_that_counts():
    images = torch.rand(1, 1, 32, 32)
    one = build_model(2, "none").eval()
    other = build_model(2, "none", mean=(0.1, 0.2, 0.3), std=(1, 2, 3)).eval()
    other.load_state_dict(one.state_dict())  # which holds neither mean nor deviation
    assert not torch.allclose(one(images), other(images))


@pytest.mark.parametrize("training", [False, True])
def test_the_network_gives_torchvisions_logits(training):
    torch.manual_seed(0)
    ours = build_model(2, "none").train(training)
    theirs = resnet18(num_classes=2).train(training)
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(4, 1, 64, 64)
    images[0] = 1  # bright to its borders
    expected = theirs(normalised(images, IMAGENET_MEAN, IMAGENET_STD))
    assert_near(ours(images), expected, 1e-3 if training else 1e-4)


def test_all_layers_keep_channels_last_in_memory():
    # The other order costs a CPU twice the time in the first layers
    model, formats = build_model(2, "none"), []
    for name, layer in model.named_modules():
        if name in ("conv1", "maxpool", "layer1", "layer4"):
            layer.register_forward_hook(
                lambda _, __, output: formats.append(
                    output.is_contiguous(memory_format=torch.channels_last)
                )
            )
    model(torch.rand(2, 1, 64, 64))
    assert formats == [True] * 4
