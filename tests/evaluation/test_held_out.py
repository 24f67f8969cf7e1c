"""Which images a model may be measured on, which castings it knows, each image predicted once."""

import csv
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import evaluation_of
from PIL import Image, ImageDraw

from common.errors import UserError
from dataset.casting_table import UnknownCastingsError
from dataset.listing import list_images
from evaluation.held_out import (
    find_folds,
    load_models,
    predict_folder,
    predict_folds,
    predict_split,
    rebuild_split,
)
from evaluation.origin import leak_line
from model import load_checkpoint, save_checkpoint


def model_of(folder, root):
    (model,) = load_models(folder / "best.pth", root, "cpu")
    return model


def truth_of(root):
    with open(root / "truth.csv", newline="") as file:
        return {line["path"]: line["casting"] for line in csv.DictReader(file)}


@pytest.fixture(scope="module")
def model(trained, castings):
    return model_of(trained, castings)


@pytest.fixture(scope="module")
def folds(trained_folds, castings):
    return load_models(trained_folds, castings, "cpu", folds=True)


# --- predictions as arrays -----------------------------------------------------------------------


def test_decisions_become_arrays_with_each_folds_own_threshold():
    predicted = evaluation_of("a defect .15 1 no", "a defect .15 2 no", "b ok .05 1 yes")
    parts = predicted.parts
    assert parts.is_defect.tolist() == [True, True, False]
    assert parts.prob_defect.tolist() == [0.15, 0.15, 0.05]
    assert parts.threshold == pytest.approx([0.1, 0.2, 0.1])
    assert parts.rejected.tolist() == [True, False, False]
    assert parts.castings.tolist() == ["a", "a", "b"]
    assert parts.folds.tolist() == [1, 2, 1]
    assert predicted.confusion.tolist() == [[1, 1], [0, 1]]


def test_images_of_unknown_casting_are_castings_of_their_own():
    predicted = evaluation_of("- ok .1 1 no", "- ok .1 1 no")
    assert not predicted.castings_known
    assert predicted.parts.castings.tolist() == ["0.png", "1.png"]


def test_a_choice_keeps_all_that_belongs_to_an_image_together():
    predicted = evaluation_of("a defect .9 1 no", "b ok .2 2 yes", "c ok .3 3 no")
    chosen = predicted.chosen([True, False, True], "some")
    assert chosen.name == "some"
    assert [row.casting for row in chosen.rows] == ["a", "c"]
    assert chosen.parts.prob_defect.tolist() == [0.9, 0.3]
    assert chosen.seen == [False, False]
    assert [(image.fold, image.temperature) for image in chosen.images] == [(1, 1.0), (3, 3.0)]


def test_the_leak_is_told_in_images_of_all_images():
    predicted = evaluation_of("a ok .1 1 yes", "b ok .1 1 no", "c ok .1 1 no")
    assert leak_line(predicted) == (
        "leak     1 of 3 images (33.3 %) show a casting that is also in training"
    )
    unknown = evaluation_of("a ok .1 1 yes", "- ok .1 1 no")
    assert leak_line(unknown) == "leak     unknown: the castings of these images are not known"


# --- a model and its split -----------------------------------------------------------------------


def test_a_model_knows_which_castings_it_was_trained_on(model, castings, folds):
    truth = truth_of(castings)
    trained_on = {row.path for row in model.rows if row.split == "train"}
    assert model.castings_in_training == {truth[path] for path in trained_on}
    assert len(model.castings_in_training) == 16
    for fold in folds:  # 8 castings are tested, 4 validate
        assert len(fold.castings_in_training) == 4


@pytest.fixture(scope="module")
def blank(castings, tmp_path_factory):
    """Images under the names of the castings, one in five without a hub; without truth.csv."""
    root = tmp_path_factory.mktemp("blank")
    rows, _ = list_images(castings)
    for number, row in enumerate(rows):
        (root / row.path).parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (32, 32), 150 + number)
        if number % 5:
            ImageDraw.Draw(image).ellipse((10, 10, 21, 21), fill=0)
        image.save(root / row.path)
    return root


def test_a_model_is_measured_although_castings_cannot_be_recognised(trained, blank, capsys):
    model = model_of(trained, blank)
    notes = capsys.readouterr().err.splitlines()
    assert any(
        line.startswith("note: ") and "intervals take images for independent" in line
        for line in notes
    )
    assert model.castings_in_training == set()
    predicted = predict_split(model, blank, "test")
    assert not any(predicted.seen)
    assert leak_line(predicted).startswith("leak     unknown")
    assert len(set(predicted.parts.castings)) == len(predicted.rows)


def test_held_out_castings_are_needed_where_the_protocol_holds_them_out(
    trained_folds, blank, capsys
):
    checkpoint = load_checkpoint(trained_folds / "fold1" / "best.pth")
    with pytest.raises(UnknownCastingsError, match="show no dark hub") as failure:
        rebuild_split(blank, checkpoint, trained_folds / "fold1" / "best.pth")
    assert "\n" not in str(failure.value)
    assert "independent" not in capsys.readouterr().err


# --- folds ---------------------------------------------------------------------------------------


def test_folds_are_found_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"fold{number}").mkdir()
        (tmp_path / f"fold{number}" / "best.pth").touch()
    (tmp_path / "fold3").mkdir()
    assert [path.parent.name for path in find_folds(tmp_path)] == ["fold1", "fold2", "fold10"]


def test_a_folder_without_folds_says_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match=r"train\.py --recipe robust --protocol casting --fold all"):
        load_models(tmp_path, tmp_path, "cpu", folds=True)


def refusal(folder, root):
    with pytest.raises(UserError) as failure:
        load_models(folder, root, "cpu", folds=True)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def changed_fold(trained_folds, target, **changes):
    """Both folds in a new folder, the second one's checkpoint with other values."""
    (target / "fold1").mkdir()
    os.link(trained_folds / "fold1" / "best.pth", target / "fold1" / "best.pth")
    checkpoint = load_checkpoint(trained_folds / "fold2" / "best.pth")
    changes["training"] = checkpoint.training | changes.get("training", {})
    save_checkpoint(target / "fold2" / "best.pth", replace(checkpoint, **changes))


@pytest.mark.parametrize("fold", [1, 2])
def test_a_missing_fold_is_refused(fold, trained_folds, castings, tmp_path):
    (tmp_path / f"fold{fold}").mkdir()
    os.link(trained_folds / f"fold{fold}" / "best.pth", tmp_path / f"fold{fold}" / "best.pth")
    message = refusal(tmp_path, castings)
    assert f"{tmp_path} holds the folds [{fold}] of 2" in message
    assert "--fold all" in message


def test_an_unfinished_fold_is_refused(trained_folds, castings, tmp_path):
    changed_fold(trained_folds, tmp_path, operating_point=None)
    assert "fold2/best.pth has not been finished" in refusal(tmp_path, castings)


def test_folds_of_different_options_are_refused(trained_folds, castings, tmp_path):
    changed_fold(trained_folds, tmp_path, training={"lr": 0.5})
    assert "fold2/best.pth was trained with another lr" in refusal(tmp_path, castings)


def test_runs_that_are_no_folds_are_refused(trained, castings, tmp_path):
    for name in ("fold1", "fold2"):
        (tmp_path / name).mkdir()
        os.link(trained / "best.pth", tmp_path / name / "best.pth")
    assert "holds the folds [None, None] of None" in refusal(tmp_path, castings)


# --- predicting ----------------------------------------------------------------------------------


def test_every_image_is_predicted_once_by_the_model_that_never_saw_its_casting(folds, castings):
    predicted = predict_folds(folds, castings)
    rows, _ = list_images(castings)
    assert sorted(row.path for row in predicted.rows) == [row.path for row in rows]
    assert not any(predicted.seen)
    truth = truth_of(castings)
    for image in predicted.images:
        own = folds[image.fold - 1]
        assert own.checkpoint.fold == image.fold
        assert truth[image.row.path] not in own.castings_in_training
        assert image.prediction.threshold == own.checkpoint.threshold
        assert image.temperature == own.checkpoint.temperature
    assert len(set(predicted.parts.threshold)) == 2


def test_without_the_cache_the_decisions_are_the_same(model, castings):
    kept, decoded = (predict_split(model, castings, "val", cache=cache) for cache in (True, False))
    assert kept.rows == decoded.rows
    assert np.array_equal(kept.parts.prob_defect, decoded.parts.prob_defect)


def test_copies_are_seen_and_castings_of_another_folder_are_not(model, castings):
    copies = predict_split(model, castings, "test")
    assert all(copies.seen)
    unseen = predict_folder(model, castings / "unseen", "unseen", castings, cache=True)
    assert not any(unseen.seen)
    truth = truth_of(castings)
    assert [row.casting for row in unseen.rows] == [truth[row.path] for row in unseen.rows]
    assert {row.split for row in unseen.rows} == {"unseen"}


def test_a_model_for_use_has_no_test_part(trained_for_use, castings):
    model = model_of(trained_for_use, castings)
    with pytest.raises(UserError, match="--split val or --external FOLDER") as failure:
        predict_split(model, castings, "test")
    assert str(trained_for_use / "best.pth") in str(failure.value)
    assert len(predict_split(model, castings, "val").rows) == 32


def test_classes_that_the_model_does_not_know_are_refused(model, castings, tmp_path):
    shutil.copytree(castings / "unseen" / "ok_front", tmp_path / "line" / "ok_front")
    shutil.copytree(castings / "unseen" / "def_front", tmp_path / "line" / "scratch")
    with pytest.raises(UserError, match="class that the model does not know: scratch"):
        predict_folder(model, tmp_path / "line", "line", castings, cache=False)


def test_other_photographs_are_compared_with_the_castings_in_training(
    trained_sharp, sharp_castings, line_photographs
):
    model = model_of(trained_sharp, sharp_castings)
    predicted = predict_folder(model, line_photographs, "line", sharp_castings, cache=False)
    names = {row.path: row.casting for row in predicted.rows}
    truth = truth_of(sharp_castings)
    for path, is_seen in zip(names, predicted.seen, strict=True):
        folder, kind, file = path.split("/")
        assert folder == "line 3"
        assert is_seen == file.startswith("known ")
        if is_seen:
            original = f"train/{kind}/{file.removeprefix('known ').removesuffix('.png')}.jpeg"
            assert names[path] == truth[original]
    new = sorted(name for name in names.values() if name.startswith("new_"))
    assert new == ["new_001", "new_002", "new_003", "new_004"]


def test_unseen_castings_without_truth_are_compared_with_those_in_training(
    trained_sharp, sharp_castings, line_photographs, tmp_path
):
    # Numbered by themselves, they would bear the names of castings in training
    root = tmp_path / "real"
    shutil.copytree(sharp_castings, root, ignore=shutil.ignore_patterns("unseen", "truth.csv"))
    shutil.copytree(line_photographs, root / "unseen")
    model = model_of(trained_sharp, root)
    assert min(model.castings_in_training) == "casting_001"
    predicted = predict_folder(model, root / "unseen", "unseen", root, cache=False)
    known = ["known" in row.path for row in predicted.rows]
    assert predicted.seen == known
    assert sum(known) == 4


def test_castings_that_the_user_named_are_compared_and_not_taken_from_the_truth(
    trained_sharp, sharp_castings
):
    model = model_of(trained_sharp, sharp_castings)
    training = model.checkpoint.training | {"castings": "serial numbers.csv"}
    model.predictor.checkpoint = replace(model.checkpoint, training=training)
    model = replace(model, rows=[replace(row, casting=row.casting[1:]) for row in model.rows])
    folder = sharp_castings / "unseen"
    predicted = predict_folder(model, folder, "unseen", sharp_castings, cache=False)
    assert sorted(row.casting for row in predicted.rows) == [f"new_00{n}" for n in (1, 2, 3, 4)]
