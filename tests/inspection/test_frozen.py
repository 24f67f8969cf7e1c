"""The third equal picture in a row is judged no more, whichever way it is equal."""

import pytest

from inspection.frozen import REASON, FrozenCamera
from inspection.predictor import Prediction


def shot(sha256: str, pixels: str = "", brightness: float = 120.0, **more) -> Prediction:
    own = {"status": "ok", "decision": "ok", "prob_defect": 0.2, "predicted_class": "ok_front"}
    return Prediction(
        **own | more, probabilities=(0.2, 0.8), threshold=0.5, latency_ms=9.0, sha256=sha256,
        brightness=brightness, pixels=pixels or sha256,
    )  # fmt: skip


def decisions(camera: FrozenCamera, *shots: Prediction) -> list[str]:
    return [camera.judged(one).decision for one in shots]


def test_equal_pictures_are_judged_twice():
    camera = FrozenCamera()
    assert decisions(camera, *[shot("a")] * 5) == ["ok", "ok", "", "", ""]
    (last,) = [camera.judged(shot("a", error="dark"))]
    assert (last.status, last.prob_defect, last.predicted_class) == ("not_judged", None, "")
    assert last.error == f"{REASON}; dark"
    assert last.brightness == 120.0
    assert decisions(camera, *[shot("b")] * 3) == ["ok", "ok", ""]


def test_pictures_that_are_not_equal_in_a_row_are_judged():
    shots = [shot("a"), shot("a"), shot("b"), shot("a"), shot("a"), shot("b")]
    assert decisions(FrozenCamera(), *shots) == ["ok"] * 6


def test_pixels_count_not_only_bytes():
    """A camera that writes the time into each file; equal brightness alone says nothing."""
    written = [shot(f"{n}", pixels="same") for n in range(3)]
    assert decisions(FrozenCamera(), *written) == ["ok", "ok", ""]
    turned = [shot(f"{n}", pixels=f"quarter {n}") for n in range(4)]
    assert decisions(FrozenCamera(), *turned) == ["ok"] * 4


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], ["ok", "ok", ""]),
        ([("a", 120.0)], ["ok", "", ""]),
        ([("a", 120.0)] * 2, ["", "", ""]),
        ([("other bytes", 120.0)] * 2, ["", "", ""]),  # the log knows no pixels
        ([("a", 120.0), ("b", 99.0)], ["ok", "ok", ""]),
        ([("b", None)] * 2, ["ok", "ok", ""]),
    ],
)
def test_what_the_log_holds_counts(before, expected):
    assert decisions(FrozenCamera(before), *[shot("a")] * 3) == expected


def test_each_episode_is_told_once():
    camera = FrozenCamera()
    told = []
    for name in "aaaaabaaaa":
        camera.judged(shot(name))
        told.append(camera.has_just_frozen)
    assert [number for number, one in enumerate(told) if one] == [2, 8]


def test_unreadable_photographs_neither_count_nor_end_a_row():
    bad = shot("a", status="error", decision="", prob_defect=None)
    camera = FrozenCamera()
    assert decisions(camera, bad, bad, bad, bad) == [""] * 4
    assert not camera.has_just_frozen
    assert decisions(camera, shot("a"), shot("a"), bad, shot("a")) == ["ok", "ok", "", ""]
    assert camera.has_just_frozen
