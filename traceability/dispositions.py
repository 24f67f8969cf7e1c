"""What persons say about parts, and who finds out that another was faster."""

from dataclasses import dataclass

from common.errors import UserError

# The last word on the photograph of a record, at whichever of its inspections it was spoken
LATEST = """SELECT spoken.verdict, spoken.person, spoken.note, spoken.time, spoken.id
    FROM inspections asked
    JOIN inspections same ON same.id = asked.id
        OR (same.sha256 = asked.sha256 AND asked.sha256 <> '')
    JOIN verdicts spoken ON spoken.inspection_id = same.id
    WHERE asked.id = ? ORDER BY spoken.id DESC LIMIT 1"""


@dataclass(frozen=True)
class Disposition:
    """What a person decided about a part."""

    verdict: str  # 'ok' or 'defect'
    person: str
    note: str
    time: str
    id: int  # its number among all dispositions


class AlreadyDecidedError(UserError):
    """Somebody has spoken on the part, and whoever speaks now has not seen it."""

    def __init__(self, inspection_id: int, last: Disposition):
        self.inspection_id, self.last = inspection_id, last
        super().__init__(
            f"{last.person} has already decided on inspection {inspection_id}: '{last.verdict}' at "
            f"{last.time} (disposition {last.id})"
        )
