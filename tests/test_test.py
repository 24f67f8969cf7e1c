"""The report: every figure follows from predictions.csv, and from the checkpoint's own split."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import test as measure
import train
from common import UserError
from model import load_checkpoint, save_checkpoint
from synthetic import RenderOptions, render_dataset

FILES = {
    "predictions.csv",
    "metrics.json",
    "classification_report.txt",
    "confusion_matrix.png",
    "roc_pr.png",
    "predictions.png",
    "score_histogram.png",
}


@pytest.fixture(scope="module")
def measured(trained, castings, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ["--data", str(castings), "--checkpoint", str(trained / "best.pth")]
    assert measure.main([*arguments, "--out", str(out), "--device", "cpu"]) == 0
    return out


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_all_files_are_there_and_all_figures_are_pictures(measured):
    assert {path.name for path in measured.iterdir()} == FILES
    for path in measured.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 300


def test_metrics_follow_from_predictions(measured, castings):
    result = json.loads((measured / "metrics.json").read_text())
    rows = read_csv(measured / "predictions.csv")
    test_rows = [row for row in rows if row["path"].startswith("test/")]
    unseen_rows = [row for row in rows if row["path"].startswith("unseen/")]
    assert len(unseen_rows) == len(list((castings / "unseen").rglob("*.jpeg")))
    for part, figures in ((test_rows, result), (unseen_rows, result["unseen"])):
        defects = [row for row in part if row["label"] == "def_front"]
        missed = sum(row["decision"] == "ok" for row in defects)
        alarms = sum(r["decision"] == "defect" for r in part if r["label"] == "ok_front")
        assert figures["counts"] == {
            "defects": len(defects),
            "missed": missed,
            "good": len(part) - len(defects),
            "false_alarms": alarms,
        }
        assert figures["rates"]["accuracy"]["count"] == len(part) - missed - alarms
        assert np.sum(figures["confusion_matrix"]) == len(part)


def test_probabilities_in_the_csv_add_up(measured):
    for row in read_csv(measured / "predictions.csv"):
        assert float(row["prob_def_front"]) + float(row["prob_ok_front"]) == pytest.approx(1)
        assert float(row["prob_defect"]) == pytest.approx(float(row["prob_def_front"]))


def test_reports_say_synthetic_and_what_the_intervals_assume(measured, trained, castings, capsys):
    assert "synthetic" in (measured / "classification_report.txt").read_text()
    assert json.loads((measured / "metrics.json").read_text())["data"] == "synthetic castings"
    arguments = ["--data", str(castings), "--checkpoint", str(trained / "best.pth")]
    measure.main([*arguments, "--out", str(measured)])
    printed = capsys.readouterr().out
    assert "castings never seen" in printed
    assert "assumes independent images" in printed
    assert json.loads(printed.splitlines()[-1])["split"] == "test"


def test_the_validation_part_gives_what_training_recorded(trained, castings, tmp_path):
    arguments = ["--data", str(castings), "--checkpoint", str(trained / "best.pth")]
    assert measure.main([*arguments, "--split", "val", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    recorded = load_checkpoint(trained / "best.pth").validation
    assert result["rates"]["accuracy"]["rate"] == pytest.approx(recorded["accuracy"])
    assert result["counts"]["missed"] == recorded["missed"]
    assert "unseen" not in result


def test_another_split_than_the_checkpoints_is_refused(trained, castings, tmp_path):
    checkpoint = load_checkpoint(trained / "best.pth")
    checkpoint.split_sha256 = "0" * 64
    save_checkpoint(tmp_path / "other.pth", checkpoint)
    with pytest.raises(UserError, match="is not the data that"):
        measure.main(["--data", str(castings), "--checkpoint", str(tmp_path / "other.pth")])


def test_changed_contents_under_the_same_names_are_counted(trained, castings, tmp_path, capsys):
    for name in ("best.pth", "split.csv"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    lines = (tmp_path / "split.csv").read_text().splitlines()
    lines[1] = lines[1][:-4] + "0000"
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    arguments = ["--data", str(castings), "--checkpoint", str(tmp_path / "best.pth")]
    assert measure.main([*arguments, "--out", str(tmp_path / "results")]) == 0
    assert "1 image changed since training" in capsys.readouterr().err


def test_measuring_never_downloads(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no images found"):
        measure.main(["--checkpoint", str(trained / "best.pth")])


def test_errors_come_first_then_the_least_certain(measured, trained, castings):
    predictor = measure.load_predictor(trained / "best.pth", "cpu")
    rows = measure.rebuild_split(castings, predictor, trained / "best.pth")
    judged = measure.judge(predictor, castings, rows, "test", cache=True)
    order = measure.most_telling(judged, count=len(rows))
    wrong = [judged.predictions[i].predicted_class != judged.rows[i].label for i in order]
    doubt = [abs(judged.predictions[i].prob_defect - judged.threshold) for i in order]
    assert wrong == sorted(wrong, reverse=True)
    right = [d for d, is_wrong in zip(doubt, wrong, strict=True) if not is_wrong]
    assert right == sorted(right)


def test_defect_types_as_classes_give_an_n_by_n_matrix(tmp_path):
    data = tmp_path / "types"
    options = RenderOptions(
        castings=12, copies=4, unseen_castings=0, classes="type", image_size_px=64,
        test_fraction=0.5,
    )  # fmt: skip
    render_dataset(data, options, progress=False)
    common = ["--data", str(data), "--device", "cpu"]
    small = ["--weights", "none", "--image-size", "32", "--epochs", "1", "--batch-size", "16"]
    assert train.main([*common, *small, "--out", str(tmp_path / "run")]) == 0
    checkpoint = str(tmp_path / "run" / "best.pth")
    out = tmp_path / "results"
    assert measure.main([*common, "--checkpoint", checkpoint, "--out", str(out)]) == 0
    result = json.loads((out / "metrics.json").read_text())
    assert len(result["class_names"]) == 7
    assert np.shape(result["confusion_matrix"]) == (7, 7)
    for row in read_csv(out / "predictions.csv"):
        types = [n for n in result["class_names"] if n != "ok_front"]
        total = sum(float(row[f"prob_{name}"]) for name in types)
        assert float(row["prob_defect"]) == pytest.approx(total, abs=1e-6)
        assert (row["predicted_class"] == "ok_front") == (row["decision"] == "ok")
