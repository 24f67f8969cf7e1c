"""Photographs with a verdict are found again, each picture once, and what is missing is told."""

from pathlib import Path

import pytest
from builders import checkpoint_of, spoken_on
from PIL import Image

from adaptation import verdicts
from adaptation.verdicts import read_verdicts
from common.errors import UserError
from traceability.log import InspectionLog

MODEL = checkpoint_of(["def_front", "ok_front"], size_px=32)


def test_photographs_that_moved_or_changed_are_counted_and_the_kept_ones_found(
    log_with_verdicts, line_parts, tmp_path, capsys
):
    with InspectionLog(log_with_verdicts) as opened:
        passed = [f for (f,) in opened.query("SELECT file FROM inspections WHERE decision = 'ok'")]
    kept = len(list((tmp_path / "line_pictures").iterdir()))
    assert kept + len(passed) == 16
    Path(passed[0]).unlink()
    Path(passed[1]).write_bytes(b"another")
    for path in [*line_parts["ok_front"], *line_parts["def_front"]]:
        if str(path) not in passed:
            path.unlink()  # its copy beside the log does
    assert len(read_verdicts(log_with_verdicts, None, MODEL).judged) == 14
    pictures = tmp_path / "elsewhere"
    (tmp_path / "line_pictures").rename(pictures)
    with pytest.raises(UserError, match="no such folder"):
        read_verdicts(log_with_verdicts, tmp_path / "nowhere", MODEL)
    found = read_verdicts(log_with_verdicts, pictures, MODEL)
    assert (len(found.photographs), len(found.missing)) == (14, 2)
    told = capsys.readouterr().err
    assert "2 verdicts without a photograph, neither in" in told
    assert passed[0] in told or passed[1] in told


def test_the_latest_of_contradicting_verdicts_counts_and_is_told(
    log_with_verdicts, line_parts, capsys
):
    with InspectionLog(log_with_verdicts, "append") as opened:
        opened.add_disposition(1, "defect", "Maier")
    found = read_verdicts(log_with_verdicts, None, MODEL)
    assert "16 photographs: 7 good, 9 defective" in found.describe()
    told = capsys.readouterr().err
    assert "1 photograph with verdicts that contradict one another" in told
    assert "defect says Maier" in told


def test_a_withdrawn_verdict_is_not_learned(log_with_verdicts, capsys):
    with InspectionLog(log_with_verdicts, "append") as opened:
        opened.add_disposition(1, "withdrawn", "Huber")
    found = read_verdicts(log_with_verdicts, None, MODEL)
    assert "15 photographs: 7 good, 8 defective" in found.describe()
    assert "contradict" not in capsys.readouterr().err


def test_one_picture_in_two_files_counts_once_by_its_latest_verdict(
    log_with_verdicts, line_parts, tmp_path, capsys
):
    other = tmp_path / "copy.png"  # the same pixels in other bytes
    with Image.open(line_parts["ok_front"][0]) as image:
        image.save(other)
    spoken_on(log_with_verdicts, other, "defect")
    found = read_verdicts(log_with_verdicts, None, MODEL)
    assert "16 photographs: 7 good, 9 defective" in found.describe()
    assert "contradict" in capsys.readouterr().err


def test_of_very_many_verdicts_those_are_taken_where_the_model_said_otherwise(
    log_with_verdicts, monkeypatch, capsys
):
    monkeypatch.setattr(verdicts, "MOST", 5)
    found = read_verdicts(log_with_verdicts, None, MODEL)
    assert "10 photographs: 5 good, 5 defective" in found.describe()
    assert "6 verdicts left out, for 5 of a kind are the most" in capsys.readouterr().err
    monkeypatch.undo()
    everything = read_verdicts(log_with_verdicts, None, MODEL)
    for verdict in ("ok", "defect"):
        taken, all_of_it = (
            [one for one, _ in some.disagreements if one.verdict == verdict]
            for some in (found, everything)
        )
        assert taken == all_of_it[:5]
