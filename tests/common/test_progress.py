"""Long work tells how far it is, also in a log file; short work says nothing there."""

import sys
import time

import pytest
from tqdm import tqdm

from common import progress
from common.progress import ProgressBar, announced


@pytest.fixture
def at_once(monkeypatch):
    """The first line comes at once, the others as they do."""
    monkeypatch.setattr(progress, "FIRST_S", 0.001)


def test_lines_where_there_is_no_terminal(capsys, at_once):
    with ProgressBar(total=8, desc="predicting", unit="img") as bar:
        time.sleep(0.01)
        bar.update(2)
        bar.update(4)  # too early for another line
        bar.update(2)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("predicting: 2 of 8 img, 25 %, after 0 s, ")
    assert last == "predicting: 8 of 8 img, 100 %, after 0 s"


def test_no_line_counts_more_than_is_done(capsys, at_once, monkeypatch):
    monkeypatch.setattr(progress, "BETWEEN_S", 0.02)
    for done in (bar := ProgressBar(range(60), desc="rendering", unit="images")):
        assert bar.n <= done
        time.sleep(0.002)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert lines[-1].startswith("rendering: 60 of 60 images")


def test_what_goes_on_tells_how_long_what_is_left_takes(capsys, at_once):
    with ProgressBar(total=1_000, initial=900, desc="epoch 1/2", unit="img") as bar:
        bar.start_t -= 30
        bar.last_print_t -= 30
        bar.update(60)
    assert capsys.readouterr().err == "epoch 1/2: 960 of 1,000 img, 96 %, after 30 s, 20 s left\n"


def test_a_total_may_be_unknown_and_an_end_may_come_early(capsys, at_once):
    for _ in (bar := ProgressBar(iter("abc"), desc="records", unit="record")):
        time.sleep(0.01)
        if bar.n == 1:
            bar.close()
            break
    assert capsys.readouterr().err == "records: 1 record, after 0 s\n"


def test_short_work_and_other_processes_say_nothing(capsys, monkeypatch):
    assert list(ProgressBar(range(3), desc="short")) == [0, 1, 2]
    with announced("short"):
        pass
    monkeypatch.setattr(progress, "FIRST_S", 0)
    assert list(ProgressBar(range(3), desc="of another rank", disable=True)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_other_text_repeats_no_line(capsys, at_once):
    with ProgressBar(total=9, desc="inspecting", unit="parts") as bar:
        time.sleep(0.01)
        bar.update()
        for name in "abc":
            tqdm.write(name, sys.stderr)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "inspecting" not in line] == ["a", "b", "c"]
    assert len(lines) == 4


def test_nothing_is_said_before_it_has_taken_long(capsys):
    with ProgressBar(total=9, desc="inspecting", unit="parts") as bar:
        bar.update()
        tqdm.write("a", sys.stderr)
    assert capsys.readouterr().err == "a\n"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(ProgressBar(range(3), desc="here", unit="img")) == [0, 1, 2]
    shown = capsys.readouterr().err
    assert "here: 100%" in shown
    assert "\r" in shown


def test_work_that_cannot_tell_how_far_it_is_is_announced_again(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_S", 0.001)
    monkeypatch.setattr(progress, "BETWEEN_S", 0.02)
    with announced("loading PyTorch"):
        time.sleep(0.15)
    first, *later = capsys.readouterr().err.splitlines()
    assert first == "loading PyTorch"
    assert later[0] == "loading PyTorch, since 0 s"
