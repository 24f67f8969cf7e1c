"""Lot and serial number in the name of a photograph: '{lot}_{serial}_*' reads 'A17_S0042_2.jpeg'.

`{lot}` and `{serial}` stand for at least one character each, `*` for any number of them, all else
for itself; the suffix does not count. A field ends where the text behind it first lets the rest
match. So two of `{lot}`, `{serial}` and `*` must have a text between them.
"""

import argparse
import re
from dataclasses import dataclass

FIELDS = ("lot", "serial")
PIECES = re.compile(r"(\{[^{}]*\}|\*)")
EXAMPLE = "for example '{lot}_{serial}_*'"


@dataclass(frozen=True)
class NamePattern:
    """What a person wrote, and what finds the fields."""

    text: str
    expression: re.Pattern

    @property
    def fields(self) -> frozenset[str]:
        """Those of `FIELDS` that it reads."""
        return frozenset(self.expression.groupindex)

    def read(self, stem: str) -> dict[str, str] | None:
        """The fields of a name without its suffix; None when it does not match."""
        found = self.expression.fullmatch(stem)
        return found.groupdict() if found else None


def name_pattern(text: str) -> NamePattern:
    """A pattern from the command line, for argparse."""
    pieces = PIECES.split(text)  # texts, and between each two of them a field or '*'
    fields = [piece[1:-1] for piece in pieces[1::2] if piece != "*"]
    if unknown := [name for name in fields if name not in FIELDS]:
        problem = f"there is no field {{{unknown[0]}}}, only {{lot}} and {{serial}}"
    elif not fields:
        problem = "there is neither {lot} nor {serial} in it"
    elif len(set(fields)) < len(fields):
        problem = "a field may be in it once"
    elif not all(pieces[2:-1:2]):
        problem = "between fields and '*' there must be a text that ends them"
    elif set("/\\{}") & set("".join(pieces[::2])):
        problem = "it is for the name of a file, without folders and other braces"
    else:
        return NamePattern(text, re.compile("".join(map(_expression, pieces)), re.DOTALL))
    raise argparse.ArgumentTypeError(f"{text!r}: {problem}; {EXAMPLE}")


def _expression(piece: str) -> str:
    if piece == "*":
        return ".*?"
    return f"(?P<{piece[1:-1]}>.+?)" if PIECES.fullmatch(piece) else re.escape(piece)
