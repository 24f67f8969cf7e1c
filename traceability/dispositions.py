"""What persons say about parts, and who finds out that another was faster."""

from dataclasses import dataclass

from common.errors import UserError
from traceability.schema import WITHDRAWN

PHOTOGRAPH_ASKED = "CASE asked.sha256 WHEN '' THEN asked.id ELSE asked.sha256 END"
# The last word on the photograph of a record, at whichever of its inspections it was spoken
LATEST = f"""SELECT verdict, person, note, standing.time, standing.id
    FROM standing JOIN inspections asked ON photograph = {PHOTOGRAPH_ASKED}
    WHERE asked.id = ? ORDER BY standing.id DESC LIMIT 1"""


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


class NothingToWithdrawError(UserError):
    """The last word on a part is not that of the person who would take it back."""

    def __init__(self, inspection_id: int, person: str, last: Disposition | None):
        found = f"the last word is {last.person}'s, '{last.verdict}'" if last else "it is undecided"
        super().__init__(
            f"{person} has no verdict on inspection {inspection_id} to withdraw: {found}"
        )


def check_may_speak(
    inspection_id: int, verdict: str, person: str, seen: int | None, last: Disposition | None
) -> None:
    """Whether a person's word may follow the last one that stands on the photograph.

    Args:
        seen: as in `InspectionLog.add_disposition`.

    Raises:
        NothingToWithdrawError: the person would take back what is not there, or another's word.
        AlreadyDecidedError: there is a word that the person has not seen.
    """
    if verdict == WITHDRAWN and (last is None or last.person != person):
        raise NothingToWithdrawError(inspection_id, person, last)
    if seen is not None and last is not None and last.id > seen:
        raise AlreadyDecidedError(inspection_id, last)
