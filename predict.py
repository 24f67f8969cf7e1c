"""Inspect photographs: one line an image, whatever its size.

    python predict.py part.jpeg                        one photograph
    python predict.py line3/ line4/ 'old/*.png'        folders, with all below them, and patterns
    find /archive -name '*.jpg' | python predict.py -  a list of files
    python predict.py line3/ --log inspections.db --station line3 --lot A17
    python predict.py line3/ --name-pattern '{lot}_{serial}_*'   A17_S0042_2.jpeg: lot and serial

Preprocessing, classes and decision threshold come from the checkpoint. Prints the verdict of each
of up to twenty images, of more the twenty likeliest defects, and how many were decided how. Writes
to --out one line an image:
`path,sha256,status,prob_defect,decision,threshold,model,latency_ms,error,lot,serial`, and with
--log a record that cannot be changed unnoticed (see records.py). The decision is ok, defect or
review: with --review, or when the part is unlike all that the model was trained on (`error` says
so). What is no sound photograph of the part gets status `not_judged`, a file that cannot be read
`error`; neither has a decision, and the exit code is 4. A run cut short leaves what it has in
inspections.partial.csv.
"""

import argparse
import heapq
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from common.arguments import batch_size, script_parser
from common.csv_dialects import DIALECTS, add_csv_dialect_argument
from common.errors import EXIT_OK, EXIT_UNREADABLE, UserError, run_script
from common.files import CsvFile, check_suffix, output_file
from common.progress import load_pytorch
from common.text import chance, printable
from imaging.finding import PATHS_HELP, find_images
from inspection.options import (
    BATCH_SIZE,
    OUTCOMES,
    add_inspection_arguments,
    add_origin_arguments,
    checked_band,
)
from traceability.log import InspectionLog, log_file

if TYPE_CHECKING:
    from inspection.predictor import Prediction

TABLES = (".csv", ".tsv", ".xlsx")
LISTED = 20  # images at most, with a line each on the terminal


def build_parser() -> argparse.ArgumentParser:
    """The options of predict.py."""
    parser = script_parser(__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help=PATHS_HELP)
    add_inspection_arguments(parser)
    add_origin_arguments(parser)
    parser.add_argument("--batch-size", type=batch_size, default=BATCH_SIZE, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("inspections.csv"), metavar="FILE")
    add_csv_dialect_argument(parser)
    parser.add_argument(
        "--log", type=log_file, metavar="FILE", help="also record every decision in this SQLite log"
    )
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for options that contradict each other."""
    check_suffix("--out", args.out, ".csv")
    if tables := [name for name in args.paths if Path(name).suffix.lower() in TABLES]:
        raise UserError(f"{tables[0]} is a table, no photograph; a list of files is read from -")
    if args.log is None and args.station:
        raise UserError("--station goes into the log: name one, --log inspections.db")


def print_summary(counts: Counter, latencies_ms: Sequence[float], seconds: float) -> None:
    """What was decided, and how fast."""
    import numpy as np

    parts = len(latencies_ms)
    for name, word in OUTCOMES.items():
        if counts[name] or name in ("ok", "defect"):
            print(f"{word:12s}{counts[name]:9,d}  {counts[name] / parts:6.1%}")
    middle, high = np.percentile(latencies_ms, [50, 95])
    print(
        f"{'parts':12s}{parts:9,d}  in {seconds:.1f} s, {parts / seconds:.0f} parts/s; work for "
        f"one {middle:.1f} ms, p95 {high:.1f} ms"
    )


def part_line(path: Path, prediction: "Prediction", limits: Sequence[float]) -> str:
    """'defect      0.97  line3/part.jpeg', and why a person is to decide."""
    reason = f": {prediction.error}" if prediction.error else ""
    number = chance(prediction.prob_defect, *limits)
    return printable(f"{OUTCOMES[prediction.outcome]:10s}{number:>6s}  {printable(path)}{reason}")


def tell_part(
    path: Path, prediction: "Prediction", note: str, *, listed: bool, limits: Sequence[float]
) -> None:
    """The verdict of one part, if parts are `listed`.

    What is wrong with a part is told of each, on standard error. `limits`: of the review band.
    """
    name, word = printable(path), OUTCOMES[prediction.outcome]
    if note:
        tqdm.write(printable(f"note: {name}: {note}"), sys.stderr)
    if not prediction.decision:
        tqdm.write(printable(f"{word}: {name}: {prediction.error}"), sys.stderr)
    elif listed:
        tqdm.write(part_line(path, prediction, limits))


def likeliest_defects(parts: Iterable[tuple[Path, "Prediction"]]) -> list:
    """Of the parts that are no good ones, those with the highest defect probability."""
    doubtful = [(path, p) for path, p in parts if p.decision not in ("", "ok")]
    return heapq.nlargest(LISTED, doubtful, key=lambda part: part[1].prob_defect)


def print_likeliest(parts: Sequence[tuple[Path, "Prediction"]], limits: Sequence[float]) -> None:
    """A line each, where there are some."""
    if parts:
        print(f"likeliest defects, at most {LISTED}:")
    for path, prediction in parts:
        print(part_line(path, prediction, limits))


def inspect(args: argparse.Namespace, paths: Sequence[Path]) -> int:
    """Write --out and --log, and say what was decided; returns the exit code."""
    checked_band(args.review)
    load_pytorch(args.threads)
    from inspection.model_file import announced_predictor
    from inspection.origin import Origins
    from inspection.predictor import inspect_files
    from inspection.recording import INSPECTION_COLUMNS, inspection_row, record_of

    origins = Origins.of_options(args)
    predictor = announced_predictor(args)
    shown = {"listed": len(paths) <= LISTED, "limits": args.review or ()}
    started, counts, latencies_ms, worst = time.perf_counter(), Counter(), [], []
    with ExitStack() as stack:
        log = stack.enter_context(InspectionLog(args.log, "create")) if args.log else None
        partial = args.out.with_suffix(f".partial{args.out.suffix}")
        columns = [*INSPECTION_COLUMNS, "lot", "serial"]
        dialect = DIALECTS[args.csv_dialect]
        table = stack.enter_context(CsvFile(args.out, columns, partial, dialect))
        for batch in inspect_files(predictor, paths, args.batch_size):
            parts = [(path, prediction, origins.of(path)) for path, prediction in batch]
            if log:  # before anybody hears of the decision
                own = (predictor.sha256, args.station)
                log.append([record_of(printable(f), p, *own, o.lot, o.serial) for f, p, o in parts])
            for path, prediction, origin in parts:
                row = inspection_row(printable(path), prediction, predictor.model_id)
                table.write([*row, origin.lot, origin.serial])
                counts[prediction.outcome] += 1
                latencies_ms.append(prediction.latency_ms)
                tell_part(path, prediction, origin.note, **shown)
            worst = likeliest_defects([*worst, *batch])
    print_summary(counts, latencies_ms, time.perf_counter() - started)
    if not shown["listed"]:
        print_likeliest(worst, shown["limits"])
    print(printable(f"-> {args.out}" + (f" and {args.log}" if args.log else "")))
    line = {name: counts[name] for name in OUTCOMES}
    print(json.dumps(line | {"out": str(args.out), "model": predictor.model_id}))
    return EXIT_UNREADABLE if counts["error"] or counts["not_judged"] else EXIT_OK


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    check_arguments(args)
    paths = find_images(args.paths)
    alike = (path for path in paths if path.name == args.out.name)
    with output_file(args.out, args.log, args.checkpoint, *alike):
        return inspect(args, paths)


if __name__ == "__main__":
    run_script(main)
