"""What a checkpoint may say of its model, and what no decision can rest on."""

import math

import pytest
from builders import checkpoint_of

from networks.description import check_description

RIGHT = checkpoint_of(["def_front", "ok_front"], network="local").description()
WRONG = {
    "class_names": [
        [], "ok", None, ["ok_a"], ["ok_a", "ok_b"], ["def", "ok", "def"], ["def", ""],
        ["def", "ok\n"], ["def", 5], ("def", "ok"), {"def": "ok"},
    ],
    "image_size_px": [31, 2049, 100_000, 0, -32, 64.0, True, "64", None, math.nan],
    "mean": [[0.5], [0.5] * 4, [0.5, 0.5, math.inf], [0.5, 0.5, "0.5"], 0.5, None],
    "std": [[1.0, 1.0, 0.0], [1.0, -1.0, 1.0], [1.0, 1.0, math.nan], [True] * 3, "111"],
    "threshold": [2.0, -0.001, 1.001, math.nan, math.inf, None, "0.5", True, [0.5]],
    "temperature": [0.0, -1.0, 1e-9, 1e9, math.inf, math.nan, None, "1", False],
    "head": ["tanh", None, ["softmax"]],
    "architecture": ["resnet50", None, 18],
    "format": ["3", None, 3.0],
    "protocol": [None, 5],
    "fold": [-1, 1.0, "1", True],
    "epoch": [-1, 1.5, None, "2"],
    "validation": [None, [], {"loss": "low"}, {"loss": math.nan}, {1: 0.5}, {"good": None}],
    "training": [
        None, [], {"recipe": 5}, {"weights": ["none"]}, {"castings": 1}, {"folds": 1},
        {"folds": "5"}, {"fold": -1}, {"fold_seed": -1}, {"lr": {"a": 1}}, {"lr": math.nan},
    ],
    "data": [None, 1],
    "split_sha256": [None, b"0"],
    "torch_version": [None, 2.11],
    "operating_point": [
        [], "balanced", {"fitted": "yes"}, {"fitted": 1}, {"threshold": 2}, {"temperature": 0},
        {"threshold_low": -1.0}, {"threshold_high": math.nan}, {"cut": None}, {"note": None},
        {"min_recall": 1.5}, {"castings_good": -1}, {"castings_defective": 0.5}, {1: 2},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_value_is_refused_by_name(name):
    check_description(RIGHT)
    for value in WRONG[name]:
        inner = next(iter(value), None) if isinstance(value, dict) and value else None
        with pytest.raises(ValueError, match=inner if isinstance(inner, str) else name) as failure:
            check_description(RIGHT | {name: value})
        assert len(str(failure.value).splitlines()) == 1, value


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": ["burr", "ok_a", "ok_b"]}, {"threshold": 0}, {"threshold": 1.0},
        {"temperature": 0.25}, {"fold": 0}, {"epoch": 0}, {"image_size_px": 2048},
        {"operating_point": {"fitted": False, "threshold": 0.5}}, {"validation": {"missed": 2}},
        {"training": {"recipe": "of earlier times", "min_recall": 0.99, "castings": None}},
        {"data": "line 3\u00a0Büro"},
    ],
)  # fmt: skip
def test_what_a_training_may_leave_is_taken(change):
    check_description(RIGHT | change)
