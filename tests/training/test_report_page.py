"""The report of a training says what was done, and of which model and images its figures are."""

from types import SimpleNamespace

import numpy as np
import pytest

from dataset.listing import ImageRow
from training.report_page import curves_caption, flattery, leak, set_aside, validation_parts


def row(split: str, casting: str = "") -> ImageRow:
    return ImageRow(f"{split}/{casting}.png", "ok", split, casting)


@pytest.mark.parametrize(
    ("epoch_chosen", "fitted", "said"),
    [
        (True, True, "Epoch, threshold and gate were chosen on these images"),
        (True, False, "Epoch and gate were chosen on these images"),
        (False, True, "The last epoch was kept, whatever these figures. Threshold and gate were"),
        (False, False, "The last epoch was kept, whatever these figures. Gate was chosen on"),
    ],
)
def test_what_was_chosen_on_the_validation_images_is_told(epoch_chosen, fitted, said):
    assert flattery(epoch_chosen, fitted).startswith(said)


def test_accuracies_of_epochs_are_told_from_those_of_the_finished_model():
    fitted, plain = ({"operating_point": {"fitted": value}} for value in (True, False))
    assert "before temperature and threshold were fitted" in curves_caption(fitted)
    assert "before" not in curves_caption(plain)


def test_drawn_defects_and_unused_images_are_explained():
    settings = SimpleNamespace(good_only=True, parts=30)
    drawn, unused = set_aside([row("train"), row("unused")], settings, 4)
    assert drawn.startswith("val also has 4 drawn defects")
    assert "learns from good ones alone; parts beyond the 30 of either class" in unused
    assert set_aside([row("train")], SimpleNamespace(good_only=False, parts=None), 0) == []


def test_the_leak_is_counted_or_said_to_be_unknown():
    assert leak([row("train", "a"), row("test", "a"), row("test", "b")]).startswith("1 of 2 test")
    assert "was not looked at" in leak([row("train"), row("test")])
    assert leak([row("train"), row("val")]) == ""  # nothing to test


def test_validation_figures_are_those_at_the_threshold_by_casting(tmp_path, monkeypatch):
    found = (np.array([True, True, False]), ["a", "", ""], np.array([0.9, 0.3, 0.4]))
    monkeypatch.setattr("training.report_page.read_validation", lambda path: found)
    parts = validation_parts(tmp_path / "best.pth", 0.35)
    assert (parts.counts.missed, parts.counts.false_alarms) == (1, 1)
    assert len(set(parts.castings)) == 3  # of unknown casting: each its own
