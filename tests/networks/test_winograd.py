"""The fast convolution equals the definition, in outputs and in gradients, and knows its place."""

import pytest
import torch
from closeness import assert_near
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from networks import winograd
from networks.winograd import WinogradConv2d, WinogradConvolution

side = st.integers(1, 13)
few = st.integers(1, 5)


def outputs_and_gradients(convolve, images, weight, gradient):
    images, weight = (t.detach().clone().requires_grad_() for t in (images, weight))
    output = convolve(images, weight)
    output.backward(gradient)
    return output.detach(), images.grad, weight.grad


def by_definition(images, weight):
    return nn.functional.conv2d(images, weight, padding=1)


@given(batch=few, channels=few, kernels=few, height=side, width=side)
def test_outputs_and_gradients_are_those_of_the_definition(batch, channels, kernels, height, width):
    torch.manual_seed(0)
    images = torch.randn(batch, channels, height, width)
    weight = torch.randn(kernels, channels, 3, 3)
    gradient = torch.randn(batch, kernels, height, width)
    fast = outputs_and_gradients(WinogradConvolution.apply, images, weight, gradient)
    double = (t.double() for t in (images, weight, gradient))
    exact = outputs_and_gradients(by_definition, *double)
    for ours, expected in zip(fast, exact, strict=True):
        assert_near(ours, expected, 3e-5)


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_the_result_does_not_depend_on_how_much_is_worked_on_at_once(at_once, monkeypatch):
    torch.manual_seed(0)
    images, weight = torch.randn(5, 8, 14, 9), torch.randn(6, 8, 3, 3)
    gradient = torch.randn(5, 6, 14, 9)
    arguments = WinogradConvolution.apply, images, weight, gradient
    expected = outputs_and_gradients(*arguments)
    monkeypatch.setattr(winograd, "TILE_NUMBERS", at_once)
    for ours, other in zip(outputs_and_gradients(*arguments), expected, strict=True):
        assert_near(ours, other, 3e-5)


def layer_and_images(pixels):
    torch.manual_seed(0)
    return WinogradConv2d(8, 8), torch.rand(2, 8, pixels, pixels)


def was_used(layer, images, monkeypatch):
    with monkeypatch.context() as patch:
        calls = []
        patch.setattr(WinogradConvolution, "apply", lambda *args: calls.append(args))
        layer(images)
    return bool(calls)


def test_it_is_used_where_it_pays(monkeypatch):
    layer, images = layer_and_images(16)
    assert was_used(layer, images, monkeypatch)
    with torch.inference_mode():
        assert not was_used(layer, images, monkeypatch)
    assert not was_used(layer.eval(), images, monkeypatch)
    assert not was_used(layer.train().double(), images.double(), monkeypatch)
    layer, images = layer_and_images(2)  # 2 x 2 x 2 pixels are fewer than four a channel
    assert not was_used(layer, images, monkeypatch)


def test_under_autocast_the_ordinary_convolution_runs(monkeypatch):
    layer, images = layer_and_images(16)
    with torch.autocast("cpu", torch.bfloat16):
        assert not was_used(layer, images, monkeypatch)


def test_the_layer_has_the_weights_of_an_ordinary_one():
    layer, images = layer_and_images(16)
    plain = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert_near(layer(images), plain(images), 3e-5)
