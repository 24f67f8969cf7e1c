"""Photographs of any product, sorted in any of three ways, become a model that knows what it is."""

import json
import shutil

import pytest
from builders import make_plates
from PIL import Image

import data_split
import test
import train
from common.errors import UserError
from common.files import read_csv
from common.labels import ANY_DEFECT
from dataset.manifest import UNUSED, read_split
from model import load_checkpoint

KINDS = {"ok": 24, "hole": 12, "scratch": 12}
SMALL = ["--image-size", "32", "--epochs", "1", "--epoch-size", "32", "--device", "cpu"]


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Class folders and nothing above them; wide photographs, no hub."""
    return make_plates(tmp_path_factory.mktemp("plates"), KINDS)


def trained(data, out, *options):
    assert train.main(["--data", str(data), "--out", str(out), *SMALL, *options]) == 0
    return load_checkpoint(out / "best.pth")


def measured(data, model, out, *options):
    """The first tier of metrics.json."""
    assert test.main(
        ["--data", str(data), "--checkpoint", str(model), "--out", str(out), *options]
    ) == 0  # fmt: skip
    return next(iter(json.loads((out / "metrics.json").read_text())["tiers"].values()))


def splits_of(rows):
    return {split: {row.label for row in rows if row.split == split} for split in
            ("train", "val", "test", UNUSED)}  # fmt: skip


def test_class_folders_are_split_by_part_and_every_kind_is_told(plates, tmp_path, capsys):
    checkpoint = trained(plates, tmp_path / "run")
    said = capsys.readouterr().err
    assert "a folder a class: whole parts are held out (--protocol casting)" in said
    assert "--recipe product" in said
    assert (checkpoint.protocol, checkpoint.training["recipe"]) == ("casting", "product")
    assert (checkpoint.architecture, checkpoint.fit) == ("multiscale", "letterbox")
    assert checkpoint.class_names == ["hole", "ok", "scratch"]
    assert checkpoint.data == plates.name
    rows = read_split(tmp_path / "run" / "split.csv")
    assert len({row.casting for row in rows}) == len(rows) == 48
    for split in ("train", "val", "test"):
        assert splits_of(rows)[split] == set(KINDS)
    tier = measured(plates, tmp_path / "run" / "best.pth", tmp_path / "results")
    assert tier["images"] == sum(row.split == "test" for row in rows)
    assert tier["kind"]["of"] == sum(row.split == "test" and row.label != "ok" for row in rows)


def test_photographs_of_one_part_stay_on_one_side(tmp_path):
    """Each plate twice, the second time from above down and darker."""
    data = make_plates(tmp_path / "data", KINDS)
    for path in [path for name in KINDS for path in (data / name).iterdir()]:
        turned = Image.open(path).rotate(180).point(lambda grey: 0.7 * grey)
        turned.save(path.with_name(f"{path.stem} again.png"))
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    castings = {row.path: row for row in read_split(tmp_path / "out" / "split.csv")}
    assert len(castings) == 96
    assert len({row.casting for row in castings.values()}) == 48
    for path, row in castings.items():
        again = castings.get(path.replace(".png", " again.png"), row)
        assert (again.casting, again.split) == (row.casting, row.split)


@pytest.mark.parametrize("validation", [False, True])
def test_good_parts_alone_to_train_on(tmp_path, validation, capsys):
    """MVTec's layout; its masks are no class."""
    data = tmp_path / "bottle"
    make_plates(data / "train", {"good": 12})
    make_plates(data / "test", {"good": 6, "hole": 4, "scratch": 4})
    shutil.copytree(data / "test" / "hole", data / "ground_truth" / "hole")
    if validation:
        make_plates(data / "val", {"good": 5})
    checkpoint = trained(data, tmp_path / "run")
    said = capsys.readouterr().err
    assert "good parts alone to train on: defects are drawn on them" in said
    assert "are taken as they are (--protocol folders)" in said
    assert checkpoint.class_names == [ANY_DEFECT, "good"]
    assert checkpoint.training["good_only"]
    assert any(name.startswith("unusual.") for name in checkpoint.weights)
    rows = read_split(tmp_path / "run" / "split.csv")
    assert splits_of(rows)["train"] == splits_of(rows)["val"] == {"good"}
    assert sum(row.split == "test" for row in rows) == 14
    validated = read_csv(tmp_path / "run" / "best_validation.csv", ["label"])
    assert {row["label"] for row in validated} == {ANY_DEFECT, "good"}
    tier = measured(data, tmp_path / "run" / "best.pth", tmp_path / "results")
    assert (tier["counts"]["defects"], tier["counts"]["good"]) == (8, 6)


def test_defects_that_are_there_can_be_left_for_the_test(plates, tmp_path):
    checkpoint = trained(plates, tmp_path / "run", "--good-only")
    assert checkpoint.class_names == [ANY_DEFECT, "ok"]
    splits = splits_of(read_split(tmp_path / "run" / "split.csv"))
    assert splits == {"train": {"ok"}, "val": {"ok"}, "test": {ANY_DEFECT, "ok"},
                      UNUSED: {ANY_DEFECT}}  # fmt: skip
    tier = measured(plates, tmp_path / "run" / "best.pth", tmp_path / "results",
                    "--external", str(plates))  # fmt: skip
    assert tier["counts"]["defects"] > 0


def test_a_folder_of_good_parts_and_nothing_else(tmp_path):
    data = make_plates(tmp_path / "data", {"ok": 30})
    checkpoint = trained(data, tmp_path / "run")
    assert checkpoint.class_names == [ANY_DEFECT, "ok"]
    tier = measured(data, tmp_path / "run" / "best.pth", tmp_path / "results")
    assert tier["counts"]["defects"] == 0 < tier["counts"]["good"]


def test_train_val_and_test_are_taken_as_they_are(tmp_path):
    data = tmp_path / "data"
    for part, count in (("train", 8), ("val", 3), ("test", 4)):
        make_plates(data / part, {"good": count, "bad": count}, {"bad": "hole"})
    trained(data, tmp_path / "run")
    for row in read_split(tmp_path / "run" / "split.csv"):
        assert row.path.startswith(f"{row.split}/")


def test_good_classes_can_be_named(tmp_path, capsys):
    data = make_plates(tmp_path / "data", {"normal": 20, "fault": 16}, {"fault": "hole"})
    out = str(tmp_path / "out")
    with pytest.raises(UserError, match="no class folder that begins with 'ok' or 'good'"):
        data_split.main(["--data", str(data), "--out", out])
    with pytest.raises(UserError, match=f"--good norml: {data} has the classes fault, normal"):
        data_split.main(["--data", str(data), "--good", "norml", "--out", out])
    capsys.readouterr()
    assert data_split.main(["--data", str(data), "--good", "normal", "--out", out]) == 0
    assert "--good normal" in capsys.readouterr().out.splitlines()[-1]
    checkpoint = trained(data, tmp_path / "run", "--good", "normal")
    assert checkpoint.class_names == ["fault", "ok_normal"]
    tier = measured(data, tmp_path / "run" / "best.pth", tmp_path / "results",
                    "--external", str(data))  # fmt: skip
    assert tier["counts"]["good"] > 0


def test_options_that_do_not_fit_good_parts_alone(plates, tmp_path):
    for options, said in (
        (["--recipe", "reference"], "--recipe product"),
        (["--sampler", "image"], "--sampler class or kind"),
        (["--protocol", "kaggle"], "--protocol casting holds out whole parts"),
        (["--protocol", "folders"], "--protocol casting holds out whole parts"),
    ):
        with pytest.raises(UserError, match=said):
            train.main(["--data", str(plates), "--out", str(tmp_path), "--good-only", *options])


def test_all_folds_on_good_parts_test_every_photograph_once(plates, tmp_path):
    options = ["--good-only", "--fold", "all", "--folds", "3"]
    assert train.main(["--data", str(plates), "--out", str(tmp_path), *SMALL, *options]) == 0
    tier = measured(plates, tmp_path, tmp_path / "results", "--protocol", "casting")
    assert (tier["counts"]["good"], tier["counts"]["defects"]) == (24, 24)
