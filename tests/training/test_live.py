"""What TensorBoard reads of a run that was watched while it trained."""

import csv
import sys

import pytest

import train
from common.errors import UserError
from training.live import LOSS_SO_FAR, SCALARS, LiveCurves
from training.run_files import EVENTS

pytest.importorskip("tensorboard")


def points(folder):
    """By curve: (step, value) of each point, as TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        name: [(point.step, pytest.approx(point.value, rel=1e-6)) for point in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_a_run_that_goes_on_takes_back_what_it_repeats(tmp_path):
    first = LiveCurves(tmp_path)
    for seen in (16, 32, 48):
        first.add(seen, {"loss": seen})
    first.close()
    again = LiveCurves(tmp_path)  # last.pth was of 16 images
    again.add(32, {"loss": 0.5})
    again.close()
    assert points(tmp_path)["loss"] == [(16, 16), (32, 0.5)]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    curves = LiveCurves(None)
    curves.add(16, {"loss": 1.0})
    curves.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_shows_the_columns_of_its_history_and_the_loss_within_an_epoch(
    tmp_path, train_options
):
    watched = [*train_options, "--epochs", "1", "--tensorboard", "--out", str(tmp_path)]
    assert train.main(watched) == 0
    assert train.main([*watched, "--overwrite"]) == 0  # the first run's curves are gone
    assert len(list(tmp_path.glob(EVENTS))) == 1
    (row,) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    found = points(tmp_path)
    within = found.pop(LOSS_SO_FAR)
    seen = within[-1][0]
    assert found == {name: [(seen, float(row[column]))] for column, name in SCALARS.items()}
    assert within[-1][1] == float(row["train_loss"])
    assert len(within) > 1


def test_without_tensorboard_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        train.main(["--tensorboard"])
