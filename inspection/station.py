"""An inline station: inspects each photograph that arrives in a folder, once it is complete."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import tell
from common.text import printable
from imaging.reading import UnreadableImageError, read_file
from inspection.arrivals import Folder, Signature, signature
from inspection.options import BATCH_SIZE
from inspection.predictor import Prediction, Predictor
from inspection.recording import record_of
from traceability.log import InspectionLog

QUIET_S = 0.02  # a writer pauses for less
GIVE_UP_S = 2.0  # after so long without a change, an unreadable file stays one


@dataclass
class PendingFile:
    """A file that may not be complete yet."""

    signature: Signature
    since: float  # monotonic time at which this signature was first seen
    tried: bool = False  # and found unreadable


@dataclass(frozen=True)
class StationResult:
    """A file and its decision."""

    file: str
    prediction: Prediction
    waited_ms: float | None  # from the file's completion to the recorded decision, if it is there


class Station:
    """Inspects what arrives in a folder, each content of a file once."""

    def __init__(
        self, predictor: Predictor, folder: Path, log: InspectionLog, station: str, lot: str
    ):
        self.predictor, self.log = predictor, log
        self.station, self.lot = station, lot
        self.folder = Folder(folder.resolve())
        self._seen: dict[str, Signature] = {}  # files that are done with
        self._waiting: dict[str, PendingFile] = {}

    def tick(self) -> list[StationResult]:
        """Look once; returns what was inspected and recorded, at most a batch."""
        now = time.monotonic()
        for path, found in self.folder.arrivals():
            if self._seen.get(path) != found and path not in self._waiting:
                self._waiting[path] = PendingFile(found, now)
        if len(self._seen) > 2 * len(self.folder) + BATCH_SIZE:  # many were taken away
            self._seen = {path: s for path, s in self._seen.items() if path in self.folder}
        ready = [path for path in list(self._waiting) if self._is_quiet(path, now)]
        return self._inspect(ready[:BATCH_SIZE])

    def _is_quiet(self, path: str, now: float) -> bool:
        """Whether a waiting file is worth a look now; by our clock, as a server has its own."""
        waiting = self._waiting[path]
        try:
            found = signature(os.stat(path))
        except OSError as error:
            self._drop(path, error.strerror)
            return False
        if found != waiting.signature:
            self._waiting[path] = waiting = PendingFile(found, now)
        return now - waiting.since >= (GIVE_UP_S if waiting.tried else QUIET_S)

    def _inspect(self, paths: Sequence[str]) -> list[StationResult]:
        contents = {path: self._content(path) for path in paths}
        contents = {path: data for path, data in contents.items() if data is not None}
        predictions = self.predictor.predict(list(contents.values()))
        done = []
        for path, prediction in zip(contents, predictions, strict=True):
            waiting = self._waiting[path]
            if prediction.status == "error" and not waiting.tried:
                waiting.tried = True  # perhaps not complete
                continue
            done.append((path, prediction))
        own = (self.predictor.sha256, self.station, self.lot)
        self.log.append([record_of(printable(Path(path)), p, *own) for path, p in done])
        return [self._finish(path, prediction) for path, prediction in done]

    def _content(self, path: str) -> bytes | Path | None:
        """The bytes of a file, unless it is being changed or they have been inspected before.

        The path itself of a file that is there and cannot be read: the predictor will say why.
        """
        try:
            data = read_file(Path(path))
            if signature(os.stat(path)) != self._waiting[path].signature:
                return None  # still being written
        except (UnreadableImageError, OSError) as error:
            if os.path.exists(path):
                return Path(path)
            self._drop(path, str(error))
            return None
        if self._was_inspected(path, hashlib.sha256(data).hexdigest()):
            self._seen[path] = self._waiting.pop(path).signature
            return None
        return data

    def _was_inspected(self, path: str, sha256: str) -> bool:
        """Whether this content was recorded under this name, or under one it was moved from."""
        name = printable(Path(path))
        return any(file == name or not os.path.exists(file) for file in self.log.files_with(sha256))

    def _finish(self, path: str, prediction: Prediction) -> StationResult:
        self._seen[path] = self._waiting.pop(path).signature
        try:
            status = os.stat(path)
            waited_ms = (time.time() - max(status.st_mtime, status.st_ctime)) * 1000
        except OSError:  # taken away meanwhile, by what waited for the decision
            waited_ms = None
        return StationResult(path, prediction, waited_ms)

    def _drop(self, path: str, reason: str) -> None:
        del self._waiting[path]
        self._seen.pop(path, None)
        tell(f"note: not inspected: {printable(Path(path))}: {reason}")
