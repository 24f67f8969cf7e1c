"""The learning curves, and what stands below them."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from dataset.listing import ImageRow
from training import curves, saving

HISTORY = [
    {"epoch": n, "train_loss": 1 / n, "val_loss": 1.5 / n, "train_accuracy": 0.8,
     "val_accuracy": 0.7}
    for n in range(1, 61)
]  # fmt: skip


def run_of(*rows, **settings):
    """A run of images `split casting`."""
    named = {"recipe": "robust", "protocol": "casting", "fold": 2, "folds": 5} | settings
    split_and_casting = (text.split() for text in rows)
    images = [ImageRow("a.png", "ok", part, casting.strip("-")) for part, casting in
              split_and_casting]  # fmt: skip
    return SimpleNamespace(
        rows=images,
        settings=SimpleNamespace(**named),
        root=Path("mine"),
        out=Path("runs/fold2"),
        split_sha256="",
    )


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        (("train a", "train b", "val b", "val c"), "1 of 2 validation images (50.0 %) show"),
        (
            ("train a", "train -", "val b", "val c"),
            "which parts are also in training is told by test.py",
        ),
    ],
)
def test_below_them_stand_run_data_protocol_and_what_validation_shares(rows, known):
    found = saving.origin_of(run_of(*rows)).replace("\N{NO-BREAK SPACE}", " ")
    assert found.startswith("model: fold2/best.pth, recipe robust · data: mine, 2 training images")
    assert known in found
    assert "protocol: unseen parts, fold 2 of 5" in found


def test_training_and_validation_differ_in_more_than_colour(monkeypatch):
    kept = []
    monkeypatch.setattr(curves, "save", lambda figure, *texts: kept.append((figure, *texts)))
    curves.plot_curves(Path("a.png"), HISTORY, 60, True, "from here")
    ((figure, _, title, origin),) = kept
    assert title == "Learning curves of 60 epochs; kept is that of the lowest validation loss"
    assert origin == "from here"
    for axis in figure.axes:
        training, validation, best = axis.lines
        assert training.get_linestyle() != validation.get_linestyle()
        assert best.get_label() == "kept: epoch 60"
    plt.close(figure)


def test_without_early_stopping_nothing_is_said_to_be_chosen(monkeypatch):
    kept = []
    monkeypatch.setattr(curves, "save", lambda figure, path, title, origin: kept.append(title))
    curves.plot_curves(Path("a.png"), HISTORY[:1], 1, False, "from here")
    assert kept == ["Learning curves of 1 epoch; kept is the last one"]
    plt.close("all")
