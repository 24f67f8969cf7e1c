"""The parts behind the points of a control chart."""

from collections.abc import Collection
from dataclasses import dataclass

from traceability.log import InspectionLog
from traceability.subgroups import LOT, PARTS, QUARTER, STATION, Division


@dataclass(frozen=True)
class ListedPart:
    """A part at its first inspection; its outcome is 'ok', 'defect' or, while it waits, 'review'.

    The decision is the model's, empty where it was not asked.
    """

    id: int
    time: str
    station: str
    lot: str
    file: str
    decision: str
    prob_defect: float | None
    outcome: str


def parts_of(log: InspectionLog, division: Division, names: Collection[str]) -> list[ListedPart]:
    """The parts of subgroups: rejects first, then what waits; of each the likeliest defects."""
    rows = log.query(
        f"{PARTS}SELECT {QUARTER}, id, CAST(time AS TEXT), {STATION}, {LOT}, file, decision, "
        "prob_defect, outcome FROM parts ORDER BY outcome = 'defect' DESC, outcome = 'review' "
        "DESC, prob_defect DESC, id"
    )
    found = []
    for quarter, *row in rows:
        part = ListedPart(*row)
        if division.name(part.station, part.lot, quarter) in names:
            found.append(part)
    return found
