"""Small castings, one small trained model, and a world without the user's own data and caches."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import hypothesis
import pytest

# What takes seconds to import is imported where it is needed: the process that hands the tests out
# needs nothing of it.
if TYPE_CHECKING:
    import torch

    from inspection.model_file import ModelFile
    from inspection.predictor import Predictor

REAL_DATA = os.environ.get("CASTING_DATA")
VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES")
IMAGE_SIZE_PX = 32  # of the network's input; the castings are rendered at 64

# How many examples hypothesis makes up for a property: more with HYPOTHESIS_PROFILE=thorough
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=300)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_modifyitems(items):
    """The longest file first, so that no process begins with it when the others are done."""
    items.sort(key=lambda item: item.path.name != "test_real.py")


@pytest.fixture(scope="session", autouse=True)
def own_world(tmp_path_factory):
    """Caches in a temporary folder; no data but what a test names, and no GPU unless it asks.

    Yields whether there is one.
    """
    import torch

    from networks import devices

    has_gpu = torch.cuda.is_available()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(devices, "multiplies_bfloat16", lambda device: False)  # the same everywhere
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes that tests start
        patch.setenv("CASTING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        for name in ("CASTING_DATA", "CASTING_DATA_512"):
            patch.delenv(name, raising=False)
        # Tiny networks gain nothing from threads, which wait for each other on a busy machine.
        threads = os.environ.get("TEST_THREADS", "1")
        patch.setenv("OMP_NUM_THREADS", threads)
        torch.set_num_threads(int(threads))
        yield has_gpu


@pytest.fixture(autouse=True)
def no_leftover_settings():
    """What a test makes of PyTorch's settings does not reach the others."""
    import torch

    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, True


@pytest.fixture
def cuda(own_world, monkeypatch) -> torch.device:
    """The GPU."""
    import torch

    if not own_world:
        pytest.skip("needs a CUDA GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if VISIBLE is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE)
    return torch.device("cuda")


def rendered(out: Path, **options) -> Path:
    """Rendered castings in a folder."""
    from rendering.data_set import render_dataset
    from rendering.options import RenderOptions

    render_dataset(out, RenderOptions(**options), progress=False)
    return out


def trained_into(out: Path, options: list[str]) -> Path:
    """The folder of a training with these options."""
    import train

    assert train.main([*options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def castings(tmp_path_factory) -> Path:
    """16 castings, 4 copies each, and 6 unseen castings: large defects, 64 px."""
    return rendered(
        tmp_path_factory.mktemp("data") / "castings",
        castings=16, copies=4, unseen_castings=6, unseen_copies=1, sizes=("large",),
        image_size_px=64, test_fraction=0.4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def resnet_options(castings) -> list[str]:
    """Options of a training of ResNet-18: seconds, and 134 MB of state."""
    return [
        "--data", str(castings), "--weights", "none", "--image-size", str(IMAGE_SIZE_PX),
        "--batch-size", "16", "--epochs", "2", "--augment", "full", "--device", "cpu",
        "--no-amp",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def trained_resnet(tmp_path_factory, resnet_options) -> Path:
    """The folder of one finished training of ResNet-18, where the network matters; read only."""
    return trained_into(tmp_path_factory.mktemp("trained_resnet"), resnet_options)


@pytest.fixture(scope="session")
def train_options(resnet_options) -> list[str]:
    """Options of a training of the small local network: half a second, and 2 MB of state."""
    return [*resnet_options, "--network", "local", "--drawn-defects", "0.5"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, train_options) -> Path:
    """The folder of one finished training; read it, do not write into it."""
    return trained_into(tmp_path_factory.mktemp("trained"), train_options)


@pytest.fixture(scope="session")
def another(trained, tmp_path_factory) -> Path:
    """The file of another model: it finds every part more suspicious, and rejects from 0.9 on."""
    from model import load_checkpoint, save_checkpoint, with_logit_bias

    path = tmp_path_factory.mktemp("another") / "another.pth"
    first = load_checkpoint(trained / "best.pth")
    save_checkpoint(path, replace(first, weights=with_logit_bias(first, 2.0), threshold=0.9))
    return path


@pytest.fixture
def model_file(trained, tmp_path, monkeypatch) -> ModelFile:
    """The small model in a file of its own, which may be replaced and is looked at all the time."""
    from inspection import model_file
    from inspection.predictor import load_predictor

    monkeypatch.setattr(model_file, "LOOK_S", 0.0)
    path = tmp_path / "models" / "current.pth"
    path.parent.mkdir()
    shutil.copy(trained / "best.pth", path)
    return model_file.ModelFile(path, lambda: load_predictor(path, "cpu").warm_up())


@pytest.fixture(scope="session")
def paths(castings) -> list[Path]:
    """The test images."""
    return sorted((castings / "test").rglob("*.jpeg"))


@pytest.fixture(scope="session")
def dividing_threshold(trained, paths) -> float:
    """A threshold at which the small model rejects half of the test images."""
    from inspection.predictor import load_predictor

    found = load_predictor(trained / "best.pth", "cpu").predict(paths)
    return median(one.prob_defect for one in found)


@pytest.fixture(scope="session")
def predictor(trained, dividing_threshold) -> Predictor:
    """The small model, at this threshold."""
    from inspection.predictor import load_predictor

    return load_predictor(trained / "best.pth", "cpu", threshold=dividing_threshold)


@pytest.fixture(scope="session")
def fold_options(train_options) -> list[str]:
    """Options of a training that holds out castings; half a second a fold."""
    own = ["--protocol", "casting", "--folds", "2", "--epochs", "1", "--batch-size", "8"]
    return [*train_options, *own, "--operating-point", "0.7"]


@pytest.fixture(scope="session")
def trained_folds(tmp_path_factory, fold_options) -> Path:
    """The folder of two finished folds, whose operating points are fitted; read only."""
    return trained_into(tmp_path_factory.mktemp("folds"), [*fold_options, "--fold", "all"])


@pytest.fixture(scope="session")
def trained_for_use(tmp_path_factory, fold_options) -> Path:
    """The folder of a training that holds no casting out for testing; read only."""
    return trained_into(tmp_path_factory.mktemp("for use"), [*fold_options, "--fold", "none"])


@pytest.fixture(scope="session")
def sharp_castings(tmp_path_factory) -> Path:
    """8 castings, 3 copies each, and 4 unseen castings: 300 px, so that they are recognised."""
    return rendered(
        tmp_path_factory.mktemp("data") / "sharp",
        castings=8, copies=3, photos=1, unseen_castings=4, unseen_copies=1, sizes=("large",),
        test_fraction=0.34,
    )  # fmt: skip


@pytest.fixture(scope="session")
def trained_sharp(tmp_path_factory, sharp_castings) -> Path:
    """The folder of a training on the sharp castings, protocol kaggle; read only.

    Long enough, and with parts turned, that the gate's features are those of a trained network.
    """
    options = [
        "--data", str(sharp_castings), "--weights", "none", "--image-size", "64",
        "--batch-size", "8", "--epochs", "15", "--device", "cpu", "--network", "local",
        "--drawn-defects", "0.5", "--augment", "full",
    ]  # fmt: skip
    return trained_into(tmp_path_factory.mktemp("trained sharp"), options)


@pytest.fixture(scope="session")
def line_photographs(tmp_path_factory, sharp_castings) -> Path:
    """Class folders of 512 px: 4 training images of the sharp castings, turned, and 4 new parts.

    The names of the former begin with 'known', those of the latter with 'new'.
    """
    from PIL import Image

    out = tmp_path_factory.mktemp("photographs") / "line 3"
    for kind in ("def_front", "ok_front"):
        (out / kind).mkdir(parents=True)
        for name, folder, quarter in (("known", "train", 1), ("new", "unseen", 2)):
            for path in sorted((sharp_castings / folder / kind).iterdir())[:2]:
                with Image.open(path) as image:
                    turned = image.rotate(90 * quarter).resize((512, 512), Image.Resampling.BICUBIC)
                turned.save(out / kind / f"{name} {path.stem}.png")
    return out


@pytest.fixture
def line_parts(castings, tmp_path) -> dict[str, list[Path]]:
    """Eight photographs of a line of each class: copies that a test may move or change."""
    found = {}
    for kind in ("ok_front", "def_front"):
        folder = tmp_path / "line" / kind
        folder.mkdir(parents=True)
        for path in sorted((castings / "test" / kind).glob("*.jpeg"))[:8]:
            shutil.copy(path, folder)
        found[kind] = sorted(folder.iterdir())
        assert len(found[kind]) == 8
    return found


@pytest.fixture
def log_with_verdicts(line_parts, predictor, tmp_path) -> Path:
    """The log of their inspections, 1 to 16, on each of which a person has told the truth."""
    from inspection.recording import Inspector, Part
    from traceability.log import InspectionLog

    paths = [*line_parts["ok_front"], *line_parts["def_front"]]
    with InspectionLog(tmp_path / "line.db", "create") as log:
        inspector = Inspector(predictor, log)
        inspector.inspect([Part(str(path), path.read_bytes()) for path in paths])
        for number in range(1, len(paths) + 1):
            log.add_disposition(number, "ok" if number <= 8 else "defect", "Huber")
    return log.path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real images, where CASTING_DATA names them."""
    if not REAL_DATA or not Path(REAL_DATA).is_dir():
        pytest.skip("needs the real images; set CASTING_DATA to their folder")
    return Path(REAL_DATA)
