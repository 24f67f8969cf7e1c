"""Heatmaps equal captum's, lie where the network looks, and leave nothing behind."""

import gc

import numpy as np
import pytest
import torch
from builders import SIZE_PX, checkpoint_of, images_of
from captum.attr import LayerGradCam
from closeness import assert_near

from common.errors import UserError
from dataset.batches import unit_range
from inspection.heatmap import (
    CELLS,
    METHODS,
    STAGES,
    STRIDES,
    Explainer,
    enlarged,
    grad_cam,
    hottest_region,
)
from model import build_model, load_checkpoint
from networks.classes import defect_margin


@pytest.mark.parametrize(
    ("class_names", "head"),
    [
        (["def_front", "ok_front"], "softmax"),
        (["def_front", "ok_front"], "sigmoid"),
        (["burr", "ok_front", "scratch"], "softmax"),
    ],
)
@pytest.mark.parametrize(
    ("network", "stage"),
    [
        *((network, stage) for network in ("resnet18", "multiscale") for stage in STAGES),
        *(("local", stage) for stage in STAGES[:2]),
    ],
)
def test_raw_maps_equal_captums(class_names, head, network, stage):
    explainer = Explainer(checkpoint_of(class_names, head, network=network), torch.device("cpu"))
    grey = images_of()
    ours = explainer.cells(grey, (stage,), (grad_cam,))[stage][0]

    def explained(images):
        return defect_margin(explainer.model(images), class_names)

    oracle = LayerGradCam(explained, getattr(explainer.model, stage))
    images = unit_range(grey).requires_grad_()
    theirs = oracle.attribute(images, relu_attributions=True)[:, 0]
    assert_near(ours, theirs, 1e-5)
    assert float(ours.max()) > 0


def test_margin_is_the_difference_of_the_likeliest_classes():
    names = ["burr", "ok_back", "ok_front", "scratch"]
    logits = torch.tensor([[1.0, -2.0, 0.5, 3.0], [1.0, 4.0, 0.5, -3.0]])
    assert defect_margin(logits, names).tolist() == [2.5, -3.0]
    assert defect_margin(torch.tensor([[1.5], [-2.0]]), ["def", "ok"]).tolist() == [1.5, -2.0]
    assert defect_margin(torch.tensor([[1.5]]), ["OK", "crack"]).tolist() == [1.5]


@pytest.mark.parametrize("method", METHODS)
def test_maps_cover_the_image_from_0_to_1(method):
    explainer = Explainer(checkpoint_of(["def_front", "ok_front"]), torch.device("cpu"))
    maps = explainer.maps(images_of(), method)
    assert maps.shape == (3, SIZE_PX, SIZE_PX)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert np.allclose(maps.max(axis=(1, 2)), 1)


def test_maps_do_not_depend_on_the_batch_or_on_the_callers_mode():
    explainer = Explainer(checkpoint_of(["def_front", "ok_front"]), torch.device("cpu"))
    together = explainer.maps(images_of())
    with torch.inference_mode():
        alone = np.concatenate([explainer.maps(one) for one in images_of().split(1)])
    # Means: single cells of an untrained network hang on the last digit of a sum
    assert np.abs(together - alone).mean() < 1e-3


def test_a_turned_image_has_a_turned_map():
    explainer = Explainer(checkpoint_of(["def_front", "ok_front"]), torch.device("cpu"))
    (straight,), (turned,) = (
        explainer.maps(images_of(1)),
        explainer.maps(images_of(1).rot90(1, (1, 2))),
    )
    assert np.allclose(np.rot90(straight), turned, atol=1e-3)


@pytest.mark.parametrize("stage", STAGES)
def test_a_cell_is_drawn_where_it_looks(stage):
    # Average pooling in place of max pooling, and weights of one sign: a cell then sees a
    # symmetrical window, and the middle of its gradient is the middle of that window
    model = build_model(2, "none").eval()
    model.maxpool = torch.nn.AvgPool2d(3, 2, 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4:
                weight.fill_(0.01)
            elif "bn" in name or "downsample.1" in name:
                weight.fill_(1.0 if name.endswith("weight") else 0.0)
    size_px, stride = 512, STRIDES[stage]
    cell = size_px // stride // 2
    image = torch.full((1, 1, size_px, size_px), 0.9, requires_grad=True)
    x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
    for name in STAGES[: STAGES.index(stage) + 1]:
        x = getattr(model, name)(x)
    x[0, :, cell, cell].sum().backward()
    seen = image.grad[0, 0].abs().sum(0)
    cells = torch.zeros(1, size_px // stride, size_px // stride)
    cells[0, cell, cell] = 1
    hottest = int(enlarged(cells, stride, size_px)[0].amax(0).argmax())
    centre = float((seen * torch.arange(size_px)).sum() / seen.sum())
    assert seen.sum() > 0
    assert hottest == pytest.approx(centre, abs=0.5)


def test_a_map_of_nothing_stays_nothing():
    checkpoint = checkpoint_of(["def_front", "ok_front"])
    checkpoint.weights["fc.weight"] = torch.zeros_like(checkpoint.weights["fc.weight"])
    explainer = Explainer(checkpoint, torch.device("cpu"))
    for method in METHODS:
        maps = explainer.maps(images_of(1), method)
        assert maps.max() == 0
        assert not hottest_region(maps[0]).any()


def test_the_hottest_region_is_one_piece_around_the_maximum():
    heat = np.zeros((20, 20), np.float32)
    heat[2:5, 2:5], heat[3, 3] = 0.6, 1.0
    heat[10:15, 10:15] = 0.9  # hot as well, but elsewhere
    expected = np.zeros((20, 20), bool)
    expected[2:5, 2:5] = True
    assert np.array_equal(hottest_region(heat), expected)


def test_nothing_stays_behind_after_an_error(monkeypatch):
    explainer = Explainer(checkpoint_of(["def_front", "ok_front"]), torch.device("cpu"))
    before = explainer.maps(images_of(1))

    def fail(*_args, **_kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.autograd, "grad", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        explainer.maps(images_of(1))
    monkeypatch.undo()
    for module in explainer.model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
    assert all(weight.grad is None for weight in explainer.model.parameters())
    assert np.array_equal(explainer.maps(images_of(1)), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "method", "calls"),
    [("resnet18", "layercam", 1000), ("resnet18", "fused", 60), ("local", "fused", 60)],
)
def test_many_maps_in_flat_memory(network, method, calls):
    names = ["def_front", "ok_front"]
    explainer = Explainer(checkpoint_of(names, size_px=32, network=network), torch.device("cpu"))
    grey = images_of(1, 32)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    def resident_mb() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 1e6

    for _ in range(30):
        explainer.maps(grey, method)
    count, memory = tensors(), resident_mb()
    for _ in range(calls):
        explainer.maps(grey, method)
    assert tensors() == count
    assert resident_mb() < memory + 20


def test_the_explained_network_is_the_one_that_predicts(trained):
    checkpoint = load_checkpoint(trained / "best.pth")
    explainer = Explainer(checkpoint, torch.device("cpu"))
    grey = images_of(2, checkpoint.image_size_px)
    with torch.inference_mode():
        assert torch.equal(explainer.model(unit_range(grey)), checkpoint.model()(unit_range(grey)))


def local_explainer(bias: float = 0.0) -> Explainer:
    """Of an untrained local network; the bias speaks for a defect in every cell."""
    checkpoint = checkpoint_of(["def", "ok"], network="local")
    checkpoint.weights["fc.bias"] = torch.tensor([bias, 0.0])
    return Explainer(checkpoint, torch.device("cpu"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_maps_the_local_network(method):
    maps = local_explainer().maps(images_of(), method)
    assert maps.shape == (3, SIZE_PX, SIZE_PX)
    assert maps.max() == 1
    assert maps.min() >= 0


def test_a_local_network_shows_the_cells_that_it_predicts_by():
    explainer, grey = local_explainer(), images_of()
    with torch.inference_mode():
        (cells,) = explainer.model(unit_range(grey), pool=False)
        cells = cells.softmax(dim=1)[:, 0]
    maps = explainer.maps(grey)
    assert 0 < (maps > 0).mean() < 1
    at_cells = maps[:, ::8, ::8]  # where the cells look
    assert np.allclose(at_cells, np.maximum(2 * cells.numpy() - 1, 0), atol=1e-5)


def test_nothing_is_hot_where_no_cell_finds_a_defect():
    assert local_explainer(bias=-50.0).maps(images_of()).max() == 0
    assert local_explainer(bias=50.0).maps(images_of()).min() == pytest.approx(1)


@pytest.mark.parametrize("network", ["resnet18", "multiscale"])
def test_a_network_that_does_not_decide_by_cells_shows_none(network):
    checkpoint = checkpoint_of(["def", "ok"], network=network)
    explainer = Explainer(checkpoint, torch.device("cpu"))
    assert explainer.methods[0] == "fused"
    assert 0 < explainer.maps(images_of(1)).max() <= 1
    assert explainer.legend != local_explainer().legend
    with pytest.raises(UserError, match="only a local network has cells"):
        explainer.maps(images_of(1), CELLS)
