"""The pointing game's rules, and that the benchmark plays it."""

import json

import numpy as np
import pytest

import benchmark
from benchmarks.heatmaps import energy_inside, pointing_hit

MASK = np.zeros((60, 60), bool)
MASK[30:35, 30:35] = True


def heat_at(row: int, column: int) -> np.ndarray:
    heat = np.zeros((60, 60), np.float32)
    heat[row, column] = 1
    return heat


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(32, 32, True), (20, 32, True), (19, 32, False), (32, 44, True), (32, 45, False)],
)
def test_a_hit_is_within_ten_pixels_of_the_mask(row, column, hit):
    assert pointing_hit(heat_at(row, column), MASK) == hit


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_map_is_a_miss(value):
    mask = np.ones((60, 60), bool)
    assert not pointing_hit(np.full((60, 60), value, np.float32), mask)


def test_energy_is_the_share_inside_the_mask():
    assert energy_inside(heat_at(32, 32) + heat_at(0, 0), MASK) == pytest.approx(0.5)
    assert energy_inside(np.zeros((60, 60)), MASK) == 0


@pytest.mark.slow
def test_the_benchmark_ends_with_its_figures(trained, capsys):
    own = ["--checkpoint", str(trained / "best.pth"), "--parts", "4", "--device", "cpu"]
    assert benchmark.main(["heatmaps", *own]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["parts"] == 4
    names = [line["name"] for line in result["methods"]]
    assert names == ["cells", "fused", "layercam", "gradcam"]
    for line in result["methods"]:
        assert 0 <= line["energy"] <= 1
        assert line["pointing"] == line["hits"] / 4
