"""Lot and serial number of a photograph in a folder: from a file beside it, its name, an option.

The file beside `part.jpeg`, its side-car, is `part.json`: {"lot": "A17", "serial": "S0042"}. It may
come a little later than the photograph.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.text import printable
from imaging.reading import open_regular
from inspection.name_pattern import FIELDS, NamePattern
from inspection.recording import plain

SIDECAR_SUFFIX = ".json"
SIDECAR_BYTES = 1 << 16
MAX_LETTERS = 100  # as in the service


@dataclass(frozen=True)
class Origin:
    """What is known of a part besides its photograph."""

    lot: str = ""
    serial: str = ""
    note: str = ""  # why something is not known, for a person
    is_final: bool = True  # False: the side-car is missing or damaged, and may still come


@dataclass(frozen=True)
class Origins:
    """Where lot and serial number come from; what a side-car says goes before a name.

    Args:
        lot: of all photographs, unless something nearer knows better.
    """

    lot: str = ""
    pattern: NamePattern | None = None
    sidecars: bool = False

    @classmethod
    def of_options(cls, args: argparse.Namespace) -> "Origins":
        """Of the command line.

        Raises:
            UserError: its options contradict each other.
        """
        if args.lot and args.name_pattern and "lot" in args.name_pattern.fields:
            raise UserError("--lot and {lot} in --name-pattern contradict each other: leave one")
        return cls(args.lot, args.name_pattern, args.sidecar)

    def of(self, path: Path) -> Origin:
        """Lot and serial number of a photograph; never an error, for no part is lost by this."""
        known, notes, is_final = {"lot": self.lot}, [], True
        if self.pattern:
            read = self.pattern.read(printable(Path(path.stem)))
            if read is None:
                fields = " and ".join(sorted(self.pattern.fields))
                notes.append(f"its name does not match {self.pattern.text}: no {fields} from it")
            known |= {name: tidy(text) for name, text in (read or {}).items()}
        if self.sidecars:
            name = f"{path.stem}{SIDECAR_SUFFIX}"
            try:
                told = sidecar_of(path)
                known |= told
                notes += [] if told else [f"{name} names neither lot nor serial"]
            except (OSError, ValueError, RecursionError) as error:
                is_final = False
                notes.append(f"no side-car {name}{reason_of(error)}")
        return Origin(known["lot"], known.get("serial", ""), "; ".join(notes), is_final)


def sidecar_of(path: Path) -> dict[str, str]:
    """What the side-car of a photograph says of lot and serial number, in any capitals; other
    entries do not count.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it says nothing that can be understood.
    """
    with open(path.with_suffix(SIDECAR_SUFFIX), "rb", opener=open_regular) as file:
        data = file.read(SIDECAR_BYTES + 1)
    if len(data) > SIDECAR_BYTES:
        raise ValueError("more than 64 KB")
    value = json.loads(data.decode("utf-8-sig"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    value = {name.casefold(): entry for name, entry in value.items()}
    for name in FIELDS:
        if isinstance(value.get(name), bool) or not isinstance(value.get(name, ""), str | int):
            raise ValueError(f"{name} is neither a text nor a whole number")
    return {name: tidy(str(value[name])) for name in FIELDS if name in value}


def reason_of(error: Exception) -> str:
    """Why a side-car says nothing, to follow its name; of one that is not there that is all."""
    if isinstance(error, FileNotFoundError):
        return ""
    reason = getattr(error, "strerror", None) or f"it is damaged: {error}"
    return f": {reason}"


def tidy(text: str) -> str:
    """A lot or serial number on one line, not too long."""
    return plain(text)[:MAX_LETTERS]
