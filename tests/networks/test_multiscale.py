"""A network of three scales: each can find a defect; what is unusual adds to their logits."""

from dataclasses import replace

import pytest
import torch
from builders import checkpoint_of

from model import build_model
from networks.features import logits_and_features
from networks.losses import LocalLoss
from networks.multiscale import UNUSUAL, Unusual

NAMES = ["chip", "ok", "scratch"]


def network(names=NAMES, **options):
    torch.manual_seed(0)
    defects = [name != "ok" for name in names]
    return build_model(len(names), "none", network="multiscale", defects=defects, **options).eval()


@pytest.mark.parametrize("side", [32, 45, 160])
def test_a_logit_for_each_class_at_any_size(side):
    assert network()(torch.rand(2, 1, side, side)).shape == (2, 3)


def test_a_single_logit_is_that_of_the_defect():
    model = network(["def", "ok"], head="sigmoid")
    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 1)


def test_logits_are_the_sum_of_what_each_scale_says():
    model, images = network(), torch.rand(2, 1, 96, 96)
    fine, coarse, whole = model(images, pool=False)
    assert (fine.shape[2:], coarse.shape[2:], whole.shape[2:]) == ((12, 12), (6, 6), (1, 1))
    said = [model.top_k_pooling(cells) for cells in (fine, coarse, whole)]
    torch.testing.assert_close(said[2], whole[..., 0, 0])
    torch.testing.assert_close(model(images), sum(said))
    torch.testing.assert_close(logits_and_features(model, images)[0], sum(said))


def test_cells_of_both_sizes_learn_from_marks_and_the_whole_from_the_class():
    model = network(["def", "ok"]).train()
    marks = torch.zeros(2, 1, 64, 64)
    marks[0, 0, 30:34, 30:34] = 1
    loss, _ = LocalLoss(model, ["def", "ok"])(
        model(torch.rand(2, 1, 64, 64), pool=False), torch.tensor([1, 1]), marks
    )
    loss.backward()
    for head in (model.fc, model.fc3, model.fc4):
        assert head.weight.grad.abs().max() > 0


def test_what_is_unusual_counts_for_all_defects_and_only_when_it_is_fitted():
    model, images = network(), torch.rand(3, 1, 64, 64)
    before = model(images)
    model.unusual = Unusual()
    torch.testing.assert_close(model(images), before)
    model.unusual.distance.whitening += torch.eye(len(model.unusual.distance.mean))
    model.unusual.weight += 2
    model.unusual.usual += 0.25
    distance = model.unusual.distance(
        torch.cat([f(model.stages(images)[-1]) for f in (mean_of, deviation_of)], 1)
    )
    gained = model(images) - before
    expected = 2 * (distance - 0.25)
    torch.testing.assert_close(gained, torch.stack([expected, 0 * expected, expected], 1))


def mean_of(stage):
    return stage.mean((2, 3))


def deviation_of(stage):
    return stage.var((2, 3), correction=0).sqrt()


def test_a_checkpoint_brings_what_is_unusual_along():
    checkpoint = checkpoint_of(NAMES, network="multiscale")
    assert checkpoint.model().unusual is None
    fitted = Unusual()
    fitted.weight += 1.5
    weights = {UNUSUAL + name: value for name, value in fitted.state_dict().items()}
    again = replace(checkpoint, weights=checkpoint.weights | weights)
    again.check()
    assert float(again.model().unusual.weight) == 1.5
