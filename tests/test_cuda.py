"""On a GPU: the same figures as on a CPU, nothing waited for, the same bits when asked for.

Part of `make gpu`; skipped where there is no CUDA GPU.
"""

import csv

import numpy as np
import pytest
import torch

import train
from common.errors import UserError
from data_split import load_split
from dataset import batches as data
from dataset.batches import make_batches
from dataset.store import open_store
from inspection.heatmap import Explainer
from inspection.predictor import load_predictor
from model import build_model, load_checkpoint
from training.recipes import RECIPES
from training.schedule import set_learning_rate
from training.settings import Settings
from training.setup import build_optimizer, build_step
from training.state import raise_out_of_memory

pytestmark = pytest.mark.cuda

NAMES = ["def_front", "ok_front"]
RATE = 1e-4
settings_of = {
    "resnet18": {"network": "resnet18", "amp": False},
    "resnet18 bf16": {"network": "resnet18", "amp": True},
    "local": {"network": "local", "amp": False},
    "local bf16": {"network": "local", "amp": True},
}
networks = pytest.mark.parametrize("which", settings_of)
heads = pytest.mark.parametrize("head", ["softmax", "sigmoid"])


@pytest.fixture(scope="module")
def trained_local(tmp_path_factory, castings) -> str:
    """A local network, trained on the CPU."""
    out = tmp_path_factory.mktemp("local")
    assert train.main([*local_options(castings), "--device", "cpu", "--out", str(out)]) == 0
    return str(out / "best.pth")


def local_options(castings) -> list[str]:
    return [
        "--data", str(castings), "--recipe", "robust", "--image-size", "64", "--epochs", "1",
        "--epoch-size", "40",
    ]  # fmt: skip


def step_and_model(which, head, device, graph):
    own = settings_of[which] | {"lr": RATE, "weight_decay": 0.0, "label_smoothing": 0.0}
    recipe = RECIPES["reference"] | {"head": head}
    settings = Settings(recipe="reference", **(recipe | own))
    torch.manual_seed(1)
    model = build_model(2, "none", head, network=settings.network).to(device).train()
    optimizer = build_optimizer(model, settings, graph)
    return build_step(model, optimizer, NAMES, settings, graph), model


def batches_of(which, device, sizes):
    generator = torch.Generator(device).manual_seed(0)

    def batch(size):
        images = torch.rand(size, 1, 64, 64, generator=generator, device=device)
        targets = torch.arange(size, device=device) % 2
        if which.startswith("local"):
            marks = torch.zeros_like(images)
            marks[1::4, :, 20:30, 30:40] = 1  # on some of the good parts
            images = torch.cat([images, marks], dim=1)
        return images, targets

    return [batch(size) for size in sizes]


@heads
@networks
def test_a_recorded_step_trains_like_an_eager_one(which, head, cuda):
    # Each shape is recorded after three eager steps; the rate changes between replays
    batches = batches_of(which, cuda, [16, 16, 16, 16, 7, 16, 7, 7, 16, 7, 7, 16])
    found = {}
    for graph in (False, True):
        step, model = step_and_model(which, head, cuda, graph)
        figures = []
        for number, (images, targets) in enumerate(batches):
            set_learning_rate(step.optimizer, RATE * (1 + number % 3) / 2)
            figures.append(step(images, targets, len(targets), len(targets)))
        found[graph] = torch.stack(figures).cpu(), model.fc.weight.detach().cpu()
    losses, weights = ([found[graph][part] for graph in (True, False)] for part in (0, 1))
    tolerance = 0.05 if "bf16" in which else 0.01
    torch.testing.assert_close(losses[0][:, 0], losses[1][:, 0], rtol=tolerance, atol=0)
    # Adam moves each weight by about the rate a step: a missed one, or one at another rate, shows
    assert (weights[0] - weights[1]).abs().mean() < RATE / 2


@networks
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_steps_and_batches_wait_for_nothing(which, cuda):
    step, _ = step_and_model(which, "softmax", cuda, graph=False)
    ((images, targets),) = batches_of(which, cuda, [16])
    step(images, targets, 16, 16)  # cuDNN's and cuBLAS's beginnings may wait
    pixels = (images[:, 0] * 255).byte()
    local = which.startswith("local")
    batches = data.Batches(
        pixels, targets, 4, cuda, augment="strong", is_defect=targets == 0,
        synthetic_defects=0.5 if local else None,
    )  # fmt: skip
    whole = batches.epoch()
    step(*next(whole), 4, 4)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for one in whole:
            step(*one, 4, 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_store_too_large_for_the_gpu_gives_the_same_batches(castings, cuda, monkeypatch):
    rows, _ = load_split(castings)
    store = open_store(castings, rows, 32)
    found = []
    for fits in (True, False):
        monkeypatch.setattr(data, "_fits", lambda *_, answer=fits: answer)
        options = {"batch_size": 16, "shuffle": True, "augment": "full"}
        batches = make_batches(store, rows, "train", NAMES, cuda, **options)
        assert batches.pixels.device.type == ("cuda" if fits else "cpu")
        found.append(list(batches.epoch()))
    for there, sent in zip(*found, strict=True):
        torch.testing.assert_close(there, sent, rtol=0, atol=0)


@pytest.mark.parametrize(
    "options",
    [["--amp"], ["--cuda-graph"], ["--amp", "--cuda-graph"]],
    ids=["amp", "graph", "amp and graph"],
)
@pytest.mark.parametrize("network", ["resnet18", "local"])
def test_a_training_ends_with_what_predict_finds(
    network, options, tmp_path, castings, resnet_options, cuda
):
    own = local_options(castings) if network == "local" else resnet_options
    own = [*own, "--device", "cuda", *options, "--out", str(tmp_path)]
    assert train.main(own) == 0
    with open(tmp_path / "best_validation.csv", newline="") as file:
        fitted = [float(row["prob_defect"]) for row in csv.DictReader(file)]
    rows, _ = load_split(castings)
    held_out = [castings / row.path for row in rows if row.split == "val"]
    found = load_predictor(tmp_path / "best.pth", "cuda").predict(held_out)
    assert fitted == pytest.approx([one.prob_defect for one in found], abs=1e-4)


@pytest.mark.parametrize("network", ["resnet18", "local"])
def test_decisions_and_heatmaps_are_those_of_a_cpu(
    network, trained_resnet, trained_local, paths, cuda
):
    checkpoint = trained_local if network == "local" else trained_resnet / "best.pth"
    there, here = (load_predictor(checkpoint, name) for name in ("cuda", "cpu"))
    for one, other in zip(there.predict(paths), here.predict(paths), strict=True):
        assert one.prob_defect == pytest.approx(other.prob_defect, abs=1e-4)
    grey = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8))
    for method in Explainer(here.checkpoint, here.device).methods:
        maps = [Explainer(one.checkpoint, one.device).maps(grey, method) for one in (there, here)]
        assert maps[0].shape == (3, 64, 64)
        assert np.abs(maps[0] - maps[1]).mean() < 0.01 * max(maps[1].max(), 1e-3)


@pytest.mark.parametrize("network", ["resnet18", "local"])
def test_a_training_begun_on_a_gpu_goes_on_on_a_cpu(
    network, tmp_path, castings, resnet_options, cuda
):
    own = local_options(castings) if network == "local" else resnet_options
    options = [*own, "--out", str(tmp_path)]
    assert train.main([*options, "--device", "cuda", "--cuda-graph", "--epochs", "1"]) == 0
    assert train.main(["--data", str(castings), "--device", "cpu", "--epochs", "2", "--resume",
                       "--out", str(tmp_path)]) == 0  # fmt: skip
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.parametrize("network", ["resnet18", "local"])
def test_a_deterministic_training_repeats_bit_for_bit(
    network, tmp_path, castings, resnet_options, cuda
):
    own = local_options(castings) if network == "local" else resnet_options
    for name in "ab":
        options = [*own, "--device", "cuda", "--deterministic", "--out", str(tmp_path / name)]
        assert train.main(options) == 0
    first, second = (load_checkpoint(tmp_path / name / "best.pth").weights for name in "ab")
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name


def test_a_full_gpu_is_told_in_one_line(cuda):
    with pytest.raises(RuntimeError) as failure:
        torch.empty(1 << 50, dtype=torch.uint8, device=cuda)
    with pytest.raises(UserError, match=r"^out of memory; try --batch-size 8"):
        raise_out_of_memory(failure.value, 16)
