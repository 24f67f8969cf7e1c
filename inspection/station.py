"""An inline station: inspects each photograph that arrives in a folder, once it is complete.

Each file that comes is a new part, whatever its content: a camera that delivers the same picture
twice has to be noticed, not believed. None are a file that is moved within the folder while the
station runs, one that is only touched, and, after a restart, one that the log holds under this
station, name and content. A content that the log holds under a name that has gone is a new part
then: a frozen camera leaves the same.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import tell
from common.text import printable
from imaging.photographs import why_not_by_content
from imaging.reading import UnreadableImageError, read_file
from inspection.arrivals import Folder, KnownFile, Signature, generation, signature
from inspection.frozen import FrozenCamera
from inspection.options import BATCH_SIZE
from inspection.origin import SIDECAR_SUFFIX, Origin, Origins
from inspection.predictor import Prediction, Predictor
from inspection.recording import record_of
from traceability.log import InspectionLog, Record
from traceability.search import last_pictures
from traceability.subgroups import RUN

QUIET_S = 0.02  # a writer pauses for less
GIVE_UP_S = 2.0  # after so long without a change, an unreadable file stays one
SIDECAR_S = 2.0  # so long a photograph waits for its side-car, when there shall be one
MOVING_S = 5.0  # a file that is moved is gone from its old place and there in the new one by then


@dataclass
class PendingFile:
    """A file that may not be complete yet."""

    signature: Signature
    since: float  # monotonic time at which this signature was first seen
    unseen: bool  # nobody saw it come: it may have been inspected before a restart
    generation: int = 0  # see arrivals.generation
    tried: bool = False  # and found unreadable
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True)
class StationResult:
    """A file and its recorded decision."""

    number: int  # of the inspection in the log
    file: str
    prediction: Prediction
    waited_ms: float | None  # from the file's completion to the recorded decision, if it is there


@dataclass(frozen=True)
class Judged:
    """A file with its decision, before that is in the log."""

    path: str
    prediction: Prediction
    record: Record


class Station:
    """Inspects what arrives in a folder, each file once."""

    def __init__(
        self, predictor: Predictor, folder: Path, log: InspectionLog, station: str, origins: Origins
    ):
        self.predictor, self.log = predictor, log
        self.station, self.origins = station, origins
        self.folder = Folder(folder.resolve(), [SIDECAR_SUFFIX] if origins.sidecars else [])
        self.camera = FrozenCamera(last_pictures(log, station))
        self._seen: dict[str, KnownFile] = {}  # files that are done with
        self._departed: dict[int, tuple[KnownFile, float]] = {}  # of those; by inode, and when
        self._waiting: dict[str, PendingFile] = {}
        self._judged: list[Judged] = []  # and not recorded yet

    def tick(self) -> list[StationResult]:
        """Look once; returns what was inspected and recorded, at most a batch.

        Raises:
            LogUnavailableError: nothing can be recorded just now. No part is lost by that: the
                next look begins with what is judged already.
            OSError: the folder is away.
        """
        if self._judged:
            return self._record()
        now = time.monotonic()
        for path, found, unseen in self.folder.arrivals():
            done = self._seen.get(path)
            if (done is None or done.signature != found) and path not in self._waiting:
                self._waiting[path] = PendingFile(found, now, unseen)
        self._note_departures(now)
        ready = [
            path
            for path in list(self._waiting)
            if self._is_quiet(path, now) and self._is_known(path, now)
        ]
        return self._inspect(ready[:BATCH_SIZE])

    def _note_departures(self, now: float) -> None:
        """Files that have gone: for a moment each may come back under another name."""
        for path in self.folder.departures():
            if done := self._seen.pop(path, None):
                self._departed[done.signature[0]] = (done, now)
        self._departed = {
            inode: (done, gone)
            for inode, (done, gone) in self._departed.items()
            if now - gone < MOVING_S
        }

    def _is_quiet(self, path: str, now: float) -> bool:
        """Whether a waiting file is worth a look now; by our clock, as a server has its own."""
        waiting = self._waiting[path]
        moved, _ = self._departed.get(waiting.signature[0], (None, 0.0))
        if moved and moved.is_moved_to(path, waiting.signature):
            waiting.generation = moved.generation
            self._done_with(path)
            return False
        try:
            found = signature(os.stat(path))
        except OSError as error:
            self._drop(path, error.strerror)
            return False
        if found != waiting.signature:
            self._waiting[path] = waiting = PendingFile(found, now, waiting.unseen)
        return now - waiting.since >= (GIVE_UP_S if waiting.tried else QUIET_S)

    def _is_known(self, path: str, now: float) -> bool:
        """Whether lot and serial number are known; what is not by then stays empty."""
        waiting = self._waiting[path]
        waiting.origin = self.origins.of(Path(path))
        return waiting.origin.is_final or now - waiting.since >= SIDECAR_S

    def _inspect(self, paths: Sequence[str]) -> list[StationResult]:
        contents = {path: self._content(path) for path in paths}
        contents = {path: data for path, data in contents.items() if data is not None}
        predictions = self.predictor.predict(list(contents.values()))
        for path, prediction in zip(contents, predictions, strict=True):
            waiting = self._waiting[path]
            if prediction.status == "error" and not waiting.tried:
                waiting.tried = True  # perhaps not complete
                continue
            self._judged.append(self._judge(path, prediction))
        return self._record()

    def _judge(self, path: str, prediction: Prediction) -> Judged:
        """What is to be recorded; an alarm when the camera has frozen."""
        prediction = self.camera.judged(prediction)
        if self.camera.has_just_frozen:
            tell(
                f"alarm: the same picture {RUN} times in a row, last {printable(Path(path))}: is "
                "the camera frozen? nothing is judged until another picture comes"
            )
        origin = self._waiting[path].origin
        if origin.note:
            tell(f"note: {printable(Path(path))}: {origin.note}; inspected all the same")
        own = (self.predictor.sha256, self.station, origin.lot, origin.serial)
        return Judged(path, prediction, record_of(printable(Path(path)), prediction, *own))

    def _record(self) -> list[StationResult]:
        """Record what is judged; only then it is done with."""
        # A log that was away for a moment may hold them all the same
        known = [self.log.number_of(one.record) for one in self._judged]
        pairs = list(zip(self._judged, known, strict=True))
        added = iter(self.log.append([one.record for one, number in pairs if number is None]))
        self._judged = []
        return [self._finish(number or next(added), one) for one, number in pairs]

    def _content(self, path: str) -> bytes | Path | None:
        """The bytes of a file, unless it is being changed, drawn by us or inspected before.

        The path itself of a file that is there and cannot be read: the predictor will say why.
        """
        try:
            data = read_file(Path(path))
            if signature(os.stat(path)) != self._waiting[path].signature:
                return None  # still being written
        except (UnreadableImageError, OSError) as error:
            if not os.path.exists(path):
                self._drop(path, str(error))
                return None
            data, sha256 = Path(path), ""
        else:
            if reason := why_not_by_content(data):
                name = os.path.basename(path)
                self.folder.note_left_out(os.path.dirname(path), reason, name)
                self._done_with(path)
                return None
            sha256 = hashlib.sha256(data).hexdigest()
        self._waiting[path].generation = generation(path)
        if self._was_inspected(path, sha256):
            self._done_with(path)
            return None
        return data

    def _was_inspected(self, path: str, sha256: str) -> bool:
        """Whether this is no new part: touched only, or recorded here before a restart."""
        waiting, done = self._waiting[path], self._seen.get(path)
        known = done.is_touched_as(path, waiting.signature) if done else waiting.unseen
        return known and self.log.has_file(self.station, printable(Path(path)), sha256)

    def _done_with(self, path: str) -> None:
        waiting = self._waiting.pop(path)
        done = KnownFile(waiting.signature, waiting.generation)
        if os.path.exists(path):
            self._seen[path] = done
        else:  # moved or taken away meanwhile, by what waited for the decision
            self._departed[done.signature[0]] = (done, time.monotonic())

    def _finish(self, number: int, judged: Judged) -> StationResult:
        self._done_with(judged.path)
        try:
            status = os.stat(judged.path)
            waited_ms = (time.time() - max(status.st_mtime, status.st_ctime)) * 1000
        except OSError:  # moved or taken away
            waited_ms = None
        return StationResult(number, judged.path, judged.prediction, waited_ms)

    def _drop(self, path: str, reason: str) -> None:
        del self._waiting[path]
        self._seen.pop(path, None)
        tell(f"note: not inspected: {printable(Path(path))}: {reason}")
