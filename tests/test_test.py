"""The report: every figure follows from predictions.csv, and from the checkpoint's own split."""

import csv
import html
import io
import json
import os
import re
import shutil
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import evaluation_of
from PIL import Image

import test as measure
import train
from common.errors import UserError
from common.files import sha256_of_file
from common.marks import own_mark
from common.text import chance
from evaluation.by_session import session_table
from evaluation.error_pictures import error_tiles
from evaluation.errors import decided_wrongly, most_telling
from evaluation.held_out import load_models, predict_folds, predict_split
from evaluation.report import summary, tier_table
from evaluation.report_figures import Drawn, remove_earlier
from evaluation.report_page import MOST_SHEETS, errors_html
from inspection.predictor import load_predictor
from metrics.decisions import format_rate
from model import load_checkpoint, save_checkpoint
from rendering.data_set import render_dataset
from rendering.options import RenderOptions

FIGURES = {
    "confusion_matrix.png",
    "roc_pr.png",
    "errors.png",
    "predictions.png",
    "score_histogram.png",
    "threshold.png",
    "reliability.png",
}
OF_TEST = {"confusion_matrix_test.png", "score_histogram_test.png", "errors_test.png"}
FILES = {"predictions.csv", "metrics.json", "classification_report.txt", "report.html"} | FIGURES


def run(data, checkpoint, out, *more):
    """What test.py prints."""
    printed = io.StringIO()
    arguments = ["--data", str(data), "--checkpoint", str(checkpoint), "--device", "cpu"]
    with redirect_stdout(printed):
        assert measure.main([*arguments, "--out", str(out), *map(str, more)]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def measured(trained, castings, tmp_path_factory):
    """A folder of results, with what was printed in printed.txt beside it."""
    out = tmp_path_factory.mktemp("measured") / "results"
    printed = run(castings, trained / "best.pth", out, "--review", "0.3", "0.7")
    (out.parent / "printed.txt").write_text(printed)
    return out


@pytest.fixture(scope="module")
def measured_folds(trained_folds, castings, tmp_path_factory):
    """The same of two folds."""
    out = tmp_path_factory.mktemp("measured folds") / "results"
    printed = run(castings, trained_folds, out, "--protocol", "casting")
    (out.parent / "printed.txt").write_text(printed)
    return out


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes seconds."""
    monkeypatch.setattr("evaluation.report_figures.draw_main", lambda *_: None)
    monkeypatch.setattr("evaluation.report_figures.draw_more", lambda *_: None)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_metrics(out):
    """metrics.json, which holds finite numbers only."""

    def refuse(constant):
        raise AssertionError(f"{constant} in metrics.json")

    return json.loads((out / "metrics.json").read_text(), parse_constant=refuse)


def truth_of(root):
    return {line["path"]: line["casting"] for line in read_csv(root / "truth.csv")}


def counted(rows):
    """The counts of lines of predictions.csv."""
    decisions = Counter((row["label"] != "ok_front", row["decision"]) for row in rows)
    return {
        "defects": decisions[True, "ok"] + decisions[True, "defect"],
        "missed": decisions[True, "ok"],
        "good": decisions[False, "ok"] + decisions[False, "defect"],
        "false_alarms": decisions[False, "defect"],
    }


def counted_castings(rows):
    """The counts of castings, each decided by its mean probability."""
    scores = {}
    for row in rows:
        key = (row["casting"], row["label"])
        scores.setdefault(key, []).append(float(row["prob_defect"]) - float(row["threshold"]))
    rows = [
        {"label": label, "decision": "defect" if np.mean(values) >= 0 else "ok"}
        for (_, label), values in scores.items()
    ]
    return counted(rows)


# --- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "which", ["measured", pytest.param("measured_folds", marks=pytest.mark.slow)]
)
def test_all_files_are_there_and_all_figures_are_images(which, request):
    out = request.getfixturevalue(which)
    names = {path.name for path in out.iterdir()}
    more_sheets = {name for name in names if re.fullmatch(r"errors(_test)?_\d+\.png", name)}
    assert names - more_sheets == FILES | (OF_TEST if which == "measured" else set())
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert image.width > 300
            assert image.height >= 300  # a sheet of one row


def test_the_report_holds_all_in_one_file(measured, trained):
    page, result = (measured / "report.html").read_text(), read_metrics(measured)
    page = html.unescape(page).replace("\N{NO-BREAK SPACE}", " ")
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,)', page)
    assert page.count("<img ") == len(FIGURES | OF_TEST) + 1  # and the curves of the training
    assert "All plots are drawn of unseen; of test the main ones." in page
    for heading in ("Plots: unseen", "Plots: test", "Errors: unseen", "Errors: test"):
        assert f"<h2>{heading}</h2>" in page
    assert re.search(r"test: review band 0.3 to 0.7: \d+ of \d+ for a person", page)
    assert f"images of {result['tiers']['unseen']['castings']} castings" in page
    for name, tier in result["tiers"].items():
        assert f"Figures: {name}" in page
        assert format_rate(tier["rates"]["missed_defects"]) in page
        seen = tier["show_castings_in_training"]
        assert (f"{name}: {seen:,} of {tier['images']} images show a casting" in page) == (seen > 0)
    assert sha256_of_file(trained / "best.pth") in page
    assert "kaggle: the folders train and test as they are" in page
    assert "python test.py --data" in page


def test_the_counts_of_every_tier_follow_from_predictions(measured, castings):
    result = read_metrics(measured)
    rows = read_csv(measured / "predictions.csv")
    assert list(result["tiers"]) == ["test", "unseen"]
    parts = {
        name: [row for row in rows if row["path"].startswith(name)] for name in result["tiers"]
    }
    assert len(parts["unseen"]) == len(list((castings / "unseen").rglob("*.jpeg")))
    assert sum(map(len, parts.values())) == len(rows)
    for name, tier in result["tiers"].items():
        part, counts = parts[name], counted(parts[name])
        assert tier["images"] == len(part)
        assert tier["counts"] == counts
        right = len(part) - counts["missed"] - counts["false_alarms"]
        assert tier["rates"]["accuracy"]["count"] == right
        assert tier["rates"]["missed_defects"]["count"] == counts["missed"]
        assert tier["castings"] == len({row["casting"] for row in part})
        assert np.sum(tier["confusion_matrix"]) == len(part)
        assert tier["thresholds"] == [0.5]
        assert tier["both_labels"] == []
        by_casting = counted_castings(part)
        for rate, count, of in (
            ("missed_defects", "missed", "defects"),
            ("false_alarms", "false_alarms", "good"),
        ):
            value = tier["per_casting"][rate]
            assert (value["count"], value["of"]) == (by_casting[count], by_casting[of])


def test_predictions_name_casting_fold_and_decision(measured, measured_folds, castings):
    truth = truth_of(castings)
    columns = "path,label,casting,session,fold,prob_defect,decision,threshold,predicted_class"
    for out, folds in ((measured, {"0"}), (measured_folds, {"1", "2"})):
        rows = read_csv(out / "predictions.csv")
        assert list(rows[0]) == [*columns.split(","), "prob_def_front", "prob_ok_front", "gate"]
        assert {row["fold"] for row in rows} == folds
        for row in rows:
            assert row["casting"] == truth[row["path"]]
            rejected = float(row["prob_defect"]) >= float(row["threshold"])
            assert row["decision"] == ("defect" if rejected else "ok")


def test_the_gate_is_reported_beside_the_rates_which_count_all_images(measured):
    tier = read_metrics(measured)["tiers"]["test"]
    opinions = [row["gate"] for row in read_csv(measured / "predictions.csv")]
    opinions = opinions[: tier["images"]]
    gate = tier["gate"]
    assert [gate["not_judged"], gate["review"]] == [
        opinions.count(name) for name in ("not_judged", "review")
    ]
    assert gate["defects"] + gate["good"] == opinions.count("")
    assert tier["counts"]["defects"] + tier["counts"]["good"] == tier["images"]


def test_probabilities_in_the_csv_add_up(measured):
    for row in read_csv(measured / "predictions.csv"):
        assert float(row["prob_def_front"]) + float(row["prob_ok_front"]) == pytest.approx(1)
        assert float(row["prob_defect"]) == pytest.approx(float(row["prob_def_front"]))


def test_reports_say_synthetic_and_what_the_intervals_assume(measured, trained):
    title = (measured / "classification_report.txt").read_text().splitlines()[0]
    assert title.startswith("synthetic castings, protocol kaggle, test, ")
    result = read_metrics(measured)
    assert (result["data"], result["protocol"]) == ("synthetic castings", "kaggle")
    assert result["checkpoints"] == {"best.pth": sha256_of_file(trained / "best.pth")}
    printed = (measured.parent / "printed.txt").read_text()
    assert "intervals in brackets: 95 %, castings resampled within class" in printed
    assert "Clopper-Pearson" in printed
    tier = result["tiers"]["test"]
    last = json.loads(printed.splitlines()[-1])
    assert (last["split"], last["images"]) == ("test", tier["images"])
    assert last["counts"] == tier["counts"]
    assert last["roc_auc"] == tier["roc_auc"]["mean"]


def test_copies_leak_and_unseen_castings_do_not(measured):
    printed = (measured.parent / "printed.txt").read_text()
    tiers = read_metrics(measured)["tiers"]
    count = tiers["test"]["images"]
    assert f"test: leak     {count} of {count} images (100.0 %) show a casting" in printed
    assert "unseen: leak     0 of 6 images (0.0 %) show a casting" in printed
    shown = {name: tier["show_castings_in_training"] for name, tier in tiers.items()}
    assert shown == {"test": count, "unseen": 0}


# --- the table for people ------------------------------------------------------------------------


def table_of(*images, data="castings"):
    """The table of predictions given as `casting label probability fold seen`."""
    tiers = {"test": summary(evaluation_of(*images))}
    result = {"tiers": tiers, "class_names": ["defect", "ok"], "intervals": "as they are"}
    return tier_table(result | {"data": data})


def test_the_columns_of_another_product_are_of_parts_and_stay_in_line():
    images = ("a defect .9 5 no", "b ok .1 5 no")
    castings, parts = (table_of(*images, data=data).splitlines() for data in ("castings", "x"))
    assert castings[1].split() == "by images by castings".split()
    assert parts[1].split() == "by images by parts".split()
    assert castings[1].index("by castings") == parts[1].index("by parts")
    assert "by images within parts" in parts[6]


def test_the_table_counts_by_image_within_castings_and_by_casting():
    table = table_of(
        "a defect .9 5 no", "a defect .9 5 no", "a defect .1 5 no", "b defect .1 5 no",
        "c ok .1 5 no", "d ok .9 5 no", "d ok .2 5 no",
    )  # fmt: skip
    lines = table.splitlines()
    assert lines[0] == "test: 7 images of 4 castings, 2 good ones"
    missed, within = (line for line in lines if "missed defects" in line)
    for cell in ("2/4 = 50.00 %", "1/2 = 50.00 %"):
        assert cell in missed
    assert "1.3/2 = 66.67 %" in within
    assert max(map(len, lines)) <= 120
    assert "only 2 good castings: any false-alarm rate from 1 % to 99 % fits" in table
    assert "both labels" not in table


def test_the_table_names_castings_with_both_labels_and_the_figures_without():
    table = table_of(
        "a defect .9 5 no", "m defect .1 5 no", "m ok .9 5 no", "c ok .1 5 no", "d ok .9 5 no"
    )
    assert "both labels    m: in no rate by castings" in table
    assert "without it 0/1 defects missed, 1/2 false alarms" in table


def test_the_table_says_when_castings_are_unknown():
    table = table_of("- defect .9 5 no", "- ok .1 5 no")
    assert table.startswith("test: 2 images of castings unknown\n")
    assert "good castings" not in table


def test_the_table_certifies_what_the_good_castings_prove():
    images = ["x defect .9 5 no", "g0 ok .9 5 no", *[f"g{n} ok .1 5 no" for n in range(1, 17)]]
    assert "of 17 good castings 1 was rejected: with 95 % confidence" in table_of(*images)
    assert summary(evaluation_of(*images))["certificate"]["at_most"] == pytest.approx(
        0.2501, rel=1e-3
    )
    unknown = evaluation_of("- defect .9 5 no", "- ok .1 5 no")
    assert summary(unknown)["certificate"] is None  # images of one casting are no trials


# --- by session ----------------------------------------------------------------------------------

SESSIONS = (
    "a defect .9 5 no dark", "b defect .1 5 no dark", "c ok .2 5 no dark", "d ok .9 5 no dark",
    "a defect .9 5 no light", "b defect .9 5 no light", "e defect .9 5 no",
)  # fmt: skip


def gated_evaluation(*images):
    """Images whose gate hands those of session dark to a person."""
    found = evaluation_of(*images)
    gated = [
        replace(image, gate="review" if image.row.session == "dark" else "")
        for image in found.images
    ]
    return replace(found, images=gated)


def test_each_session_has_the_figures_of_its_images_alone():
    found = summary(gated_evaluation(*SESSIONS))["by_session"]
    assert list(found) == ["dark", "light"]
    alone = summary(gated_evaluation(*[text for text in SESSIONS if "dark" in text]))
    assert found["dark"] == alone
    assert found["light"]["counts"] == {"defects": 2, "missed": 0, "good": 0, "false_alarms": 0}
    assert found["light"]["roc_auc"]["mean"] is None
    assert (found["dark"]["gate"]["review"], found["light"]["gate"]["review"]) == (4, 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("session", ["", "dark"])
def test_one_session_changes_no_figure(session):
    plain = [" ".join(text.split()[:5]) for text in SESSIONS]
    found = summary(evaluation_of(*[f"{text} {session}" for text in plain]))
    assert found == summary(evaluation_of(*plain))
    assert "by_session" not in found
    assert session_table({"test": found}) == ""


def test_the_table_by_session_counts_first():
    lines = session_table({"test": summary(gated_evaluation(*SESSIONS))}).splitlines()
    assert lines[0].startswith("test, session")
    assert max(map(len, lines)) <= 120
    dark, light = (f"{lines[place]} {lines[place + 3]}" for place in (1, 2))
    for text in ("4 of 4 (2 good)", "1/2 = 50.00 %", "0.375 (", "50.0 % (", "4 for review"):
        assert text in dark
    for text in ("2 of 2 (0 good)", "0/2 = 0.00 %", "none to count", "one kind only"):
        assert text in light
    assert lines[6].strip() == "in none: 1 of unknown session"


def test_sessions_of_a_split_reach_the_files(trained, castings, tmp_path, no_figures, monkeypatch):
    def with_sessions(*arguments, **options):
        models = load_models(*arguments, **options)
        for model in models:
            names = {
                name: ("dark", "light")[i % 2]
                for i, name in enumerate(sorted({r.casting for r in model.rows}))
            }
            model.rows[:] = [replace(row, session=names[row.casting]) for row in model.rows]
        return models

    monkeypatch.setattr("evaluation.held_out.load_models", with_sessions)
    printed = run(castings, trained / "best.pth", tmp_path)
    tier = read_metrics(tmp_path)["tiers"]["test"]
    rows = [row for row in read_csv(tmp_path / "predictions.csv") if row["path"].startswith("test")]
    assert set(tier["by_session"]) == {"dark", "light"}
    for name, found in tier["by_session"].items():
        assert found["counts"] == counted([row for row in rows if row["session"] == name])
        assert f"\n  {name} " in printed


# --- splits and contents -------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["local", pytest.param("resnet", marks=pytest.mark.slow)])
def test_the_validation_part_gives_what_training_recorded(
    network, castings, tmp_path, request, no_figures
):
    trained = request.getfixturevalue("trained" if network == "local" else "trained_resnet")
    run(castings, trained / "best.pth", tmp_path, "--split", "val")
    tiers = read_metrics(tmp_path)["tiers"]
    recorded = load_checkpoint(trained / "best.pth").validation
    assert list(tiers) == ["val"]
    assert tiers["val"]["rates"]["accuracy"]["rate"] == pytest.approx(recorded["accuracy"])
    assert tiers["val"]["counts"]["missed"] == recorded["missed"]
    if network == "resnet":  # the local network's operating point moves its logits
        loss = tiers["val"]["calibration"]["before"]["nll"]
        assert loss == pytest.approx(recorded["loss"], rel=1e-3)


def test_another_split_than_the_checkpoints_is_refused(trained, castings, tmp_path):
    checkpoint = load_checkpoint(trained / "best.pth")
    checkpoint.split_sha256 = "0" * 64
    save_checkpoint(tmp_path / "other.pth", checkpoint)
    with pytest.raises(UserError, match="is not the data that"):
        run(castings, tmp_path / "other.pth", tmp_path / "results")


def test_changed_contents_under_the_same_names_are_counted(
    trained, castings, tmp_path, capsys, no_figures
):
    for name in ("best.pth", "split.csv"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    lines = (tmp_path / "split.csv").read_text().splitlines()
    lines[1] = lines[1][:-5] + "0000,"
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    run(castings, tmp_path / "best.pth", tmp_path / "results")
    assert "1 image changed since training" in capsys.readouterr().err


def test_measuring_never_downloads(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no images found"):
        measure.main(["--checkpoint", str(trained / "best.pth")])


def test_errors_come_first_then_the_least_certain(trained, castings):
    (model,) = load_models(trained / "best.pth", castings, "cpu")
    predicted = predict_split(model, castings, "test")
    order = most_telling(predicted, count=len(predicted.rows))
    wrong = [predicted.predictions[i].predicted_class != predicted.rows[i].label for i in order]
    doubt = [
        abs(predicted.predictions[i].prob_defect - predicted.predictions[i].threshold)
        for i in order
    ]
    assert sorted(order) == list(range(len(predicted.rows)))
    assert wrong == sorted(wrong, reverse=True)
    right = [d for d, is_wrong in zip(doubt, wrong, strict=True) if not is_wrong]
    assert right == sorted(right)


# --- the review band -----------------------------------------------------------------------------


def test_the_review_band_is_reported_for_every_tier(measured):
    rows = read_csv(measured / "predictions.csv")
    printed = (measured.parent / "printed.txt").read_text()
    for name, band in read_metrics(measured)["review"].items():
        part = [row for row in rows if row["path"].startswith(name)]
        outside = [row for row in part if not 0.3 <= float(row["prob_defect"]) < 0.7]
        assert band["for_review"] == len(part) - len(outside)
        assert band["missed_outside"] == counted(outside)["missed"]
        assert band["false_alarms_outside"] == counted(outside)["false_alarms"]
        assert f"{name}: review band 0.3 to 0.7: {band['for_review']} of {len(part)}" in printed


@pytest.mark.parametrize("band", ["0.7 0.3", "0.5 0.5", "-0.1 0.5", "0.5 1.1", "nan 1", "0 nan"])
def test_a_review_band_that_is_no_interval_is_refused(band, trained, castings, tmp_path):
    with pytest.raises(UserError, match="--review needs 0 <= LOW < HIGH <= 1"):
        run(castings, trained / "best.pth", tmp_path, "--review", *band.split())


# --- all folds -----------------------------------------------------------------------------------


def test_folds_predict_every_image_once_at_their_own_threshold(
    measured_folds, trained_folds, castings
):
    rows = read_csv(measured_folds / "predictions.csv")
    images = [p.relative_to(castings).as_posix() for p in castings.glob("t*/*/*.jpeg")]
    assert sorted(row["path"] for row in rows) == sorted(images)
    checkpoints = {str(k): load_checkpoint(trained_folds / f"fold{k}" / "best.pth") for k in (1, 2)}
    tested = {
        (fold, line["path"])
        for fold in checkpoints
        for line in read_csv(trained_folds / f"fold{fold}" / "split.csv")
        if line["split"] == "test"
    }
    assert {(row["fold"], row["path"]) for row in rows} == tested
    for row in rows:
        assert float(row["threshold"]) == checkpoints[row["fold"]].threshold


def test_the_report_of_folds_pools_them_and_shows_no_leak(measured_folds, trained_folds):
    result = read_metrics(measured_folds)
    (tier,) = result["tiers"].values()
    assert list(result["tiers"]) == ["unseen castings"]
    assert (tier["images"], tier["castings"], tier["castings_good"]) == (64, 16, 8)
    rows = read_csv(measured_folds / "predictions.csv")
    assert tier["counts"] == counted(rows)
    assert len(tier["roc_auc"]["folds"]) == 2
    assert tier["roc_auc"]["mean"] == pytest.approx(np.mean(tier["roc_auc"]["folds"]))
    thresholds = [point["threshold"] for point in result["operating_points"]]
    assert tier["thresholds"] == sorted(thresholds)
    assert tier["show_castings_in_training"] == 0
    assert result["checkpoints"] == {
        str(k): sha256_of_file(trained_folds / f"fold{k}" / "best.pth") for k in (1, 2)
    }
    printed = (measured_folds.parent / "printed.txt").read_text()
    assert "unseen castings: leak     0 of 64 images (0.0 %)" in printed
    assert "mean of 2 folds; all pooled" in printed
    assert "only 8 good castings" in printed


def test_calibration_is_measured_before_and_after_the_temperature(
    measured_folds, trained_folds, castings
):
    # 'Before' is what the network says at temperature 1
    before, after = {}, {}
    for fold in (1, 2):
        predictor = load_predictor(trained_folds / f"fold{fold}" / "best.pth", "cpu")
        lines = read_csv(trained_folds / f"fold{fold}" / "split.csv")
        paths = [line["path"] for line in lines if line["split"] == "test"]
        for values in (after, before):
            verdicts = predictor.predict([castings / path for path in paths])
            values |= {p: v.prob_defect for p, v in zip(paths, verdicts, strict=True)}
            predictor.checkpoint.temperature = 1.0
    (tier,) = read_metrics(measured_folds)["tiers"].values()
    for name, values in (("before", before), ("after", after)):
        errors = [(prob - ("def_front" in path)) ** 2 for path, prob in values.items()]
        assert tier["calibration"][name]["brier"] == pytest.approx(np.mean(errors), abs=1e-5)
    assert tier["calibration"]["before"] != tier["calibration"]["after"]


def test_a_missing_fold_is_refused_in_one_line(trained_folds, castings, tmp_path):
    (tmp_path / "fold2").mkdir()
    os.link(trained_folds / "fold2" / "best.pth", tmp_path / "fold2" / "best.pth")
    with pytest.raises(UserError, match=r"holds the folds \[2\] of 2; train the others") as failure:
        run(castings, tmp_path, tmp_path / "results", "--protocol", "casting")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("option", [["--split", "val"], ["--external", "."]])
def test_folds_take_no_option_that_needs_one_model(option, trained_folds, castings, tmp_path):
    with pytest.raises(UserError, match="not with --protocol casting"):
        run(castings, trained_folds, tmp_path, "--protocol", "casting", *option)


# --- corrected labels ----------------------------------------------------------------------------


def test_figures_with_corrected_labels_stand_beside_those_of_the_folders(
    measured_folds, trained_folds, castings, tmp_path, no_figures
):
    before = read_csv(measured_folds / "predictions.csv")
    labels = {row["path"]: row["label"] for row in before}
    wrong = next(row["path"] for row in before if row["label"] == "ok_front")
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{wrong},def_front\n")
    own = ["--protocol", "casting", "--labels", table]
    printed = run(castings, trained_folds, tmp_path / "results", *own)
    result, published = read_metrics(tmp_path / "results"), read_metrics(measured_folds)
    assert result["tiers"] == published["tiers"]
    assert "corrected_labels" not in published
    corrected = result["corrected_labels"]
    assert corrected["images_changed"] == 1
    rows = read_csv(tmp_path / "results" / "predictions.csv")
    assert {row["path"]: row["label"] for row in rows} == labels
    counts = counted([row | {"label": row["corrected_label"]} for row in rows])
    (tier,) = corrected["tiers"].values()
    assert tier["counts"] == counts
    assert counts["defects"] == result["tiers"]["unseen castings"]["counts"]["defects"] + 1
    assert "with corrected labels: 1 image of 1 casting changed: " in printed
    assert printed.count("unseen castings: 64 images of 16 castings") == 2


def test_corrections_of_other_images_are_refused(trained_folds, castings, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\ntrain/ok_front/none.png,def_front\n")
    own = ["--protocol", "casting", "--labels", table]
    with pytest.raises(UserError, match="1 path not among the images"):
        run(castings, trained_folds, tmp_path / "results", *own)


# --- a model for use, and other photographs ------------------------------------------------------


def test_a_model_for_use_is_measured_on_what_it_has_not_learned_only(
    trained_for_use, castings, tmp_path, no_figures
):
    with pytest.raises(UserError, match="--split val or --external FOLDER") as failure:
        run(castings, trained_for_use / "best.pth", tmp_path)
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())
    run(castings, trained_for_use / "best.pth", tmp_path / "val", "--split", "val")
    (tier,) = read_metrics(tmp_path / "val")["tiers"].values()
    assert (tier["images"], tier["show_castings_in_training"]) == (32, 0)


def test_photographs_of_known_and_new_castings_are_told_apart(
    trained_sharp, sharp_castings, line_photographs, tmp_path, no_figures
):
    checkpoint = trained_sharp / "best.pth"
    printed = run(sharp_castings, checkpoint, tmp_path, "--external", line_photographs)
    tiers = read_metrics(tmp_path)["tiers"]
    known, new = "external line 3, castings in training", "external line 3, new castings"
    assert list(tiers) == ["test", "unseen", known, new]
    for name, seen in ((known, 4), (new, 0)):
        tier = tiers[name]
        assert (tier["images"], tier["castings"], tier["castings_good"]) == (4, 4, 2)
        assert (tier["castings_known"], tier["show_castings_in_training"]) == (True, seen)
    assert f"{known}: leak     4 of 4 images (100.0 %)" in printed
    assert f"{new}: leak     0 of 4 images (0.0 %)" in printed
    rows = [r for r in read_csv(tmp_path / "predictions.csv") if r["path"].startswith("line 3/")]
    verdicts = load_predictor(checkpoint, "cpu").predict(
        [line_photographs.parent / row["path"] for row in rows]
    )
    assert [row["decision"] for row in rows] == [verdict.decision for verdict in verdicts]
    for row in rows:
        is_new = row["path"].split("/")[2].startswith("new ")
        assert row["casting"].startswith("new_") == is_new


def test_photographs_without_a_hub_and_without_defects_give_figures_all_the_same(
    trained_for_use, castings, tmp_path, capsys
):
    folder = tmp_path / "noise" / "ok_front"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        noise = random.integers(100, 256, (200, 300), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    data, out = tmp_path / "data", tmp_path / "results"
    shutil.copytree(castings, data, ignore=shutil.ignore_patterns("unseen"))
    printed = run(data, trained_for_use / "best.pth", out, "--external", folder.parent)
    assert {path.name for path in out.iterdir()} == FILES
    assert "show no dark hub" in capsys.readouterr().err
    assert "external noise: 3 images of castings unknown" in printed
    assert "external noise: leak     unknown" in printed
    result = read_metrics(out)
    (tier,) = result["tiers"].values()
    assert list(result["tiers"]) == ["external noise"]
    assert (tier["castings_known"], tier["show_castings_in_training"]) == (False, None)
    assert tier["counts"] == counted(read_csv(out / "predictions.csv"))
    assert (tier["counts"]["defects"], tier["counts"]["good"]) == (0, 3)
    assert tier["rates"]["missed_defects"]["rate"] is None
    assert tier["roc_auc"]["mean"] is None


def test_other_photographs_are_measured_without_the_models_own(
    trained_for_use, castings, tmp_path, no_figures, monkeypatch, capsys
):
    monkeypatch.delenv("CASTING_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    line = shutil.copytree(castings / "unseen", tmp_path / "line")
    own = ["--checkpoint", str(trained_for_use / "best.pth"), "--device", "cpu"]
    assert measure.main([*own, "--external", str(line), "--out", "results"]) == 0
    printed, told = capsys.readouterr()
    assert "note: whether the model has seen these castings is unknown: no images found" in told
    assert "external line: leak     unknown" in printed
    ((name, tier),) = read_metrics(tmp_path / "results")["tiers"].items()
    assert (name, tier["images"]) == ("external line", 6)
    with pytest.raises(UserError, match="no images found"):
        measure.main([*own, "--split", "val"])


def test_classes_that_the_model_does_not_know_are_refused(trained_for_use, castings, tmp_path):
    shutil.copytree(castings / "unseen" / "def_front", tmp_path / "line" / "scratch")
    with pytest.raises(UserError, match="class that the model does not know: scratch"):
        run(
            castings, trained_for_use / "best.pth", tmp_path / "results",
            "--external", tmp_path / "line",
        )  # fmt: skip


def test_an_external_folder_that_does_not_exist_or_has_no_classes_is_refused(
    trained_for_use, castings, tmp_path
):
    checkpoint = trained_for_use / "best.pth"
    with pytest.raises(UserError, match="--external: no such folder"):
        run(castings, checkpoint, tmp_path, "--external", tmp_path / "gone")
    with pytest.raises(UserError, match="no class folder with images"):
        run(castings, checkpoint, tmp_path / "results", "--external", castings / "unseen/ok_front")


@pytest.mark.slow
def test_defect_types_as_classes_give_an_n_by_n_matrix(tmp_path):
    data = tmp_path / "types"
    options = RenderOptions(
        castings=12, copies=4, unseen_castings=0, classes="type", image_size_px=64,
        test_fraction=0.5,
    )  # fmt: skip
    render_dataset(data, options, progress=False)
    small = ["--weights", "none", "--image-size", "32", "--epochs", "1", "--batch-size", "16"]
    arguments = ["--data", str(data), "--device", "cpu", *small]
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0
    out = tmp_path / "results"
    printed = run(data, tmp_path / "run" / "best.pth", out)
    result = read_metrics(out)
    tier = result["tiers"]["test"]
    assert len(result["class_names"]) == 7
    assert np.shape(tier["confusion_matrix"]) == (7, 7)
    rows = read_csv(out / "predictions.csv")
    right = sum(row["predicted_class"] == row["label"] for row in rows)
    assert tier["class_accuracy"] == {"count": right, "of": len(rows)}
    assert f"right class    {right}/{len(rows)}" in printed
    defective = [row for row in rows if row["label"] != "ok_front"]
    kinds = [name for name in result["class_names"] if name != "ok_front"]
    told = [max(kinds, key=lambda name: float(row[f"prob_{name}"])) for row in defective]
    right = sum(kind == row["label"] for kind, row in zip(told, defective, strict=True))
    assert tier["kind"] == {"count": right, "of": len(defective)}
    assert f"right kind     {right}/{len(defective)} of the defective images" in printed
    for row in rows:
        types = [n for n in result["class_names"] if n != "ok_front"]
        total = sum(float(row[f"prob_{name}"]) for name in types)
        half_a_digit = 0.5e-6 * (len(types) + 1)  # each is written with six digits
        assert float(row["prob_defect"]) == pytest.approx(total, abs=half_a_digit + 1e-9)
        assert (row["predicted_class"] == "ok_front") == (row["decision"] == "ok")


def test_every_error_gets_a_heatmap_the_worst_first_whichever_model_made_it(
    trained_folds, castings
):
    models = load_models(trained_folds, castings, "cpu", folds=True)
    predicted = predict_folds(models, castings)
    wrong = decided_wrongly(predicted)
    far = np.abs(predicted.parts.prob_defect - predicted.parts.threshold)[wrong]
    assert len({predicted.images[index].fold for index in wrong}) == 2
    assert (np.diff(far) <= 0).all()
    captions = [caption.split("\n") for _, caption, _ in error_tiles(predicted, models, wrong)]
    for (name, text), index in zip(captions, wrong, strict=True):
        image = predicted.images[index]
        assert name == Path(image.row.path).stem
        kind = "missed: def_front" if image.row.label == "def_front" else "false alarm"
        found = chance(image.prediction.prob_defect, image.prediction.threshold)
        assert text == f"{kind}, p(defect) {found}"


def test_the_report_shows_so_many_sheets_of_errors_and_names_the_others(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "errors.png")
    names = ["errors.png", *(f"errors_{number}.png" for number in range(2, MOST_SHEETS + 3))]
    text, *pictures = errors_html(tmp_path, Drawn("test", {}, names, 120))
    assert f"the worst {16 * MOST_SHEETS} of 120 parts decided wrongly; the others are in" in text
    assert f"{names[-2]}, {names[-1]}." in text
    assert len(pictures) == MOST_SHEETS
    text, *_ = errors_html(tmp_path, Drawn("test", {}, names[:1], 1))
    assert "all of the 1 part decided wrongly" in text


def test_figures_of_sets_that_were_measured_before_go_and_other_files_stay(tmp_path):
    own = tmp_path / "errors_external_line.png"
    Image.new("L", (8, 8)).save(own, pnginfo=own_mark())
    Image.new("L", (8, 8)).save(tmp_path / "errors_of_mine.png")
    remove_earlier(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["errors_of_mine.png"]
