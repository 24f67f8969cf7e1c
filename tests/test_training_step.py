"""A step trains on the mean over the batch, whoever computes it and however it is launched."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from model import build_model, loss_function
from run_setup import autocast, build_optimizer, build_step
from training_step import TrainingStep, count_right

NAMES = ["def_front", "ok_front"]
SETTINGS = {"lr": 1e-3, "weight_decay": 0.0, "head": "softmax", "label_smoothing": 0.0}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


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


@needs_cuda
@pytest.mark.parametrize("amp", [False, True])
def test_a_recorded_step_trains_like_an_eager_one(amp):
    device = torch.device("cuda")
    settings = SETTINGS | {"amp": amp}
    torch.manual_seed(0)
    batches = [
        (torch.rand(n, 1, 64, 64, device=device), torch.randint(2, (n,), device=device))
        for n in (16, 16, 16, 16, 16, 7, 16)
    ]
    found = {}
    for graph in (False, True):
        torch.manual_seed(1)
        model = build_model(2, "none").to(device).train()
        optimizer = build_optimizer(model, settings, graph)
        step = build_step(model, optimizer, NAMES, settings, graph)
        figures = [step(*batch, len(batch[1]), len(batch[1])) for batch in batches]
        found[graph] = torch.stack(figures).cpu(), model.fc.weight.detach().cpu()
        with autocast(device, settings):
            assert model.eval()(batches[0][0]).isfinite().all()
    tolerance = 0.05 if amp else 1e-3
    torch.testing.assert_close(
        found[True][0][:, 0], found[False][0][:, 0], rtol=tolerance, atol=0.1
    )
    torch.testing.assert_close(found[True][1], found[False][1], rtol=tolerance, atol=5e-3)
