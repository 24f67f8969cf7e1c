"""The learning curve trains on more and more parts, tests on the same, and goes on where it was."""

import json

import pytest
from builders import make_plates

import benchmark
from dataset.manifest import UNUSED, read_split


@pytest.mark.slow
def test_models_of_more_and_more_parts(tmp_path, capsys):
    data = make_plates(tmp_path / "plates", {"ok": 24, "hole": 12, "scratch": 12})
    out = tmp_path / "curve"
    command = ["curve", "--data", str(data), "--parts", "6", "3", "--fold", "1", "2"]
    command += ["--device", "cpu"]
    small = ["--options", "--image-size", "32", "--epochs", "1", "--epoch-size", "32"]
    assert benchmark.main([*command, "--out", str(out), *small]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((out / "curve.json").read_text())
    assert [point["parts"] for point in result["points"]] == [3, 6]
    assert [point["good_parts"] for point in result["points"]] == [3, 6]
    assert [point["photographs"] for point in result["points"]] == [6, 12]
    assert result["folds"] == [1, 2]
    for point in result["points"]:
        least, largest = point["roc_auc_range"]
        assert least <= point["roc_auc"] <= largest
        assert point["roc_auc"] == pytest.approx((least + largest) / 2)
    assert (result["data"], result["recipe"], result["good_only"]) == ("plates", "product", False)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    few, many = (read_split(out / "fold2" / f"parts{count}" / "split.csv") for count in (3, 6))
    for split in ("train", "val"):
        chosen = [{row.path for row in rows if row.split == split} for rows in (few, many)]
        assert chosen[0] <= chosen[1]
    assert {row.path for row in few if row.split == "test"} == {
        row.path for row in many if row.split == "test"
    }
    assert any(row.split == UNUSED for row in many)

    trained = (out / "fold1" / "parts6" / "best.pth").stat().st_mtime_ns
    assert benchmark.main([*command, "--out", str(out), *small]) == 0
    assert (out / "fold1" / "parts6" / "best.pth").stat().st_mtime_ns == trained
