"""Numbers, durations and names as text."""

import os
from pathlib import Path

# What a spreadsheet would take for a formula
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_formula(value: object) -> object:
    """A text that a spreadsheet does not run as a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def count_of(number: int, noun: str) -> str:
    """'1 image', '7,348 images'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def printable(path: Path) -> str:
    """A path with slashes, in characters that any file can hold."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
