"""An adaptation says whether anything speaks for it."""

from dataclasses import fields
from pathlib import Path

import pytest

from adaptation.checking import Checked
from adaptation.report import advice, next_commands
from metrics.exact import exact_rate


def checked(*, rejected_before=0, rejected=0, handed_over=0, caught_before=40, caught=40):
    """Figures of ten photographs and of fifty drawn defects in two sizes."""
    sizes = [
        {"drawn": 20, "caught_before": 10, "caught": 10},
        {"drawn": 30, "caught_before": caught_before - 10, "caught": caught - 10},
    ]
    known = {
        "photographs": 10,
        "rejected_before": exact_rate(rejected_before, 10),
        "handed_over_before": handed_over,
        "held_out": {"photographs": exact_rate(rejected, 10)},
        "synthetic": sizes,
    }
    return Checked(**({field.name: None for field in fields(Checked)} | known))


@pytest.mark.parametrize(
    "better",
    [
        {"rejected_before": 3, "rejected": 1, "caught": 30},
        {"handed_over": 1, "caught": 30},
        {"caught": 41},
    ],
)
def test_less_rejected_or_handed_over_or_more_found_speaks_for_a_model(better):
    found = checked(**better)
    assert found.pays
    assert advice(found) == ""
    assert "watch.py" in next_commands(Path("line3.pth"), found)[0]


@pytest.mark.parametrize("worse", [{}, {"caught": 33}, {"rejected": 1}])
def test_else_the_model_before_is_to_be_kept(worse):
    found = checked(**worse)
    assert not found.pays
    assert advice(found).startswith("Keep the model before")
    assert f"(40 of 50, the adapted one {worse.get('caught', 40)})" in advice(found)
    (command,) = next_commands(Path("line3.pth"), found)
    assert "explain.py" in command
