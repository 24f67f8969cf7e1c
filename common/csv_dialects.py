"""CSV for programs and, with --csv-dialect, for the spreadsheet of a person.

A German Excel takes semicolons between cells and a comma within numbers, and reads umlauts when a
mark at the file's beginning says that they are UTF-8.
"""

import argparse
import csv
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
        self._writer.writerow(csv_cells(columns))

    def write(self, row: Iterable) -> None:
        """Add a row."""
        self._writer.writerow(map(self._cell, csv_cells(row)))
        self.rows += 1

    def _cell(self, value: object) -> object:
        if isinstance(value, float | Decimal) and self._dialect.decimal_point != ".":
            return str(value).replace(".", self._dialect.decimal_point)
        return value


def csv_on_stdout(columns: Iterable[str], dialect: CsvDialect) -> CsvWriter:
    """A table on standard output, in the dialect's characters, whatever the terminal's."""
    sys.stdout.reconfigure(encoding=dialect.encoding, newline="")
    return CsvWriter(sys.stdout, columns, dialect)
