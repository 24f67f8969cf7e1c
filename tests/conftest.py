"""Small castings, one small trained model, and a world without the user's own data and caches."""

import os
from pathlib import Path

import pytest
import torch

import train
from synthetic import RenderOptions, render_dataset

REAL_DATA = os.environ.get("CASTING_DATA")
IMAGE_SIZE_PX = 32  # of the network's input; the castings are rendered at 64


@pytest.fixture(scope="session", autouse=True)
def own_world(tmp_path_factory):
    """Caches in a temporary folder; no data but what a test names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASTING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        patch.delenv("CASTING_DATA", raising=False)
        yield


@pytest.fixture(autouse=True)
def no_leftover_settings():
    """A test that makes torch deterministic does not slow down the others."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def castings(tmp_path_factory) -> Path:
    """16 castings, 4 copies each, and 6 castings never seen: large defects, 64 px."""
    out = tmp_path_factory.mktemp("data") / "castings"
    options = RenderOptions(
        castings=16, copies=4, unseen_castings=6, unseen_copies=1, sizes=("large",),
        image_size_px=64, test_fraction=0.4,
    )  # fmt: skip
    render_dataset(out, options, progress=False)
    return out


@pytest.fixture(scope="session")
def train_options(castings) -> list[str]:
    """Options of a training that takes about a second."""
    return [
        "--data", str(castings), "--weights", "none", "--image-size", str(IMAGE_SIZE_PX),
        "--batch-size", "16", "--epochs", "2", "--augment", "full", "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory, train_options) -> Path:
    """The folder of one finished training; read it, do not write into it."""
    out = tmp_path_factory.mktemp("trained")
    assert train.main([*train_options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real images, where CASTING_DATA names them."""
    if not REAL_DATA or not Path(REAL_DATA).is_dir():
        pytest.skip("needs the real images; set CASTING_DATA to their folder")
    return Path(REAL_DATA)
