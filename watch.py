"""An inline station: inspects each photograph that arrives in a folder, as soon as it is complete.

    python watch.py incoming/                                  until Ctrl-C
    python watch.py incoming/ --station line3 --lot A17 --review 0.2 0.8
    python watch.py incoming/ --name-pattern '{lot}_{serial}_*'    A17_S0042_2.jpeg: lot and serial
    python watch.py incoming/ --sidecar                            the same from part.json
    python watch.py incoming/ --mqtt mqtt://broker/plant/line3     publishes each recorded result

Every decision is in the log (--log, see records.py) before it is printed, with its number there:
records.py verdict wants that. After a restart it goes on where it stopped: what this station has
recorded under the same name is not inspected again, what arrived meanwhile is. While the log takes
nothing (locked, its disk full, moved away) the station says so, waits and loses no part. A file
counts as complete when it has not changed for 20 ms and decodes to its end; one that never does is
recorded as an error after 2 s. Best let the camera write under another suffix, or elsewhere on the
same disk, and rename: then no half-written file is ever looked at. A side-car may come up to 2 s
after its photograph; what is not known by then, or not in a name, stays empty, a note says so, and
the part is inspected all the same. Each file that comes is a new part, also when its picture is an
old one; one that is moved within the folder while this runs is not. From the third equal picture in
a row on nothing is judged: an alarm, for the camera may have frozen. A new model in the file's
place is taken up within a second or two, at SIGHUP at once; one that cannot be used changes
nothing. Works on network folders too; keep at most some 10,000 files in one.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from common.arguments import script_parser
from common.errors import UserError, run_script, tell
from common.files import locked
from common.progress import load_pytorch
from common.text import chance, printable
from inspection.options import add_inspection_arguments, add_origin_arguments, checked_band
from traceability.access import LogUnavailableError
from traceability.log import SHORT_BUSY_S, InspectionLog, add_log_argument, warn_of_losses
from traceability.mqtt import add_mqtt_argument, mqtt_sink

if TYPE_CHECKING:
    from inspection.model_file import ModelFile
    from inspection.station import Station, StationResult

POLL_S, RETRY_S = 0.01, 1.0


def build_parser() -> argparse.ArgumentParser:
    """The options of watch.py."""
    parser = script_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with all folders below it")
    add_inspection_arguments(parser)
    add_origin_arguments(parser)
    add_log_argument(parser)
    add_mqtt_argument(parser)
    return parser


def only_one(args: argparse.Namespace) -> AbstractContextManager:
    """Refuses a second station for the same folder and log, which would inspect all twice."""
    key = hashlib.sha256(str(args.folder.resolve()).encode("utf-8", "replace")).hexdigest()[:8]
    return locked(
        args.log.with_name(f"{args.log.name}.{key}.lock"),
        f"another watch.py records {args.folder} in {args.log}",
    )


def run(station: Station, file: ModelFile | None = None) -> None:
    """Watch until interrupted; print each decision, and a summary at the end.

    Args:
        file: where the station's model comes from, and where another one may lie some day.
    """
    counts, waits_ms, trouble = Counter(), [], ""
    backlog = True
    try:
        while True:
            if file and file.is_due():
                take_up(station, file)
            found, trouble = look(station, trouble)
            for one in found:
                counts[one.prediction.outcome] += 1
                print(line(one), flush=True)
                if one.waited_ms is not None and not backlog:
                    waits_ms.append(one.waited_ms)
            backlog = bool(trouble) or (backlog and bool(found))
            time.sleep(RETRY_S if trouble else POLL_S)
    finally:
        print(summary(counts, waits_ms), flush=True)


def take_up(station: Station, file: ModelFile) -> None:
    """Let the station go on with the model that lies in the file now; parts wait in the folder."""
    from inspection.model_file import change_text

    old = station.predictor
    try:
        station.predictor = file.reload(old)
    except UserError as error:
        tell(f"warning: {error}")
    else:
        tell(change_text(old, station.predictor))


def look(station: Station, trouble: str) -> tuple[Sequence[StationResult], str]:
    """What was inspected, and what prevents it now; says once that it begins, or is over.

    A network folder may go and come again; so may the log, its lock, or room on its disk.
    """
    found, now = (), ""
    try:
        found = station.tick()
    except LogUnavailableError as error:
        now = f"{error}; waiting for the log"
    except OSError as error:
        now = f"{error}; waiting for the folder"
    if now and now != trouble:
        tell(f"warning: {now}")
    if trouble and not now:
        tell(f"the {trouble.rpartition(' ')[2]} is back")
    return found, now


def line(result: StationResult) -> str:
    """'defect       0.97       31 ms     17  part.jpeg': the 17th inspection of the log."""
    p = result.prediction
    number = "     " if p.prob_defect is None else f"{chance(p.prob_defect):>5s}"
    reason = f": {printable(p.error)}" if p.error else ""
    name = printable(Path(result.file))
    waited = " " * 10 if result.waited_ms is None else f"{result.waited_ms:7.0f} ms"
    return f"{p.outcome:10s}  {number}  {waited}  {result.number:5d}  {name}{reason}"


def summary(counts: Counter, waits_ms: Sequence[float]) -> str:
    """What was decided, and how long parts waited that came while the station was idle."""
    import numpy as np

    text = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    text = text or "nothing inspected"
    if not waits_ms:
        return text
    middle, high = np.percentile(waits_ms, [50, 95])
    return f"{text}; from file to decision {middle:.0f} ms, p95 {high:.0f} ms"


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if not args.folder.is_dir():
        raise UserError(f"no such folder: {args.folder}")

    checked_band(args.review)
    load_pytorch(args.threads)
    from inspection.model_file import ModelFile, announce, reload_on_hangup
    from inspection.origin import Origins
    from inspection.station import Station

    origins = Origins.of_options(args)
    file = ModelFile.of(args)
    reload_on_hangup(file)
    predictor = file.load()
    announce(file.path, predictor)
    with (
        mqtt_sink(args.mqtt, tell) as sink,
        InspectionLog(args.log, "create", SHORT_BUSY_S, sink and sink.put) as log,
        only_one(args),
    ):
        warn_of_losses(log)
        places = f"{printable(args.folder)}, recording in {printable(args.log)}"
        print(f"watching {places}; end with Ctrl-C", flush=True)
        run(Station(predictor, args.folder, log, args.station, origins), file)
    return 0


if __name__ == "__main__":
    run_script(main)
