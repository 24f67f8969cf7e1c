"""Shapes, devices and waiting on a GPU, shown without one: on tensors that only say they are there.

Fake tensors have a shape and a device and no numbers. What mixes devices fails on them, and so does
what a GPU would have to be waited for: a value, or how many values a mask selects. Their gradients
need a real device (test_cuda.py).
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from common.labels import is_defect
from dataset.batches import Batches, unit_range
from inspection.heatmap import Explainer
from model import build_model
from networks.classes import class_probabilities, defect_margin
from networks.losses import LocalLoss, loss_function
from training.step import TrainingStep

NAMES = ["blow_hole", "ok_front", "scratch"]
GPU = torch.device("cuda")
heads = pytest.mark.parametrize(
    ("head", "names"), [("softmax", NAMES), ("sigmoid", NAMES[:2])], ids=["softmax", "sigmoid"]
)
networks = pytest.mark.parametrize("network", ["resnet18", "local"])


class FakeGenerator(torch.Generator):
    """One that says that it is on the GPU; fake tensors draw nothing from it."""

    device = GPU

    def __new__(cls):
        return super().__new__(cls, "cpu")


def fake_gpu() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


def move(module: nn.Module) -> None:
    """Put fake weights and buffers on the GPU in the place of a module's own."""
    for layer in module.modules():
        for name, weights in layer._parameters.items():
            if weights is not None:
                there = torch.empty_like(weights.detach(), device=GPU)
                layer._parameters[name] = nn.Parameter(there)
        for name, buffer in layer._buffers.items():
            if buffer is not None:
                layer._buffers[name] = torch.empty_like(buffer, device=GPU)


def model_of(network: str, head: str, names: list[str]) -> nn.Module:
    defects = [is_defect(name) for name in names]
    return build_model(len(names), "none", head, network=network, defects=defects)


def test_a_fake_gpu_shows_what_would_have_to_be_waited_for():
    with fake_gpu(), pytest.raises(DynamicOutputShapeException):
        torch.zeros(3, device=GPU)[torch.zeros(3, dtype=torch.bool, device=GPU)]


@heads
@networks
def test_a_training_step_stays_on_the_gpu_and_waits_for_nothing(network, head, names):
    model = model_of(network, head, names).train()
    local = network == "local"
    loss = LocalLoss(model, names, 0.1) if local else loss_function(head, names, 0.1)
    with fake_gpu():
        move(model), move(loss)
        step = TrainingStep(model, loss, None, nullcontext, names)
        images = torch.rand(4, 2 if local else 1, 64, 64, device=GPU)
        for figure in step.loss_and_right(images, torch.randint(2, (4,), device=GPU)):
            assert (figure.device.type, figure.shape) == ("cuda", ())


@pytest.mark.parametrize("kind", ["none", "flip", "full", "strong"])
@pytest.mark.parametrize("drawn", [None, 0.5])
def test_augmentation_stays_on_the_gpu_and_waits_for_nothing(kind, drawn):
    with fake_gpu():
        pixels = torch.zeros(6, 64, 64, dtype=torch.uint8, device=GPU)
        targets = torch.zeros(6, dtype=torch.long, device=GPU)
        flags = torch.zeros(6, dtype=torch.bool, device=GPU)
        batches = Batches(
            pixels, targets, 4, GPU, augment=kind, is_defect=flags, synthetic_defects=drawn
        )
        images = unit_range(pixels[:4])
        changed = batches.changed(images, torch.arange(4, device=GPU), FakeGenerator())
        assert changed.device.type == "cuda"
        assert changed.shape == (4, 1 if drawn is None else 2, 64, 64)


@heads
@networks
def test_decisions_and_the_cells_of_heatmaps_stay_on_the_gpu(network, head, names):
    model = model_of(network, head, names).eval()
    checkpoint = SimpleNamespace(model=lambda: nn.Identity(), class_names=names)
    explainer = Explainer(checkpoint, torch.device("cpu"))
    with fake_gpu():
        move(model)
        grey = torch.zeros(2, 64, 64, dtype=torch.uint8, device=GPU)
        logits = model(unit_range(grey))
        assert class_probabilities(logits, names).device.type == "cuda"
        assert defect_margin(logits, names).device.type == "cuda"
        if network == "local":
            explainer.model = model
            maps = explainer.probability_of_cells(grey)
            assert (maps.device.type, maps.shape) == ("cuda", (2, 64, 64))
