"""A log of made-up numbers: three weeks of three lines, for the pictures of charts and pages.

One lot is scrap, the lamp grows weaker, and persons have decided on what was left to them. No
photograph belongs to these records.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from rendering.options import DEFECT_TYPES
from traceability.log import InspectionLog, Record

LOTS, LOT_TIME = 40, timedelta(hours=12)
SCRAP = 28  # the place of the lot that went wrong
STATIONS = ("line1", "line2", "line3")
PERSONS = ("Huber", "Lind", "Okafor")
REJECTED, OF_SCRAP, FOR_REVIEW = 0.03, 0.24, 0.012
FREQUENCIES = (0.36, 0.08, 0.12, 0.22, 0.14, 0.08)  # of the types of defects
LIGHT_LOST = 9.0  # grey levels, from the first lot to the last


def lot_name(place: int) -> str:
    """'A01' is the first lot."""
    return f"A{place + 1:02d}"


def write_log(path: Path, model: str, brightness: float, end: datetime) -> None:
    """Lot after lot up to this time, always the same numbers.

    Args:
        model: SHA-256 of the model's file.
        brightness: mean grey value of the photographs at the end.
    """
    random = np.random.default_rng(3)
    with InspectionLog(path, "create") as log:
        for place in range(LOTS):
            begin = end - (LOTS - place) * LOT_TIME
            light = brightness + LIGHT_LOST * (1 - (place + 1) / LOTS)
            records = list(lot_records(place, begin, model, light, random))
            numbers = log.append(records)
            for number, record in zip(numbers, records, strict=True):
                if verdict := what_a_person_says(record, random):
                    log.add_disposition(number, verdict, str(random.choice(PERSONS)))


def lot_records(
    place: int, begin: datetime, model: str, light: float, random: np.random.Generator
) -> Iterator[Record]:
    """The parts of a lot, evenly over its time, the lines in turn."""
    lot, parts = lot_name(place), int(random.integers(90, 150))
    rejected = OF_SCRAP if place == SCRAP else REJECTED * random.uniform(0.7, 1.3)
    for part in range(parts):
        decision = str(random.choice(
            ["defect", "review", "ok"], p=[rejected, FOR_REVIEW, 1 - rejected - FOR_REVIEW]
        ))  # fmt: skip
        file = f"{lot}_S{1000 * (place + 1) + part}.jpeg"
        time = (begin + part / parts * LOT_TIME).astimezone(UTC)
        yield Record(
            station=STATIONS[part % 3], lot=lot, file=file, model=model, threshold=0.5,
            sha256=hashlib.sha256(file.encode()).hexdigest(), status="ok", decision=decision,
            prob_defect=probability(decision, random),
            predicted_class=class_of(decision, random),
            brightness=light + random.normal(0, 3), latency_ms=random.uniform(25, 40),
            serial=file.partition("_")[2].removesuffix(".jpeg"),
            time=time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )  # fmt: skip


def probability(decision: str, random: np.random.Generator) -> float:
    """One that leads to this decision between review limits of 0.2 and 0.8."""
    if decision == "review":
        return random.uniform(0.25, 0.75)
    near_0 = random.beta(1, 40)
    return min(0.19, near_0) if decision == "ok" else max(0.81, 1 - near_0)


def class_of(decision: str, random: np.random.Generator) -> str:
    """A type of defect, or 'ok_front'."""
    return "ok_front" if decision == "ok" else str(random.choice(DEFECT_TYPES, p=FREQUENCIES))


def what_a_person_says(record: Record, random: np.random.Generator) -> str:
    """A verdict on each part for review and on some rejected ones; empty on the others."""
    if record.decision == "review":
        return str(random.choice(["ok", "defect"]))
    if record.decision == "defect" and random.random() < 0.2:
        return str(random.choice(["ok", "defect"], p=[0.2, 0.8]))
    return ""
