"""Names and cells of tables that do nothing to whom they are shown."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text import chance, csv_cells, escape_formula, printable, unescape_formula


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"part 1.png", "part 1.png"),
        ("größe 部品 1\u202f%.png".encode(), "größe 部品 1\u202f%.png"),
        (b"a\nerror: b\x1b[2J\x7f.png", r"a\nerror: b\x1b[2J\x7f.png"),
        ("gnp\u202e.exe\u2028\x9b2J".encode(), r"gnp\u202e.exe\u2028\x9b2J"),
        (b"\xff\xe6.png", r"\xff\xe6.png"),
    ],
)
def test_a_name_is_one_line_that_no_terminal_obeys(name, shown):
    assert printable(Path(os.fsdecode(name))) == shown
    assert printable(os.fsdecode(name)) == shown
    assert printable(shown) == shown


@given(st.text(alphabet="'=+-@\t\r\nab1", max_size=5))
def test_a_disarmed_text_begins_no_formula_and_comes_back(text):
    (cell,) = csv_cells([text])
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unescape_formula(escape_formula(text)) == text


def test_numbers_stay_numbers():
    assert csv_cells([-1, -0.5, None, True]) == [-1, -0.5, None, True]


def test_no_probability_looks_certain():
    shown = [chance(p) for p in (0, 0.0049, 0.005, 0.5, 0.984, 0.9949, 0.995, 1)]
    assert shown == ["<0.01", "<0.01", "0.01", "0.50", "0.98", "0.99", ">0.99", ">0.99"]
