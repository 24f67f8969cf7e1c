"""Folding batch normalisation away changes what a network computes by rounding alone."""

import pytest
import torch
from closeness import assert_near
from torch import nn

from model import build_model
from networks.features import logits_and_features
from networks.folding import with_folded_batch_norm


@pytest.mark.parametrize(("network", "left"), [("resnet18", 1), ("local", 0)])
def test_the_folded_network_gives_the_same_logits_and_features(network, left):
    torch.manual_seed(0)
    model = build_model(2, "none", network=network).train()
    for _ in range(3):
        model(torch.rand(4, 1, 64, 64))  # statistics of their own
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        expected = logits_and_features(model.eval(), images)
        found = logits_and_features(with_folded_batch_norm(model), images)
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs, 1e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == left
