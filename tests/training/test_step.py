"""A step trains on the mean over the batch, whoever computes it and however it is launched."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from networks.losses import loss_function
from training.step import TrainingStep, count_right

NAMES = ["def_front", "ok_front"]


class KeepsWeights(torch.optim.SGD):
    """An optimiser that leaves the gradients to be looked at."""

    def step(self, closure=None):
        pass


def gradient_of(images, targets, counted, batch_size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    optimizer = KeepsWeights(network.parameters())
    step = TrainingStep(network, loss_function("softmax", NAMES), optimizer, nullcontext, NAMES)
    figures = step(images, targets, counted, batch_size)
    return network[1].weight.grad, figures


def test_shares_of_a_batch_add_up_to_its_mean_gradient_and_figures():
    images, targets = torch.rand(5, 1, 3, 3), torch.tensor([0, 1, 1, 0, 1])
    whole, figures = gradient_of(images, targets, 5, 5)
    parts = [
        gradient_of(images[p], targets[p], len(targets[p]), 5) for p in (slice(3), slice(3, 5))
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    torch.testing.assert_close(parts[0][1] + parts[1][1], figures)
    assert figures.shape == (2,)


def test_a_stand_in_for_an_empty_share_counts_for_nothing():
    gradient, figures = gradient_of(torch.rand(1, 1, 3, 3), torch.tensor([0]), 0, 1)
    assert not gradient.any()
    assert figures.tolist() == [0, 0]


@pytest.mark.parametrize("names", [NAMES, ["ok_a", "scratch"]])
def test_right_ones_are_counted_for_both_heads(names):
    two = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    targets = torch.tensor([0, 1, 1])
    assert count_right(two, targets, names) == 2
    defect = names.index(next(name for name in names if not name.startswith("ok")))
    one = (two[:, defect] - two[:, 1 - defect]).unsqueeze(1)
    assert count_right(one, targets, names) == 2


def test_label_smoothing_means_the_same_for_both_heads():
    z = torch.tensor([[2.0], [-1.0], [0.3]])
    both = torch.cat([z, torch.zeros_like(z)], dim=1)
    targets = torch.tensor([0, 1, 1])
    losses = [
        loss_function(head, NAMES, 0.2)(logits, targets)
        for head, logits in (("sigmoid", z), ("softmax", both))
    ]
    torch.testing.assert_close(*losses)
    assert losses[0] > loss_function("sigmoid", NAMES)(z, targets)
