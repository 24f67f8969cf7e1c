"""The inspection log: every decision kept in an SQLite file that shows when it was tampered with.

    python records.py verify                     nothing altered, nothing removed?
    python records.py verify --head HASH         nor cut off? HASH: a head noted earlier, elsewhere
    python records.py export --csv log.csv       all records, with a person's disposition
    python records.py export --serial S0042 --csv -     what is known of one part
    python records.py verdict 17 ok --by Huber   a person's disposition of inspection 17
    python records.py verdict 17 withdrawn --by Huber    taken back: undecided again
    python records.py spc --by lot --out spc.png     control charts of the reject rate

predict.py --log and watch.py write it. Records are only ever added, each with a hash over its own
values and the hash before it: to change one unnoticed, all later ones have to be made anew, and the
last hash, the head, becomes another. So note the head from time to time where nobody who can write
the log can change it. Times are UTC; spc takes another --time-zone. Exit code 1: the log is not
intact.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from common.arguments import positive, script_parser
from common.csv_dialects import DIALECTS, add_csv_dialect_argument, csv_on_stdout
from common.errors import EXIT_FAILURE, EXIT_OK, run_script, tell
from common.files import CsvFile, check_suffix, output_file
from common.text import count_of, printable
from inspection.pictures import keep_judged
from traceability.clock import add_clock_arguments, clock_of
from traceability.log import InspectionLog, add_log_argument
from traceability.schema import WITHDRAWN
from traceability.search import EXPORTED, exported
from traceability.subgroups import UNITS, Division
from traceability.verification import BEGINNING

CHOSEN_BY = ("station", "lot", "serial")
STDOUT = Path("-")
MOST_LINES = 20  # of alarms


def run_verify(args: argparse.Namespace) -> int:
    with InspectionLog(args.log) as log:
        found = log.verify(args.head or [])
    for problem in found.problems:
        tell(f"error: {args.log}: {problem}")
    counts = f"{count_of(found.records, 'record')}, {count_of(found.verdicts, 'disposition')}"
    if not found.problems:
        print(f"{args.log}: {counts}, none altered or removed")
        heads = " ".join(h for h in (found.head, found.verdicts_head) if h != BEGINNING)
        print("note elsewhere, to prove later that nothing was cut off:")
        print(f"python records.py verify --head {heads}")
    result = {field.name: getattr(found, field.name) for field in fields(found)}
    print(json.dumps(result | {"intact": not found.problems}))
    return EXIT_FAILURE if found.problems else EXIT_OK


def run_export(args: argparse.Namespace) -> int:
    dialect = DIALECTS[args.csv_dialect]
    wanted = {name: getattr(args, name) for name in CHOSEN_BY}
    if args.csv == STDOUT:  # the table and nothing else
        with InspectionLog(args.log) as log:
            table = csv_on_stdout(EXPORTED, dialect)
            for row in exported(log, **wanted):
                table.write(row)
        return EXIT_OK
    check_suffix("--csv", args.csv, ".csv")
    with output_file(args.csv, args.log), InspectionLog(args.log) as log:
        with CsvFile(args.csv, EXPORTED, dialect=dialect) as table:
            for row in exported(log, **wanted):
                table.write(row)
    print(f"{count_of(table.rows, 'record')} -> {args.csv}")
    return EXIT_OK


def run_disposition(args: argparse.Namespace) -> int:
    with InspectionLog(args.log, "append") as log:
        number = log.add_disposition(args.inspection, args.verdict, args.by, args.note)
        keep_judged(log, args.inspection)
    state = "undecided again" if args.verdict == WITHDRAWN else args.verdict
    by = printable(args.by)
    print(f"disposition {number}: inspection {args.inspection} is {state}, says {by}")
    return EXIT_OK


def run_spc(args: argparse.Namespace) -> int:
    check_suffix("--out", args.out, ".png", ".pdf")
    # Matplotlib and NumPy take a second to import, which no other subcommand needs
    from traceability.alarms import alarms_of
    from traceability.process import analyse_process
    from traceability.process_figures import draw_process
    from traceability.process_tables import figures_of, write_table

    source = str(args.log)
    division = Division(args.by, clock_of(args.time_zone, args.shifts))
    with InspectionLog(args.log) as log:
        process = analyse_process(log.query, division, args.baseline, source)
    alarms = alarms_of(process)
    table = args.out.with_name(f"{args.out.stem}_numbers.csv")
    with output_file(args.out, args.log), output_file(table, args.log):
        draw_process(args.out, process, alarms, args.log.name, args.both_limits)
        write_table(table, process, DIALECTS[args.csv_dialect])
    print_alarms(alarms, args.by)
    for note in process.notes():
        print(printable(note))
    print(f"{process.title(source)}\ncharts in {args.out}, numbers in {table}")
    print(json.dumps(figures_of(process, alarms) | {"out": str(args.out)}))
    return EXIT_OK


def print_alarms(alarms: Sequence, by: str) -> None:
    """A line for each episode, the twenty worst of them."""
    for one in alarms[:MOST_LINES]:
        print(f"{one.kind:11s}  {one.span}: {one.reason}, {one.effect}")
    if len(alarms) > MOST_LINES:
        print(f"... {len(alarms) - MOST_LINES} lesser alarms; the table has all {by}s")
    if not alarms:
        print(f"no {by} stands out")


def build_parser() -> argparse.ArgumentParser:
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="{verify,export,verdict,spc}")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=run)
        add_log_argument(one)
        return one

    verify = command("verify", run_verify, "walk the chain of hashes from the first record")
    verify.add_argument("--head", nargs="+", metavar="HASH", help="must still be in the chain")
    export = command("export", run_export, "all records as CSV, safe to open in a spreadsheet")
    export.add_argument(
        "--csv", type=Path, nargs="?", metavar="FILE", default=Path("log.csv"),
        const=Path("log.csv"), help="default: log.csv; -: standard output",
    )  # fmt: skip
    add_csv_dialect_argument(export)
    for name in CHOSEN_BY:
        export.add_argument(f"--{name}", metavar="TEXT", help=f"only records of this {name}")
    verdict = command("verdict", run_disposition, "add a person's disposition of a part")
    verdict.add_argument("inspection", type=positive, help="its id, as export shows it")
    verdict.add_argument(
        "verdict", choices=("ok", "defect", WITHDRAWN),
        help=f"{WITHDRAWN}: takes back the last word on the part, which must be this person's",
    )  # fmt: skip
    verdict.add_argument("--by", required=True, metavar="NAME", help="the person")
    verdict.add_argument("--note", default="", metavar="TEXT")
    spc = command("spc", run_spc, "control chart of the reject rate (Laney p'), trends, alarms")
    spc.add_argument("--by", choices=UNITS, required=True, help="one point each")
    spc.add_argument(
        "--baseline", nargs=2, metavar=("FROM", "TO"),
        help="the limits come from these lots, days or hours alone, both ends included: names of "
        "lots or other points, days (2026-11-24) or hours (2026-11-24T13); default: all",
    )  # fmt: skip
    add_clock_arguments(spc)
    spc.add_argument(
        "--both-limits", action="store_true", help="also the plain p chart, of binomial limits"
    )
    spc.add_argument("--out", type=Path, default=Path("spc.png"),
                     help=".png, or .pdf to print; default: spc.png")  # fmt: skip
    add_csv_dialect_argument(spc)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return args.run(args)


if __name__ == "__main__":
    run_script(main)
