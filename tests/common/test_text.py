"""Names and cells of tables that do nothing to whom they are shown."""

import os
from pathlib import Path

import pytest

from common.text import printable


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
