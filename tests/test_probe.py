"""Shortcut probes: each changes what it says and nothing else, and a planted shortcut is caught."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builders import checkpoint_of
from PIL import Image

import probe
from common.errors import UserError
from common.files import read_csv
from common.labels import is_defect
from dataset.listing import ImageRow
from evaluation import perturbations as changes
from evaluation.by_session import session_probe_table
from evaluation.held_out import Model, load_models, predict_folds, predict_split
from evaluation.shortcut_tests import (
    Perturbed,
    conclusion,
    figures,
    held_out_rows,
    perturbed_predictions,
    run_shortcut_tests,
    shortcut_report,
)
from imaging.framing import framed
from inspection.predictor import Prediction
from metrics.decisions import CastingTable, Parts
from rendering.casting import render_casting
from rendering.data_set import make_castings, render_dataset
from rendering.options import RenderOptions

SIZE_PX = 64


def photograph(width: int, height: int | None = None) -> np.ndarray:
    """A rendered casting (H, W)."""
    (casting,) = make_castings(RenderOptions(), 0, 1)
    image = Image.fromarray(render_casting(casting, 0)[0])
    return np.asarray(image.resize((width, height or width)))


@pytest.fixture(params=[(64, 64), (300, 300), (512, 400)], ids=str)
def image(request):
    return photograph(*request.param)


@pytest.fixture
def distance(image):
    return changes.hub_distance(image.shape, changes.hub_of(image))


# --- the probes ----------------------------------------------------------------------------------


def test_brightness_scales_and_clips():
    image = np.array([[0, 100, 200, 255]], np.uint8)
    assert changes.brightness(image, 0.6).tolist() == [[0, 60, 120, 153]]
    assert changes.brightness(image, 1.4).tolist() == [[0, 140, 255, 255]]


def test_contrast_keeps_the_mean_and_scales_the_deviation():
    image = np.random.default_rng(0).normal(130, 20, (50, 50)).astype(np.uint8)
    for factor in (0.6, 1.4):
        changed = changes.contrast(image, factor)
        assert changed.mean() == pytest.approx(image.mean(), abs=0.5)
        assert changed.std() == pytest.approx(factor * image.std(), rel=0.02)
    assert changes.contrast(np.array([[0, 255]], np.uint8), 1.4).tolist() == [[0, 255]]


def test_equalised_histogram_is_nearly_flat(image):
    share = np.histogram(changes.equalised(image), bins=4, range=(0, 256))[0] / image.size
    assert np.abs(share - 0.25).max() < 0.05
    before = np.histogram(image, bins=4, range=(0, 256))[0] / image.size
    assert np.abs(before - 0.25).max() > 0.1


def test_ring_blurred_removes_a_dot_and_leaves_hub_and_background(image, distance):
    hub = changes.hub_of(image)
    scale = image.shape[1] / 300
    x, y = hub[0] + 1.5 * hub[1]  # amid the face
    rows, columns = np.indices(image.shape)
    dot = np.hypot(columns - x, rows - y) <= max(2 * scale, 1)
    planted = np.where(dot, np.uint8(0), image)
    before = np.abs(planted.astype(int) - image).max()
    clean, blurred = (changes.ring_blurred(each, hub).astype(int) for each in (image, planted))
    assert np.abs(blurred - clean).max() < before / 5
    elsewhere = (distance <= changes.HUB_EDGE) | (distance >= changes.PART_EDGE)
    assert elsewhere.any()
    assert (blurred == planted)[elsewhere].all()
    face = (distance > 1.3) & (distance < 1.7)
    assert clean[face].mean() == pytest.approx(image[face].mean(), abs=8)  # the light stays


def test_ring_gone_and_background_replaced_share_the_image(image, distance):
    hub, inside = changes.hub_of(image), distance <= changes.PART_EDGE
    assert 0.4 < inside.mean() < 0.8
    gone, replaced = (
        changes.ring_gone(image, hub),
        changes.background_replaced(image, hub),
    )
    assert (gone == image)[~inside].all()
    assert set(gone[inside].tolist()) == {round(image[inside].mean())}
    assert (replaced == image)[inside].all()
    assert set(replaced[~inside].tolist()) == {changes.BACKGROUND_GREY}


@pytest.mark.parametrize("edge", ["casting", "burr"])
def test_the_whole_part_with_its_burrs_is_gone(edge):
    casting = make_castings(RenderOptions(sizes=("large",)), 0, 1)[0]
    if edge == "burr":
        casting = replace(casting, types=("burr",))
    image, mask = render_casting(casting, 0)
    bare, _ = render_casting(casting, 0, with_defects=False)
    assert (image != bare).any()
    hub = changes.hub_of(image)
    outside = changes.hub_distance(image.shape, hub) > changes.PART_EDGE
    assert not mask[outside].any()


def test_hub_is_found_at_its_place_in_any_size():
    small, large = photograph(300), photograph(600, 450)
    scale = np.array([2.0, 1.5])
    hub, scaled = changes.hub_of(small), changes.hub_of(large)
    np.testing.assert_allclose(scaled[0] + 0.5, (hub[0] + 0.5) * scale, atol=1.5)
    np.testing.assert_allclose(scaled[1:], hub[1:] * scale, atol=1.5)
    distance = changes.hub_distance(large.shape, scaled)
    assert distance.shape == (450, 600)
    angle = np.linspace(0, 2 * np.pi, 9)
    for x, y in scaled[0] + np.column_stack([np.cos(angle), np.sin(angle)]) @ scaled[1:]:
        assert distance[round(y), round(x)] == pytest.approx(1, abs=0.03)


def test_hub_distance_of_a_slanted_ellipse():
    hub = np.array([[40.0, 30.0], [20.0, 6.0], [2.0, 10.0]])  # no longer symmetric when stretched
    distance = changes.hub_distance((60, 80), hub)
    assert distance[30, 40] == 0
    for along, down in ((1, 0), (0, 1), (-1, 0), (0, -2), (0.5, 1)):
        x, y = hub[0] + along * hub[1] + down * hub[2]
        assert distance[int(y), int(x)] == pytest.approx(np.hypot(along, down), abs=1e-5)


def test_an_image_without_a_hub_gets_the_other_probes_only():
    even = np.full((80, 80), 150, np.uint8)
    assert list(changes.versions(even)) == [
        changes.UNMODIFIED,
        *changes.OF_LIGHT,
    ]
    assert tuple(changes.versions(photograph(80))) == changes.PROBES
    before = photograph(80)
    kept = before.copy()
    for changed in changes.versions(before).values():
        assert changed.shape == before.shape
        assert changed.dtype == np.uint8
    assert (before == kept).all()


# --- predicting without a network ----------------------------------------------------------------


@pytest.fixture(scope="module")
def lit(tmp_path_factory):
    """12 defective castings, photographed in brighter light, and 12 good ones; no leak."""
    out = tmp_path_factory.mktemp("lit")
    options = RenderOptions(
        castings=24, copies=2, unseen_castings=0, test_fraction=0.9, leak=False,
        brightness_gap=25.0, image_size_px=SIZE_PX,
    )  # fmt: skip
    render_dataset(out, options, progress=False)
    with open(out / "truth.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [
        ImageRow(line["path"], line["path"].split("/")[1], "test", line["casting"])
        for line in lines
    ]
    return out, rows


def by_mean_grey(image: np.ndarray) -> float:
    return image.mean() / 255


def by_corners(image: np.ndarray) -> float:
    return image[[0, 0, -1, -1], [0, -1, 0, -1]].mean() / 255


def by_middle(image: np.ndarray) -> float:
    """Contrast around the hub, where no background is."""
    margin = len(image) // 4
    return image[margin:-margin, margin:-margin].std() / 255


class Stub:
    """A predictor that predicts by a function of the image."""

    model_id = "stub"

    def __init__(self, score, fold):
        self.score = score
        self.checkpoint = SimpleNamespace(
            fold=fold, threshold=0.5, data="synthetic castings", protocol="casting",
            split_sha256="",
            framed=lambda image: framed(image, SIZE_PX),
        )  # fmt: skip

    def predict_batch(self, grey):
        values = [float(self.score(image)) for image in grey.numpy()]
        return [Prediction("ok", "defect" if v >= 0.5 else "ok", v, "", (), 0.5, 0) for v in values]


def two_folds(rows, folder, score) -> list[Model]:
    """Models that each hold out half of the castings, good and defective ones."""
    path = folder / "stub.pth"
    path.write_bytes(b"")
    names = sorted({row.casting for row in rows})  # defective and good by turns
    models = []
    for fold in (1, 2):
        (folder / f"fold{fold}").mkdir(exist_ok=True)
        (folder / f"fold{fold}" / "best.pth").touch()
        own = {name for i, name in enumerate(names) if i // 2 % 2 == fold - 1}
        split = [replace(r, split="test" if r.casting in own else "train") for r in rows]
        models.append(Model(path, Stub(score, fold), split))
    return models


def stub_report(lit, folder, score, **options) -> dict:
    root, rows = lit
    models = two_folds(rows, folder, score)
    return shortcut_report(run_shortcut_tests(models, root, "test", **options), models)


@pytest.mark.parametrize("score", [by_corners, by_mean_grey])
def test_a_planted_shortcut_is_caught(lit, tmp_path, score):
    report = stub_report(lit, tmp_path, score)
    assert report["show_castings_in_training"] == 0
    assert report["probes"]["ring gone"]["roc_auc"]["low"] > 0.6
    assert report["verdict"]["shortcut"] is True
    assert report["verdict"]["text"].startswith("shortcut: with the ring gone the AUC is ")
    assert "weak evidence" not in report["verdict"]["text"]


def test_a_model_that_tells_only_the_session_is_at_chance_within_each(lit, tmp_path):
    """Most defects lie on bright ground, most good parts on dark: the ground is the session."""
    rows = lit[1]
    names = {name: i for i, name in enumerate(sorted({row.casting for row in rows}))}

    def session_of(row: ImageRow) -> str:
        odd_one = names[row.casting] // 2 % 6 == 0  # two castings of either kind
        return "bright" if is_defect(row.label) != odd_one else "dark"

    rows = [replace(row, session=session_of(row)) for row in rows]
    count = len(rows)
    bright = np.array([row.session == "bright" for row in rows])
    constant = {name: np.where(bright, 0.9, 0.1) for name in changes.PROBES}
    result = Perturbed(rows, [False] * count, [1] * count, [0.5] * count, constant)
    report = shortcut_report(result, two_folds(rows, tmp_path, by_corners))
    assert report["probes"]["ring gone"]["roc_auc"]["low"] > 0.5
    for name in ("bright", "dark"):
        found = report["by_session"][name]["ring gone"]
        assert found["images"] == (bright if name == "bright" else ~bright).sum()
        assert found["roc_auc"]["mean"] == 0.5
    lines = session_probe_table(report).splitlines()
    assert lines[0].split() == ["ROC-AUC", "by", "session", "bright", "dark"]
    line = next(line for line in lines if line.startswith("ring gone"))
    assert line.count("0.500 (0.50 to 0.50)") == 2


def test_without_two_sessions_nothing_is_given_by_session(lit, tmp_path):
    report = stub_report(lit, tmp_path, by_corners)
    assert "by_session" not in report
    assert session_probe_table(report) == ""


def test_a_shortcut_the_wrong_way_round_is_one_too(lit, tmp_path):
    report = stub_report(lit, tmp_path, lambda image: 1 - by_corners(image))
    assert report["probes"]["ring gone"]["roc_auc"]["high"] < 0.4
    assert report["verdict"]["shortcut"] is True


def test_a_model_that_looks_at_the_part_is_not_accused(lit, tmp_path):
    report = stub_report(lit, tmp_path, by_middle)
    assert report["probes"]["ring gone"]["roc_auc"]["mean"] == 0.5
    assert report["verdict"]["shortcut"] is False
    assert report["verdict"]["text"].startswith("no shortcut found: ")
    replaced = report["probes"]["background replaced"]
    assert replaced["mean_change"] == pytest.approx(0, abs=0.01)
    assert report["probes"]["contrast x0.6"]["mean_change"] > 0.05


def test_no_decision_on_castings_that_training_showed_or_that_are_unknown(lit, tmp_path):
    rows = lit[1]
    score = {name: np.linspace(0, 1, len(rows)) for name in changes.PROBES}
    folds, thresholds = [0] * len(rows), [0.5] * len(rows)
    seen = [index == 0 for index in range(len(rows))]
    for result, reason in (
        (Perturbed(rows, seen, folds, thresholds, score), "memory"),
        (Perturbed([replace(r, casting="") for r in rows], [False] * len(rows), folds,
                      thresholds, score), "known castings"),
    ):  # fmt: skip
        probes = {name: figures(result, name) for name in changes.PROBES}
        shortcut, text = conclusion(result, probes)
        assert shortcut is None
        assert text.startswith("no conclusion: with the ring gone the AUC is ")
        assert reason in text


def test_few_castings_are_called_weak_evidence(lit, tmp_path):
    root, rows = lit
    few = sorted({row.casting for row in rows})[:8]
    report = stub_report((root, [r for r in rows if r.casting in few]), tmp_path, by_corners)
    assert "weak evidence: one class has only 4 castings" in report["verdict"]["text"]


def test_images_takes_a_sample_of_each_class_that_is_always_the_same(lit, tmp_path):
    models = two_folds(lit[1], tmp_path, by_corners)
    chosen = held_out_rows(models, "test", 5)
    rows = [row for _, own in chosen for row in own]
    assert sorted(row.label for row in rows) == ["def_front"] * 5 + ["ok_front"] * 5
    assert all(own for _, own in chosen)  # from both folds
    assert held_out_rows(models, "test", 5) == chosen
    everything = [row.path for _, own in held_out_rows(models, "test") for row in own]
    assert sorted(everything) == sorted(row.path for row in lit[1])
    with pytest.raises(UserError, match="no image out as 'val'"):
        held_out_rows(models, "val")


def test_images_without_a_hub_are_skipped_and_counted(tmp_path):
    rows = []
    for number, label in enumerate(["def_front", "ok_front"] * 2):
        image = photograph(64) if number < 2 else np.full((64, 64), 170, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        rows.append(ImageRow(f"{number}.png", label, "test", f"c{number}"))
    report = stub_report((tmp_path, rows), tmp_path, by_corners)
    assert report["without_hub"] == 2
    assert report["probes"]["ring gone"]["images"] == 2
    assert report["probes"]["unmodified"]["images"] == 4
    report = stub_report((tmp_path, rows[2:]), tmp_path, by_corners)
    assert report["probes"]["ring gone"] is None
    assert report["verdict"]["shortcut"] is None


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    model, rows = checkpoint_of(["def", "ok"]), [ImageRow("a.png", "def_front", "test", "c")]
    with pytest.raises(UserError, match=r"a\.png: not an image"):
        perturbed_predictions(np.array, tmp_path, rows, model)


# --- the script ----------------------------------------------------------------------------------


def recomputed(lines: list[dict], name: str) -> dict:
    """The figures of one probe from the lines of probes.csv."""
    before = {(r["path"], r["fold"]): r["decision"] for r in lines if r["probe"] == "unmodified"}
    own = [line for line in lines if line["probe"] == name]
    defective = np.array([is_defect(line["path"].split("/")[1]) for line in own])
    rejected = np.array([line["decision"] == "defect" for line in own])
    parts = Parts(
        is_defect=defective,
        prob_defect=np.array([float(line["prob_defect"]) for line in own]),
        threshold=np.where(rejected, -1.0, 2.0),
        castings=np.array([line["casting"] for line in own]),
        folds=np.array([int(line["fold"]) for line in own]),
        sessions=np.array([line["session"] for line in own]),
    )
    changed = sum(before[line["path"], line["fold"]] != line["decision"] for line in own)
    return {
        "auc": CastingTable(parts).auc(parts),
        "missed": int((defective & ~rejected).sum()),
        "false_alarms": int((~defective & rejected).sum()),
        "changed": changed,
    }


def assert_csv_and_json_agree(out) -> dict:
    report = json.loads((out / "probes.json").read_text())
    with open(out / "probes.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        "path",
        "casting",
        "session",
        "fold",
        "probe",
        "prob_defect",
        "decision",
    ]
    assert list(report["probes"]) == list(changes.PROBES)
    for name, found in report["probes"].items():
        again = recomputed(lines, name)
        for key in ("mean", "low", "high"):
            assert found["roc_auc"][key] == pytest.approx(again["auc"][key], abs=1e-9), name
        assert found["counts"]["missed"] == again["missed"]
        assert found["counts"]["false_alarms"] == again["false_alarms"]
        assert found["decisions_changed"]["count"] == again["changed"]
    with Image.open(out / "probes.png") as image:
        assert min(image.size) > 300
    return report


def test_script_on_a_model_whose_split_leaks(trained, castings, tmp_path, capsys):
    arguments = ["--data", str(castings), "--checkpoint", str(trained / "best.pth")]
    arguments += ["--device", "cpu", "--out", str(tmp_path), "--images", "4"]
    assert probe.main(arguments) == 0
    report = assert_csv_and_json_agree(tmp_path)
    assert report["data"] == "synthetic castings"
    assert (report["images"], report["without_hub"]) == (8, 0)
    assert report["verdict"]["shortcut"] is None
    printed = capsys.readouterr().out.splitlines()
    assert report["verdict"]["text"] in printed
    assert any(line.startswith("leak     8 of 8 images") for line in printed)
    assert json.loads(printed[-1])["shortcut"] is None


def test_unmodified_images_get_the_decisions_of_test_py(trained, castings):
    (model,) = load_models(trained / "best.pth", castings, "cpu")
    result = run_shortcut_tests([model], castings, "val")
    predicted = predict_split(model, castings, "val", cache=False)
    assert [row.path for row in result.rows] == [row.path for row in predicted.rows]
    np.testing.assert_allclose(
        result.prob_defect["unmodified"], predicted.parts.prob_defect, atol=1e-5
    )


def test_labels_that_were_exchanged_are_found_and_ranked_first(
    trained_folds, castings, tmp_path, monkeypatch, capsys
):
    def predicted(models, root):
        """A model that is right of all castings; one is labelled wrongly."""
        found = predict_folds(models, root)
        images = []
        for image in found.images:
            row, prob = image.row, 0.9 if is_defect(image.row.label) else 0.1
            if row.casting == wrong:
                prob = 1 - prob
            prediction = replace(image.prediction, probabilities=(prob, 1 - prob))
            images.append(replace(image, prediction=prediction))
        return replace(found, images=images)

    with open(castings / "truth.csv", newline="") as file:
        truth = {line["path"]: line["casting"] for line in csv.DictReader(file)}
    wrong = next(name for path, name in truth.items() if path.startswith("train/ok_front"))
    monkeypatch.setattr("evaluation.label_issues.predict_folds", predicted)
    own = ["--data", str(castings), "--checkpoint", str(trained_folds), "--protocol", "casting"]
    own += ["--label-issues", "--csv-dialect", "excel-de", "--device", "cpu"]
    assert probe.main([*own, "--out", str(tmp_path)]) == 0
    names = ["path", "casting", "label", "probability", "rank"]
    lines = read_csv(tmp_path / "label_issues.csv", names)  # as --labels reads it
    assert list(lines[0]) == names
    assert {line["path"] for line in lines} == {p for p, name in truth.items() if name == wrong}
    for rank, line in enumerate(lines, 1):
        assert (line["label"], line["casting"], line["rank"]) == ("ok_front", wrong, str(rank))
        assert line["probability"] == "0,10000000"
    printed = capsys.readouterr().out.splitlines()
    assert f"{wrong}: 4 of 4 images contradicted; 4 labelled good, 0 defective" in printed
    assert json.loads(printed[-1])["issues"] == 4
    with Image.open(tmp_path / "label_issues.png") as image:
        assert min(image.size) > 200


def test_models_that_have_seen_the_castings_do_not_judge_their_labels(trained, castings, tmp_path):
    own = ["--data", str(castings), "--checkpoint", str(trained / "best.pth"), "--label-issues"]
    with pytest.raises(UserError, match="has seen the castings of 13 of 13 images") as failure:
        probe.main([*own, "--device", "cpu", "--out", str(tmp_path)])
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_script_pools_the_folds(lit, tmp_path, monkeypatch, capsys):
    root, rows = lit
    models = two_folds(rows, tmp_path, by_corners)
    monkeypatch.setattr(
        "evaluation.held_out.load_models", lambda *_, folds: models if folds else models[:1]
    )
    out = tmp_path / "out"
    folds = ["--protocol", "casting", "--checkpoint", str(tmp_path)]
    assert probe.main(["--data", str(root), *folds, "--out", str(out)]) == 0
    report = assert_csv_and_json_agree(out)
    assert report["images"] == len(rows)
    assert len(report["probes"]["ring gone"]["roc_auc"]["folds"]) == 2
    assert report["verdict"]["shortcut"] is True
    assert "unseen castings" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--protocol", "casting", "--split", "val"],
        ["--label-issues", "--gate"],
        ["--label-issues", "--images", "3"],
        ["--csv-dialect", "excel-de"],
    ],
)
def test_options_that_make_no_sense(arguments, tmp_path):
    with pytest.raises(UserError):
        probe.main([*arguments, "--out", str(tmp_path)])
