"""The folder of models: which one is in use, which were before it, and why each was taken.

    current.pth      the model in use; who watches this file takes up what replaces it
    ID.pth           each model that was in use, by the first 12 digits of its SHA-256
    ID.adaptation.*  how it came about
    candidate.pth    the one that was refused last, beside its report
    history.jsonl    a line for each change and each refusal, the oldest first

A change writes the model under its own name, then the history, then current.pth, each of them whole
or not at all. What current.pth holds is what counts: a kill just before it is replaced leaves a
line without effect, and the next change notes what it found in use.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import EXIT_FAILURE, UserError
from common.files import LOCK, locked, sha256_of_file, usable_folder, write_atomic
from traceability.log import now

DEFAULT_MODELS = Path("models")
FOUND, PROMOTED, ROLLED_BACK, REFUSED = "found", "promoted", "rolled back", "refused"
ID_DIGITS = 12
REPORTS = (".adaptation.json", ".adaptation.html")


@dataclass(frozen=True)
class Event:
    """A line of the history.

    `before` is the model that was in use until then: of a promoted or a refused one its parent.
    `comparison` is that of the two, as adaptation/promotion.py makes it; None for other events.
    """

    time: str  # UTC
    event: str
    sha256: str
    before: str
    comparison: dict | None = None


def line_of_models(events: Iterable[Event]) -> list[str]:
    """SHA-256 of the models in use one after the other, the present one last; no way back is left.

    Whatever is in use again ends the line there: after a step back nothing of the step remains.
    """
    line: list[str] = []
    for event in events:
        if event.event == REFUSED:
            continue
        if event.sha256 in line:
            del line[line.index(event.sha256) + 1 :]
        else:
            line.append(event.sha256)
    return line


class Models:
    """A folder of models; see above. It need not exist yet."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.current = self.folder / "current.pth"
        self.candidate = self.folder / "candidate.pth"
        self._history = self.folder / "history.jsonl"

    def kept(self, sha256: str) -> Path:
        """Where a model lies under its own name."""
        return self.folder / f"{sha256[:ID_DIGITS]}.pth"

    def in_use(self, argument: Path | None = None) -> Path | None:
        """The model in use: current.pth, where there is one, else what was named, if anything.

        Raises:
            UserError: another one was named.
        """
        if not self.current.is_file():
            return argument
        named = argument and argument.is_file() and sha256_of_file(argument)
        if argument and named != sha256_of_file(self.current):
            raise UserError(
                f"{self.current} is the model in use, not --checkpoint {argument}: leave the "
                "option out, or name another folder with --models"
            )
        return self.current

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the folder in the block, which makes it if need be.

        Raises:
            UserError: somebody does, or it takes no files.
        """
        usable_folder(self.folder)
        message = f"another run is changing {self.folder}; wait for it"
        try:
            with locked(self.folder / LOCK, message):
                yield
        finally:
            with suppress(OSError):  # it goes if nothing came into it
                self.folder.rmdir()

    def history(self) -> list[Event]:
        """All lines, the oldest first; [] without a history.

        Raises:
            UserError: it is damaged.
        """
        try:
            text = self._history.read_text(encoding="utf-8")
            events = [Event(**json.loads(line)) for line in text.splitlines()]
            if not all(isinstance(v, str) for e in events for v in (e.time, e.sha256, e.before)):
                raise ValueError("a line without texts")
            return events
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self._history} is not a history of models: {error}") from error

    def events(self, in_use: str) -> list[Event]:
        """The history, and that this model is in use, should its end say otherwise."""
        events = self.history()
        line = line_of_models(events)
        if line[-1:] == [in_use]:
            return events
        return [*events, Event(now(), FOUND, in_use, line[-1] if line else "")]

    def promote(self, parent: Path, before: str, comparison: dict) -> str:
        """Put the candidate into the place of the model in use; returns its SHA-256.

        Args:
            parent: the model in use, wherever it lies; `before` is its SHA-256.

        Raises:
            UserError: it was replaced since.
        """
        if sha256_of_file(parent) != before:
            raise UserError(f"{parent} was replaced meanwhile; run this again", EXIT_FAILURE)
        self._keep(parent)
        data = self.candidate.read_bytes()
        sha256 = self._keep(self.candidate)
        for suffix in REPORTS:
            report = self.candidate.with_suffix(suffix)
            if report.is_file():
                write_atomic(self.kept(sha256).with_suffix(suffix), report.read_bytes())
        self._change(before, Event(now(), PROMOTED, sha256, before, comparison), data)
        for suffix in (".pth", ".json", *REPORTS):
            self.candidate.with_suffix(suffix).unlink(missing_ok=True)
        return sha256

    def refuse(self, parent: str, comparison: dict) -> str:
        """Note that the candidate was not taken; it stays for inspection. Returns its SHA-256."""
        sha256 = sha256_of_file(self.candidate)
        event = Event(now(), REFUSED, sha256, parent, comparison)
        self._write_history([*self.history(), event])
        return sha256

    def roll_back(self) -> tuple[str, str]:
        """Put the model before into its place again; SHA-256 of the one in use until now and of it.

        Raises:
            UserError: there is none, or it is not what it was.
        """
        if not self.current.is_file():
            raise UserError(f"no model is in use in {self.folder}: there is no {self.current.name}")
        present = sha256_of_file(self.current)
        line = line_of_models(self.events(present))
        if len(line) < 2:
            raise UserError(f"{self.folder} knows of no model before {present[:ID_DIGITS]}")
        wanted = line[-2]
        data = self._bytes_of(wanted)
        self._keep(self.current)
        self._change(present, Event(now(), ROLLED_BACK, wanted, present), data)
        return present, wanted

    def _bytes_of(self, sha256: str) -> bytes:
        path = self.kept(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}", EXIT_FAILURE) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(f"{path} is not what it was when it was in use", EXIT_FAILURE)
        return data

    def _keep(self, path: Path) -> str:
        """Lay a model down under its own name; returns its SHA-256."""
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.kept(sha256)
        if not (target.is_file() and sha256_of_file(target) == sha256):
            write_atomic(target, data)
        return sha256

    def _change(self, before: str, event: Event, data: bytes) -> None:
        """The history first: to lose what is in use would be worse than a line without effect."""
        self._write_history([*self.events(before), event])
        write_atomic(self.current, data)

    def _write_history(self, events: Sequence[Event]) -> None:
        lines = [json.dumps({k: v for k, v in asdict(e).items() if v is not None}) for e in events]
        write_atomic(self._history, "".join(f"{line}\n" for line in lines))
