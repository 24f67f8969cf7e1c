"""Numbers, durations and names as text."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

# Control characters, what turns the direction of a line or ends it, halves of a character
UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What a spreadsheet would take for a formula
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def escape_formula(value: object) -> object:
    """A text that a spreadsheet does not run as a formula; other values, as numbers, as they are.

    `unescape_formula` gives each text back.
    """
    if not isinstance(value, str) or not value.lstrip("'").startswith(FORMULA_STARTS):
        return value
    return f"'{value}"


def unescape_formula(value: object) -> object:
    """What `escape_formula` was given."""
    escaped = isinstance(value, str) and value[:1] == "'" and escape_formula(value[1:]) == value
    return value[1:] if escaped else value


def csv_cells(values: Iterable) -> list:
    """The cells of a line of CSV: in a spreadsheet none is a formula, and none breaks the line."""
    # Python before 3.13 leaves a lone carriage return unquoted: readers see a line end
    return [
        cell.replace("\r", "\\r") if isinstance(cell, str) else cell
        for cell in map(escape_formula, values)
    ]


def count_of(number: int, noun: str) -> str:
    """'1 image', '7,348 images'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def chance(probability: float, *limits: float) -> str:
    """A probability in two decimals, but never one that looks certain: '0.53', '>0.99', '<0.01'.

    With as many more as it takes to lie on its side of the limits: '0.199' below 0.2.
    """
    if probability >= 0.995:
        return ">0.99"
    if probability < 0.005:
        return "<0.01"
    for decimals in range(2, 7):
        text = f"{probability:.{decimals}f}"
        if all((float(text) < limit) == (probability < limit) for limit in limits):
            break
    return text


def format_duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def printable(value: Path | str) -> str:
    """A path with slashes, or a text, on one line, in characters that any file can hold.

    A terminal obeys none of them: what it would obey is spelt out, as in 'part\\n.png'.
    """
    text = value
    if isinstance(value, Path):
        text = os.fsencode(value.as_posix()).decode("utf-8", "surrogateescape")
    return UNPRINTABLE.sub(_spelt_out, text)


def _spelt_out(found: re.Match) -> str:
    letter = found[0]
    if "\udc80" <= letter <= "\udcff":  # a byte that is no text
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def table_path(text: str) -> str:
    """A path in a person's table as split.csv has it: slashes, no spaces around it, no './'."""
    path = text.strip()
    while path.startswith(("./", ".\\")):
        path = path[2:]
    if "/" not in path:  # else a backslash is a letter of a name
        path = path.replace("\\", "/")
    return path
