"""An inline station: judges each photograph that arrives in a folder, as soon as it is complete.

    python watch.py incoming/                                  until Ctrl-C
    python watch.py incoming/ --station line3 --lot A17 --review 0.2 0.8

Every decision is in the log (--log, see records.py) before it is printed. After a restart it goes
on where it stopped: what the log holds is not judged again, what arrived meanwhile is. A file
counts as complete when it has not changed for 20 ms and decodes to its end; one that never does is
recorded as an error after 2 s. Best let the camera write under another suffix, or elsewhere on the
same disk, and rename: then no half-written file is ever looked at. A file that is written anew
under its old name is a new part; one that is moved within the folder is not. Works on network
folders too; keep some 10,000 files in one.
"""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspection.arrivals import Folder, Signature, signature
from common.files import UserError, locked, run_script, script_parser
from imaging.reading import UnreadableImageError, read_file
from inspection.predictor import (
    BATCH_SIZE,
    Prediction,
    Predictor,
    add_inspection_arguments,
    announced_predictor,
    record_of,
)
from traceability.log import InspectionLog, add_log_argument, printable

POLL_S = 0.01
QUIET_S = 0.02  # a writer pauses for less
GIVE_UP_S = 2.0  # after so long without a change, an unreadable file stays one


@dataclass
class Waiting:
    """A file that may not be complete yet."""

    signature: Signature
    since: float  # monotonic time at which this signature was first seen
    tried: bool = False  # and found unreadable


@dataclass(frozen=True)
class Judged:
    """A file and its verdict."""

    file: str
    prediction: Prediction
    waited_ms: float | None  # from the file's completion to the recorded decision, if it is there


class Station:
    """Judges what arrives in a folder, each content of a file once."""

    def __init__(
        self, predictor: Predictor, folder: Path, log: InspectionLog, station: str, lot: str
    ):
        self.predictor, self.log = predictor, log
        self.station, self.lot = station, lot
        self.folder = Folder(folder.resolve())
        self._seen: dict[str, Signature] = {}  # files that are done with
        self._waiting: dict[str, Waiting] = {}

    def tick(self) -> list[Judged]:
        """Look once; returns what was judged and recorded, at most a batch."""
        now = time.monotonic()
        for path, found in self.folder.arrivals():
            if self._seen.get(path) != found and path not in self._waiting:
                self._waiting[path] = Waiting(found, now)
        if len(self._seen) > 2 * len(self.folder) + BATCH_SIZE:  # many were taken away
            self._seen = {path: s for path, s in self._seen.items() if path in self.folder}
        ready = [path for path in list(self._waiting) if self._is_quiet(path, now)]
        return self._judge(ready[:BATCH_SIZE])

    def _is_quiet(self, path: str, now: float) -> bool:
        """Whether a waiting file is worth a look now; by our clock, as a server has its own."""
        waiting = self._waiting[path]
        try:
            found = signature(os.stat(path))
        except OSError as error:
            self._drop(path, error.strerror)
            return False
        if found != waiting.signature:
            self._waiting[path] = waiting = Waiting(found, now)
        return now - waiting.since >= (GIVE_UP_S if waiting.tried else QUIET_S)

    def _judge(self, paths: Sequence[str]) -> list[Judged]:
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
        """The bytes of a file, unless it is being changed or they have been judged before.

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
        if self._was_judged(path, hashlib.sha256(data).hexdigest()):
            self._seen[path] = self._waiting.pop(path).signature
            return None
        return data

    def _was_judged(self, path: str, sha256: str) -> bool:
        """Whether this content was recorded under this name, or under one it was moved from."""
        name = printable(Path(path))
        return any(file == name or not os.path.exists(file) for file in self.log.files_with(sha256))

    def _finish(self, path: str, prediction: Prediction) -> Judged:
        self._seen[path] = self._waiting.pop(path).signature
        try:
            status = os.stat(path)
            waited_ms = (time.time() - max(status.st_mtime, status.st_ctime)) * 1000
        except OSError:  # taken away meanwhile, by what waited for the decision
            waited_ms = None
        return Judged(path, prediction, waited_ms)

    def _drop(self, path: str, reason: str) -> None:
        del self._waiting[path]
        self._seen.pop(path, None)
        print(f"note: not judged: {printable(Path(path))}: {reason}", file=sys.stderr)


def run(station: Station) -> None:
    """Watch until interrupted; print each decision, and a summary at the end."""
    counts, waits_ms, away = Counter(), [], False
    backlog = True
    try:
        while True:
            try:
                found = station.tick()
                if away:
                    print("the folder is back", file=sys.stderr)
                away = False
            except OSError as error:  # a network folder may go and come again
                if not away:
                    print(f"warning: {error}; waiting for the folder", file=sys.stderr)
                found, away = [], True
            for one in found:
                counts[one.prediction.decision or "error"] += 1
                print(line(one), flush=True)
                if one.waited_ms is not None and not backlog:
                    waits_ms.append(one.waited_ms)
            backlog = backlog and bool(found)
            time.sleep(1.0 if away else POLL_S)
    finally:
        print(summary(counts, waits_ms), flush=True)


def line(judged: Judged) -> str:
    """'defect  0.974     31 ms  part.jpeg'."""
    p = judged.prediction
    number = "     " if p.prob_defect is None else f"{p.prob_defect:.3f}"
    reason = f": {p.error}" if p.error else ""
    decision = p.decision or "error"
    name = printable(Path(judged.file))
    waited = " " * 10 if judged.waited_ms is None else f"{judged.waited_ms:7.0f} ms"
    return f"{decision:6s}  {number}  {waited}  {name}{reason}"


def summary(counts: Counter, waits_ms: Sequence[float]) -> str:
    """What was decided, and how long parts waited that came while the station was idle."""
    text = (
        ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "nothing judged"
    )
    if not waits_ms:
        return text
    middle, high = np.percentile(waits_ms, [50, 95])
    return f"{text}; from file to decision {middle:.0f} ms, p95 {high:.0f} ms"


def build_parser() -> argparse.ArgumentParser:
    """The options of watch.py."""
    parser = script_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with all folders below it")
    add_inspection_arguments(parser)
    add_log_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if not args.folder.is_dir():
        raise UserError(f"no such folder: {args.folder}")
    predictor = announced_predictor(args).warm_up()
    with InspectionLog(args.log, "create") as log, only_one(args):
        print(f"watching {args.folder}, recording in {args.log}; end with Ctrl-C", flush=True)
        run(Station(predictor, args.folder, log, args.station, args.lot))
    return 0


def only_one(args: argparse.Namespace) -> AbstractContextManager:
    """Refuses a second station for the same folder and log, which would judge everything twice."""
    key = hashlib.sha256(str(args.folder.resolve()).encode("utf-8", "replace")).hexdigest()[:8]
    return locked(
        args.log.with_name(f"{args.log.name}.{key}.lock"),
        f"another watch.py records {args.folder} in {args.log}",
    )


if __name__ == "__main__":
    run_script(main)
