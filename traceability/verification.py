"""The chain of hashes through the log, and the walk along it that finds what was tampered with."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from common.progress import ProgressBar
from traceability.schema import TABLES

BEGINNING = "0" * 64  # stands for the hash before the first record's


@dataclass(frozen=True)
class Verification:
    """What was found."""

    records: int
    verdicts: int
    head: str  # the last inspection's hash
    verdicts_head: str
    problems: list[str]


def chained(table: str, previous: str, values: Sequence) -> str:
    """SHA-256 over the hash before and a record's values, its number first, written as JSON."""
    if table == "inspections" and values[-1] == "":  # no serial number: as before there were any
        values = values[:-1]
    text = json.dumps([previous, *values], allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def walk(query: Callable[[str], Iterator[tuple]], heads: Sequence[str]) -> Verification:
    """Both chains from the beginning.

    Args:
        heads: hashes noted earlier; each must still be in a chain, else its end was cut off.
    """
    problems, counts, last = [], {}, {}
    missing = set(heads) - {BEGINNING}
    for table in TABLES:
        count, head = 0, BEGINNING
        (total,) = next(query(f"SELECT count(*) FROM {table}"))
        rows = query(f"SELECT * FROM {table} ORDER BY id")
        for row in ProgressBar(rows, table, total, unit="records", leave=False):
            count += 1
            problem = _problem(table, row, count, head)
            if problem:  # all after it hang on it
                problems.append(problem)
                break
            head = row[-1]
            missing.discard(head)
        counts[table], last[table] = total, head
    if not problems:  # else the walk ended early
        problems += [
            f"no record has the hash {head}: the end was cut off, or this is another log"
            for head in sorted(missing)
        ]
    return Verification(*counts.values(), *last.values(), problems)


def _problem(table: str, row: tuple, number: int, previous: str) -> str | None:
    """What is wrong with the record that should be `number` and follow the hash `previous`."""
    what = {"inspections": "inspection", "verdicts": "disposition"}[table]
    if row[0] != number:
        return f"{what} {number} is missing"
    try:
        sound = row[-2] == previous and row[-1] == chained(table, previous, row[:-2])
    except (TypeError, ValueError):  # values that no record can have
        sound = False
    return None if sound else f"{what} {number} was altered, or one before it removed"
