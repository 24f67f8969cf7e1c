"""Days, hours and shifts as a plant's clock shows them; the log itself has times in UTC."""

import argparse
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

SHIFTS = ("06:00", "14:00", "22:00")  # when they begin


@dataclass(frozen=True)
class Clock:
    """A time zone, and when shifts begin there, as HH:MM in order."""

    zone: tzinfo = UTC
    shifts: tuple[str, ...] = SHIFTS

    @property
    def zone_name(self) -> str:
        return str(self.zone)

    def local(self, time: str) -> datetime | None:
        """A time of the log on this clock; None where a damaged log holds no time."""
        return _local(self.zone, time)

    def text(self, time: str) -> str:
        """A time of the log as it is written on this clock: '2026-11-24T11:00:00'."""
        found = self.local(time)
        return found.isoformat(timespec="seconds")[:19] if found else time

    def minute(self, time: str) -> str:
        """'2026-11-24 11:00'."""
        return self.text(time)[:16].replace("T", " ")

    def day(self, time: str) -> str:
        """'2026-11-24'."""
        return self.text(time)[:10]

    def hour(self, time: str) -> str:
        """'2026-11-24 11 h'; '02 h B' is the second hour of that name when summer time ends."""
        found = self.local(time)
        return f"{found:%Y-%m-%d %H} h{' B' * found.fold}" if found else time

    def shift(self, time: str) -> str:
        """'2026-11-24 22:00': a shift by its beginning, and so after midnight by the day before."""
        found = self.local(time)
        if found is None:
            return time[:10]
        place = bisect_right(self.shifts, f"{found:%H:%M}") - 1
        day = found.date() - timedelta(days=place < 0)  # place -1: the last shift of that day
        return f"{day} {self.shifts[place]}"

    def named_by(self, by: str) -> Callable[[str], str]:
        """How a time is named by day, hour or shift."""
        return {"day": self.day, "hour": self.hour, "shift": self.shift}[by]


@lru_cache(maxsize=200_000)  # the minutes of a log come again and again
def _local(zone: tzinfo, time: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(time)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(zone)
    except (ValueError, OverflowError):
        return None


def add_clock_arguments(parser: argparse.ArgumentParser, zone: str = "UTC, as in the log") -> None:
    """Options for the time zone and the shifts.

    Args:
        zone: what is taken by default, in words.
    """
    parser.add_argument(
        "--time-zone", type=time_zone, metavar="NAME",
        help=f"of days, hours and shifts, such as Europe/Berlin; default: {zone}",
    )  # fmt: skip
    parser.add_argument(
        "--shifts", type=shift_start, nargs="+", default=list(SHIFTS), metavar="HH:MM",
        help="when shifts begin; one that goes over midnight belongs to the day it began. "
        f"Default: {' '.join(SHIFTS)}",
    )  # fmt: skip


def clock_of(zone: tzinfo | None, shifts: list[str]) -> Clock:
    """The clock of these options; UTC where no zone is named."""
    return Clock(zone or UTC, tuple(sorted(set(shifts))))


def time_zone(text: str) -> tzinfo:
    """A time zone by its name, for argparse."""
    if text == "UTC":
        return UTC  # also where a machine has no list of zones
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, LookupError):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time zone that this machine knows; names are such as Europe/Berlin "
            "(pip install tzdata brings the list of them)"
        ) from None


def shift_start(text: str) -> str:
    """A time of day, for argparse: '6:00' becomes '06:00'. The log is counted in quarters."""
    if not re.fullmatch(r"([01]?\d|2[0-3]):(00|15|30|45)", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time of day such as 06:00, on a quarter of an hour"
        )
    return text.rjust(5, "0")
