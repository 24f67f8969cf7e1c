"""Published figures come from metrics.json and go into the README unchanged."""

import json

import pytest

import results
from common import UserError


@pytest.fixture
def pages(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    reference = json.loads((results.ROOT / "docs" / "results.json").read_text())["reference"]
    (tmp_path / "results.json").write_text(json.dumps({"reference": reference, "runs": {}}))
    (tmp_path / "README.md").write_text(
        f"before\n{results.README_BEGIN}\nold table\n{results.README_END}\nafter\n"
    )
    return tmp_path


def write_metrics(path, **changes):
    counts = {"defects": 241, "missed": 3, "good": 117, "false_alarms": 1}
    figures = {"data": "castings", "protocol": "kaggle", "split": "test", "images": 358}
    figures |= {"counts": counts, "weights": "none"} | changes
    path.write_text(json.dumps(figures))


def test_the_reference_stands_first_with_its_known_figures(pages):
    assert results.main([]) == 0
    line = (pages / "README.md").read_text().splitlines()[4]
    for figure in ("356/358", "99.44 %", "239/241", "0/117"):
        assert figure in line


def test_a_run_is_added_and_the_rest_of_the_page_stays(pages):
    write_metrics(pages / "metrics.json")
    assert results.main(["--name", "ours", str(pages / "metrics.json")]) == 0
    text = (pages / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old table" not in text
    row = next(line for line in text.splitlines() if line.startswith("| ours"))
    assert "from scratch, no ImageNet weights" in row
    assert "354/358" in row
    assert "238/241" in row
    assert "1/117" in row


def test_publishing_again_replaces_the_row(pages):
    for missed in (3, 1):
        counts = {"defects": 241, "missed": missed, "good": 117, "false_alarms": 0}
        write_metrics(pages / "metrics.json", counts=counts)
        results.main(["--name", "ours", str(pages / "metrics.json")])
    text = (pages / "README.md").read_text()
    assert text.count("| ours") == 1
    assert "240/241" in text


def test_bad_calls_give_one_line(pages):
    with pytest.raises(UserError, match="no such file"):
        results.main(["--name", "x", str(pages / "gone.json")])
    with pytest.raises(UserError, match="together, or neither"):
        results.main(["--name", "x"])
    before = (pages / "results.json").read_text()
    (pages / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"test\.py writes it"):
        results.main(["--name", "x", str(pages / "other.json")])
    assert (pages / "results.json").read_text() == before
    (pages / "text.json").write_text("no json")
    with pytest.raises(UserError, match="not a JSON file"):
        results.main(["--name", "x", str(pages / "text.json")])
