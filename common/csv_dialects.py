"""CSV for programs and, with --csv-dialect, for the spreadsheet of a person.

A German Excel takes semicolons between cells and a comma within numbers, and reads umlauts when a
mark at the file's beginning says that they are UTF-8. It takes a text with a T in it for no time.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TextIO

from common.text import csv_cells


@dataclass(frozen=True)
class CsvDialect:
    """How a table is written."""

    separator: str
    decimal_point: str
    encoding: str


LOG_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z")  # always UTC
TIMES = ("time", "verdict_time", "start")  # columns of them
DIGITS = 6  # significant ones, of numbers for a person
PLAIN = CsvDialect(",", ".", "utf-8")
DIALECTS = {"plain": PLAIN, "excel-de": CsvDialect(";", ",", "utf-8-sig")}


def add_csv_dialect_argument(parser: argparse.ArgumentParser) -> None:
    """The option of what writes tables for people; `DIALECTS` knows what it means."""
    parser.add_argument(
        "--csv-dialect", choices=tuple(DIALECTS), default="plain",
        help="excel-de: semicolons, decimal commas and a mark for a German Excel; default: plain",
    )  # fmt: skip


class CsvWriter:
    """Rows written into a stream; no cell is a formula for a spreadsheet."""

    def __init__(self, stream: TextIO, columns: Iterable[str], dialect: CsvDialect = PLAIN):
        self.rows, self._dialect = 0, dialect
        self._writer = csv.writer(stream, delimiter=dialect.separator, lineterminator="\n")
        self._writer.writerow(map(self._head, csv_cells(columns)))

    def write(self, row: Iterable) -> None:
        """Add a row."""
        self._writer.writerow(map(self._cell, csv_cells(row)))
        self.rows += 1

    def _head(self, name: str) -> str:
        return f"{name} (UTC)" if name in TIMES and self._dialect != PLAIN else name

    def _cell(self, value: object) -> object:
        if self._dialect == PLAIN:
            return value
        if isinstance(value, float):
            value = Decimal(f"{value:.{DIGITS}g}")
        if isinstance(value, Decimal):
            return str(value).replace(".", self._dialect.decimal_point)
        found = LOG_TIME.fullmatch(value) if isinstance(value, str) else None
        return " ".join(found.groups()[:2]) if found else value


def csv_on_stdout(columns: Iterable[str], dialect: CsvDialect) -> CsvWriter:
    """A table on standard output, in the dialect's characters, whatever the terminal's."""
    sys.stdout.reconfigure(encoding=dialect.encoding, newline="")
    return CsvWriter(sys.stdout, columns, dialect)
