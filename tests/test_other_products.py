"""Photographs of any product, sorted in any of three ways, become a model that knows what it is."""

import json
import shutil

import numpy as np
import pytest
from builders import make_plates
from PIL import Image

import data_split
import explain
import probe
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


def test_which_classes_are_good_is_said(tmp_path, capsys):
    data = make_plates(tmp_path / "data", {"Normal Part": 20, "ok but dirty": 16},
                       {"ok but dirty": "hole"})  # fmt: skip
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert "good: ok but dirty; defects: Normal Part (--good NAME" in capsys.readouterr().out


def test_parts_on_two_sides_of_given_folders_are_counted(tmp_path, capsys):
    data = tmp_path / "data"
    for part in ("train", "val", "test"):
        make_plates(data / part, {"good": 6, "bad": 6}, {"bad": "hole"})
    shutil.copy(data / "train" / "good" / "0.png", data / "test" / "good" / "again.png")
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "note: 1 test image show a part that is also in training" in said.err
    assert "data in" in said.out  # named by its folder, not 'castings'


def test_a_validation_folder_may_lack_a_kind(tmp_path):
    data = tmp_path / "data"
    for part, names in (("train", KINDS), ("val", ("ok", "hole")), ("test", KINDS)):
        make_plates(data / part, dict.fromkeys(names, 5))
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0


def test_a_class_whose_photographs_lie_deeper_is_not_dropped(tmp_path):
    data = make_plates(tmp_path / "data", {"ok": 9, "hole": 9})
    make_plates(data / "crack", {"monday": 2}, {"monday": "hole"})
    with pytest.raises(UserError, match="crack holds folders, no photographs: move those of mon"):
        data_split.main(["--data", str(data), "--out", str(tmp_path / "out")])


def test_an_empty_folder_beside_good_parts_changes_nothing(tmp_path, capsys):
    data = make_plates(tmp_path / "data", {"ok": 12})
    (data / "docs").mkdir()
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert "good parts alone to train on" in capsys.readouterr().err


def test_a_table_beside_the_photographs_is_said_to_be_unused(plates, tmp_path, capsys):
    data = shutil.copytree(plates, tmp_path / "data")
    (data / "parts.csv").write_text("path,casting\n")
    assert data_split.main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert f"parts.csv is not read unless it is named: --castings {data}/parts.csv" in (
        capsys.readouterr().err
    )
    rows = "".join(f"{path.relative_to(data)},{path}\n" for path in data.glob("*/*.png"))
    (data / "parts.csv").write_text(f"path,casting\n{rows}")
    command = ["--data", str(data), "--castings", str(data / "parts.csv")]
    assert data_split.main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "parts.csv" not in capsys.readouterr().err


@pytest.mark.parametrize("table", [True, False])
def test_parts_of_another_product_are_audited_by_their_table_or_their_looks(
    plates, tmp_path, capsys, table
):
    paths = [path.relative_to(plates).as_posix() for path in sorted(plates.glob("*/*.png"))]
    lines = "".join(f"{path},{path}\n" for path in paths)
    (tmp_path / "parts.csv").write_text(f"path,casting\n{lines}")
    named = ["--castings", str(tmp_path / "parts.csv")] if table else []
    out = tmp_path / "out"
    assert data_split.main(["--data", str(plates), "--audit", "--out", str(out), *named]) == 0
    printed = capsys.readouterr().out
    assert f"parts: {len(paths)}, of them" in printed
    assert "these images show no ring to compare parts by" in printed
    assert " --fold all" in printed.splitlines()[-1]
    assert {path.name for path in out.iterdir()} == {
        "split.csv", "audit.json", "audit.csv", "audit.png",
    }  # fmt: skip


def test_a_run_goes_on_although_its_layout_would_be_taken_otherwise(tmp_path):
    data = tmp_path / "data"
    for part in ("train", "val", "test"):
        make_plates(data / part, {"good": 9, "bad": 9}, {"bad": "hole"})
    run = ["--data", str(data), "--out", str(tmp_path / "run"), *SMALL]
    assert train.main([*run, "--protocol", "casting"]) == 0
    assert train.main([*run[:4], "--resume", "--epochs", "2", "--device", "cpu"]) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pth").protocol == "casting"


@pytest.fixture(scope="module")
def good_only(tmp_path_factory):
    """MVTec's layout, and a model of it."""
    root = tmp_path_factory.mktemp("good only")
    make_plates(root / "data" / "train", {"good": 12})
    make_plates(root / "data" / "test", {"good": 4, "hole": 4})
    trained(root / "data", root / "run")
    return root


def test_photographs_of_one_kind_from_elsewhere_are_decided(good_only, tmp_path):
    outside = make_plates(tmp_path / "outside", {"hole": 3, "scratch": 2})
    result = tmp_path / "results"
    measured(good_only / "data", good_only / "run" / "best.pth", result, "--external", str(outside))
    tiers = json.loads((result / "metrics.json").read_text())["tiers"]
    assert tiers["external outside"]["counts"]["defects"] == 5


def test_what_good_parts_taught_is_explained(good_only, tmp_path):
    """At 32 px the last map is one cell, without any deviation."""
    command = [str(good_only / "data" / "test"), "--arrays", "--no-gate", "--out", str(tmp_path)]
    assert explain.main([*command, "--checkpoint", str(good_only / "run" / "best.pth")]) == 0
    maps = [np.load(path) for path in tmp_path.rglob("*.npy")]
    assert len(maps) == 8
    assert all(np.isfinite(one).all() and one.shape == (19, 32) for one in maps)


def test_shortcut_tests_see_what_the_model_sees(plates, tmp_path):
    trained(plates, tmp_path / "run")
    own = ["--data", str(plates), "--checkpoint", str(tmp_path / "run" / "best.pth")]
    assert test.main([*own, "--out", str(tmp_path / "test")]) == 0
    assert probe.main([*own, "--out", str(tmp_path / "probe")]) == 0
    decided, probed = (
        read_csv(tmp_path / name, ["path", "prob_defect"])
        for name in ("test/predictions.csv", "probe/probes.csv")
    )
    whole = {row["path"]: float(row["prob_defect"]) for row in decided}
    same = {
        row["path"]: float(row["prob_defect"]) for row in probed if row["probe"] == "unmodified"
    }
    assert same == pytest.approx(whole, abs=1e-4)
