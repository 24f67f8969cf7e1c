"""Both releases of the archive from split to report: pooled, one session held out, or missed."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
from conftest import rendered, trained_into

import test as measure
import train
from common.errors import UserError
from common.files import read_csv, write_csv
from data_split import load_split, split_sha256
from dataset.folds import SplitOptions
from dataset.releases import SECOND
from dataset.sources import find_data

RENDERED = {"castings": 16, "copies": 2, "photos": 1, "unseen_castings": 0, "sizes": ("large",)}
SESSION = "autumn"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """casting_data and casting_512x512 of other castings and size, all of one session; a table.

    castings.csv names the castings of both.
    """
    folder = tmp_path_factory.mktemp("archive")
    first = rendered(folder / "casting_data", **RENDERED, image_size_px=64, test_fraction=0.5)
    more = rendered(folder / "more", **RENDERED, image_size_px=96, seed=1)
    lines = [(row["path"], row["casting"]) for row in read_csv(first / "truth.csv", ("casting",))]
    sessions = []
    for row in read_csv(more / "truth.csv", ("path", "casting")):
        part, name = row["path"].split("/", 1)
        name = name.replace("cast_", f"{part}_")
        target = folder / SECOND / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(more / row["path"], target)
        lines.append((f"{SECOND}/{name}", f"second {row['casting']}"))
        sessions.append((name, SESSION))
    for path in (first / "truth.csv", first / "castings.png"):
        path.unlink()
    shutil.rmtree(more)
    write_csv(folder / SECOND / "sessions.csv", ("path", "session"), sessions)
    write_csv(folder / "castings.csv", ("path", "casting"), lines)
    return folder


def options_of(archive, **more):
    return SplitOptions("casting", folds=2, castings=str(archive / "castings.csv"), **more)


def split_hash(data, options):
    return split_sha256(load_split(data, options)[0])


def test_protocol_casting_pools_both_and_kaggle_does_not(archive):
    data = find_data(str(archive / "casting_data"))
    rows, notes = load_split(data, options_of(archive))
    assert sum(row.path.startswith(SECOND) for row in rows) == 32
    assert len(rows) == 64
    assert notes == []
    alone = replace(data, second=None)
    assert split_hash(data, SplitOptions()) == split_hash(alone, SplitOptions())
    one = options_of(archive, releases=1)
    assert split_hash(data, one) == split_hash(alone, options_of(archive))
    assert split_hash(data, one) != split_hash(data, options_of(archive))


def test_the_split_is_the_same_wherever_the_second_release_lies(archive, tmp_path):
    shutil.copytree(archive / SECOND, tmp_path / "my photos")
    first = str(archive / "casting_data")
    hashes = {
        split_hash(find_data(first, second), options_of(archive))
        for second in (None, str(tmp_path / "my photos"))
    }
    assert len(hashes) == 1


@pytest.fixture(scope="module")
def trained_on_others(archive, tmp_path_factory):
    """The folder of a training that held out the session of the second release; read only."""
    options = [
        "--data", str(archive / "casting_data"), "--castings", str(archive / "castings.csv"),
        "--protocol", "casting", "--hold-out-session", SESSION, "--folds", "2",
        "--weights", "none", "--network", "local", "--drawn-defects", "0.5", "--image-size", "32",
        "--batch-size", "8", "--epochs", "1", "--sampler", "class", "--device", "cpu",
    ]  # fmt: skip
    return trained_into(tmp_path_factory.mktemp("others"), options)


def test_the_held_out_session_is_what_is_measured(archive, trained_on_others, tmp_path, capsys):
    checkpoint, data = trained_on_others / "best.pth", str(archive / "casting_data")
    arguments = ["--checkpoint", str(checkpoint), "--data", data, "--device", "cpu"]
    assert measure.main([*arguments, "--out", str(tmp_path)]) == 0
    assert "test: leak     0 of 32 images" in capsys.readouterr().out
    tier = json.loads((tmp_path / "metrics.json").read_text())["tiers"]["test"]
    assert (tier["images"], tier["castings"]) == (32, 16)
    with open(tmp_path / "predictions.csv", newline="") as file:
        assert all(line["path"].startswith(SECOND) for line in csv.DictReader(file))
    split = read_csv(trained_on_others / "split.csv", ("path", "split", "session"))
    assert {row["split"] for row in split if row["session"] != SESSION} == {"train", "val"}


def test_the_model_goes_on_with_the_session_held_out(archive, trained_on_others, tmp_path):
    shutil.copytree(trained_on_others, tmp_path / "run")
    data = ["--data", str(archive / "casting_data"), "--out", str(tmp_path / "run")]
    assert train.main([*data, "--resume", "--epochs", "2"]) == 0
    history = read_csv(tmp_path / "run" / "history.csv", ("epoch",))
    assert [row["epoch"] for row in history] == ["1", "2"]
    with pytest.raises(UserError, match=r"hold_out_session: autumn in .*, spring now"):
        train.main([*data, "--resume", "--hold-out-session", "spring"])


def test_a_second_release_that_has_gone_is_one_line_with_its_option(
    archive, trained_on_others, tmp_path
):
    alone = shutil.copytree(archive / "casting_data", tmp_path / "casting_data")
    arguments = ["--checkpoint", str(trained_on_others / "best.pth"), "--data", str(alone)]
    with pytest.raises(UserError, match=f"no {SECOND} near {alone}.*--second-release") as caught:
        measure.main([*arguments, "--device", "cpu", "--out", str(tmp_path / "results")])
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
