"""The released model decides as the trained one did, and its card says what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from common.errors import EXIT_GATE, UserError
from common.files import ROOT, sha256_of_file
from evaluation import release
from evaluation.model_card import review_lines
from inspection.predictor import load_predictor
from model import load_checkpoint, save_checkpoint

PUBLISHED = ROOT / "checkpoints" / "released.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, train_options) -> Path:
    """A finished training that holds out validation castings only."""
    out = tmp_path_factory.mktemp("for_release")
    casting = ["--protocol", "casting", "--folds", "2", "--fold", "none"]
    short = ["--operating-point", "0.9", "--epochs", "1"]
    assert train.main([*train_options, *casting, *short, "--out", str(out)]) == 0
    return out / "best.pth"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the release goes, and published figures of the recipe's folds."""
    rate = {"count": 1, "of": 4, "rate": 0.25, "low": 0.01, "high": 0.75}
    rates = dict.fromkeys(("missed_defects", "false_alarms", "accuracy"), rate)
    auc = {"mean": 0.7, "low": 0.6, "high": 0.8, "folds": [0.65, 0.75]}
    tier = {
        "images": 64, "castings": 16, "castings_good": 8, "rates": rates, "per_casting": rates,
        "roc_auc": auc,
        "both_labels": [],
        "releases": {"casting_data": 40, "casting_512x512": 24},
    }  # fmt: skip
    tier["by_session"] = {"dark": dict(tier, images=24)}
    run = {"protocol": "casting", "recipe": "reference", "intervals": "some", "tiers": {"x": tier}}
    outside = {"missed_outside": 2, "false_alarms_outside": 5}
    band = {"low": 0.2, "high": 0.8, "images": 64, "for_review": 7, **outside}
    run["review"] = {"x": {**band, "by_session": {"dark": {**band, "images": 24}}}}
    results = tmp_path / "results.json"
    probes = {"unmodified": {"roc_auc": auc}, "ring gone": {"roc_auc": auc}}
    probes = {"probes": probes, "verdict": {"shortcut": True}, "images": 9}
    results.write_text(json.dumps({"runs": {"ours": run}, "probes": probes}))
    monkeypatch.setattr(release, "RESULTS", results)
    monkeypatch.setattr(release, "RELEASED", tmp_path / "released.pth")
    monkeypatch.setattr(release, "CARD", tmp_path / "MODEL_CARD.md")
    return tmp_path


def test_the_released_model_is_half_the_size_and_predicts_alike(finished, place, castings):
    assert release.main([str(finished), "--data", str(castings)]) == 0
    small = place / "released.pth"
    gate = 4 * 192 * 193  # bytes, which stay
    assert small.stat().st_size - gate < 0.55 * (finished.stat().st_size - gate)
    assert small.stat().st_size < 25e6
    images = [np.full((50, 50), level, np.uint8) for level in (30, 120, 220)]
    before, after = (load_predictor(path, "cpu") for path in (finished, small))
    assert {p.dtype for p in after.checkpoint.model().parameters()} == {torch.float32}
    for old, new in zip(before.predict(images), after.predict(images), strict=True):
        assert old.prob_defect == pytest.approx(new.prob_defect, abs=2e-3)
    card = (place / "MODEL_CARD.md").read_text()
    described = json.loads((place / "released.json").read_text())
    assert described["sha256"] in card
    assert "CC BY-NC-ND 4.0" in card
    assert "1/4 = 25.00 % (1.00 % to 75.00 %)" in card
    assert "casting_data 40 images, casting_512x512 24 images" in card
    assert "* Session dark, 24 images of 16 castings, 8 of them good: missed 1/4" in card
    assert "With `--review 0.2 0.8`: 7 of 64 for a person; outside it 2 missed, 5 false" in card
    assert "session dark: 7 of 24 for a person" in card
    assert "$" not in card


@pytest.mark.parametrize("option", ["--data", "--second-release"])
def test_folders_without_a_checkpoint_are_refused(option):
    with pytest.raises(UserError, match=f"{option} belongs to a checkpoint"):
        release.main([option, "somewhere"])


def test_a_changed_decision_stops_the_release(finished, place, castings, monkeypatch):
    monkeypatch.setattr(release, "halved", with_the_other_verdict)
    with pytest.raises(UserError, match="nothing is released") as error:
        release.main([str(finished), "--data", str(castings)])
    assert error.value.exit_code == EXIT_GATE
    assert not (place / "released.pth").exists()


def with_the_other_verdict(checkpoint):
    checkpoint.threshold = 0.0 if checkpoint.threshold > 1e-3 else 1.0
    return checkpoint


def test_only_a_finished_model_without_a_test_part_is_released(
    finished, place, castings, trained, tmp_path
):
    with pytest.raises(UserError, match="no finished model for use"):
        release.main([str(trained / "best.pth"), "--data", str(castings)])
    checkpoint = load_checkpoint(finished)
    without = replace(checkpoint, operating_point=None)
    other = replace(checkpoint, training=checkpoint.training | {"hold_out_session": "dark"})
    for name, unfit in (("stopped.pth", without), ("session held out.pth", other)):
        save_checkpoint(tmp_path / name, unfit)
        with pytest.raises(UserError, match="no finished model for use"):
            release.main([str(tmp_path / name), "--data", str(castings)])


def test_a_review_band_of_one_session_is_one_line_of_the_card():
    band = {"low": 0.2, "high": 0.8, "images": 9, "for_review": 1}
    band |= {"missed_outside": 0, "false_alarms_outside": 2}
    line = review_lines({"review": {"unseen castings": band}})
    assert line == (
        "With `--review 0.2 0.8`: 1 of 9 for a person; outside it 0 missed, 2 false alarms."
    )
    assert review_lines({}) == "A review band was not measured."


def test_a_card_needs_published_figures_of_the_recipe(place, finished, castings):
    (place / "results.json").write_text('{"runs": {}}')
    with pytest.raises(UserError, match="has no figures of the folds"):
        release.main([str(finished), "--data", str(castings)])


def test_the_tracked_card_is_that_of_the_tracked_figures():
    released = json.loads(PUBLISHED.read_text())
    results = json.loads((ROOT / "docs" / "results.json").read_text())
    card = (ROOT / "checkpoints" / "MODEL_CARD.md").read_text()
    assert card == release.model_card(released, results)


def test_the_tracked_model_is_the_one_that_its_side_car_describes():
    released = json.loads(PUBLISHED.read_text())
    path = PUBLISHED.with_suffix(".pth")
    assert sha256_of_file(path) == released["sha256"]
    assert path.stat().st_size <= 25e6
    checkpoint = load_checkpoint(path)
    assert checkpoint.description() == {k: v for k, v in released.items() if k != "sha256"}
