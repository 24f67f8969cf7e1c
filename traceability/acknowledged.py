"""The last record of a log that was acknowledged, noted beside it: a tripwire for a lost end.

From the log alone it cannot be seen that its last records are missing: when SQLite's -wal file was
removed after a crash, for example, or an older copy was put in the log's place. The note is not
flushed to the disk, so that it costs next to nothing; after a power cut it may lag behind the log,
never run ahead of it. Whoever can remove the log's end on purpose can remove the note too: against
that only a head helps which is kept elsewhere.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from common.errors import UserError
from traceability.schema import TABLES

Holds = Callable[[str, int, str], bool]  # whether a table has this hash at this number
MOST_BYTES = 1000


class Acknowledged:
    """The note beside a log, which only ever moves forward, whoever writes."""

    def __init__(self, log: Path):
        real = log.resolve()
        self.path = real.with_name(f"{real.name}.last")

    def read(self) -> dict[str, tuple[int, str]]:
        """Number and hash of the last row of each table; empty where nothing was noted.

        Raises:
            OSError, ValueError: it cannot be read, or is no such note.
        """
        try:
            return _parsed(self.path.read_bytes())
        except FileNotFoundError:
            return {}

    def note(self, table: str, number: int, digest: str, holds: Holds) -> None:
        """Note a row that is on the disk; what prevents it costs the note alone.

        A note that the log contradicts stays as it is, until a person has seen to it.
        """
        with suppress(OSError, ValueError, UserError):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor)  # until it is closed
                known = _parsed(os.read(descriptor, MOST_BYTES))
                if known.get(table, (0, ""))[0] >= number:
                    return
                if all(holds(name, *row) for name, row in known.items()):
                    text = json.dumps(known | {table: (number, digest)}) + "\n"
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, text.encode())  # never shorter than what it replaces
            finally:
                os.close(descriptor)

    def problems(self, holds: Holds) -> list[str]:
        """What was acknowledged and is not in the log."""
        try:
            known = self.read()
        except (OSError, ValueError) as error:
            return [f"{self.path.name}, the note of its last record, cannot be read: {error}"]
        return [
            f"row {number} of {table} was acknowledged and is missing: the end was lost, or this "
            f"is another log or an older copy; if that is intended, remove {self.path.name}"
            for table, (number, digest) in known.items()
            if not holds(table, number, digest)
        ]


def _parsed(data: bytes) -> dict[str, tuple[int, str]]:
    text = data.strip(b"\0 \n")  # a power cut may leave zeros
    found = json.loads(text) if text else {}
    rows = {}
    for table, row in found.items() if isinstance(found, dict) else [("", None)]:
        match row:
            case [int(number), str(digest)] if table in TABLES and 0 < number < 1 << 63:
                rows[table] = (number, digest)
            case _:
                raise ValueError("it is damaged")
    return rows


def _lock(descriptor: int) -> None:
    with suppress(ImportError):  # not on Windows
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
