"""Fit a trained model to a new line, or to what persons decided on its parts.

    python adapt.py line3_good/ --out line3.pth                   ten good parts, two minutes
    python adapt.py line3_good/ --defects line3_bad/ --out line3.pth
    python adapt.py line3_good/ --threshold-only --out line3.pth   the network stays as it is
    python adapt.py line3_good/ --old casting_data/train --out line3.pth
    python adapt.py --from-log inspections.db --old casting_data/train   verdicts come back
    python adapt.py --rollback                                     the model before, byte for byte

Take five to fifty photographs of good parts of the new line, best of ten different parts, as its
camera will take them. Synthetic defects are drawn on them, and the network, its decision and its
gate are fitted; the model before stays as it is. Writes --out, which predict, watch, serve, app,
export and explain take like any other checkpoint, and beside it line3.adaptation.html and
line3.adaptation.json: good parts judged by models that have not seen them, from which size on drawn
defects are found, what so few parts certify, and the hottest places of good parts.

With --old, a folder of labelled photographs of the line before (a folder a class), half of its
castings are learned again and the other half tell what was forgotten. Without, the adapted model
is for the new line alone. Some two minutes on two cores; Ctrl-C leaves everything as it was.

With --from-log the photographs are those of an inspection log on which persons decided (page, or
records.py verdict), the latest verdict on each. The candidate and the model in use decide the same
parts: verdicts that neither has learned, and the half of --old that no candidate learns. It is
promoted to models/current.pth if it is right on as many parts with a verdict, and if nowhere parts
became wrong beyond chance. Else the exit code is 3, with the reasons, and it is kept as
models/candidate.pth. The model in use is models/current.pth, or until there is one --checkpoint.
The networks that decide verdicts in the candidate's place are tuned as long as it: this takes about
three times as long as good parts alone.
"""

import argparse
import json
from pathlib import Path

from common.arguments import checkpoint_file, device, script_parser
from common.errors import CONTINUED, EXIT_GATE, EXIT_OK, UserError, run_script
from common.files import CHECKPOINTS, check_suffix, output_file, refuse_no_folder
from common.progress import load_pytorch
from common.text import printable
from common.threads import add_threads_argument
from imaging.finding import PATHS_HELP, check_there
from traceability.log import log_file
from traceability.models import DEFAULT_MODELS, ID_DIGITS, Models

DEFAULT_OUT = CHECKPOINTS / "adapted.pth"


def build_parser() -> argparse.ArgumentParser:
    """The options of adapt.py."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="GOOD", help=f"photographs of good parts: {PATHS_HELP}")
    add(
        "--defects",
        nargs="+",
        default=[],
        metavar="PATH",
        help="photographs of defective parts, if any",
    )
    add(
        "--checkpoint",
        type=checkpoint_file,
        metavar="FILE",
        help="the model to adapt; default: the latest",
    )
    add("--old", type=Path, metavar="FOLDER", help="labelled photographs of the line before")
    add("--threshold-only", action="store_true", help="move the decision, leave the network")
    add("--out", type=Path, metavar="FILE", help=f"default: {DEFAULT_OUT.as_posix()}")
    add("--from-log", type=log_file, metavar="LOG", help="the photographs are those with a verdict")
    add("--pictures", type=Path, metavar="FOLDER",
        help="photographs kept by SHA-256; default: LOG_pictures, beside the log")  # fmt: skip
    add("--models", type=Path, metavar="FOLDER",
        help="the model in use, and those before it; default: models/")  # fmt: skip
    add("--rollback", action="store_true", help="take the model before into use again")
    add("--device", type=device, help="cuda, cpu; default: CUDA when there is one")
    add_threads_argument(parser)
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for options that say different things."""
    ways = {"photographs": args.paths, "--from-log": args.from_log, "--rollback": args.rollback}
    named = [name for name, value in ways.items() if value]
    if len(named) != 1:
        raise UserError(
            "name either photographs of good parts, or --from-log, or --rollback; "
            f"named: {' and '.join(named) or 'nothing'}"
        )
    (way,) = named
    made = {"--defects": args.defects, "--out": args.out}
    read = {"--old": args.old, "--checkpoint": args.checkpoint, "--device": args.device}
    kept = {"--pictures": args.pictures}
    foreign = {
        "photographs": kept | {"--models": args.models},
        "--from-log": made,
        "--rollback": made | read | kept | {"--threshold-only": args.threshold_only},
    }
    for name, value in foreign[way].items():
        if value:
            raise UserError(f"{name} does not go with {way}")
    if way == "--from-log" and not args.old:
        raise UserError(
            "--from-log needs --old, labelled photographs of before: without them nothing shows "
            "that a candidate is not worse"
        )


def check_named(args: argparse.Namespace) -> None:
    """Raise UserError for photographs, a folder or a log that are named and not there."""
    if args.out:
        check_suffix("--out", args.out, ".pth")
        refuse_no_folder(args.out.parent)
    check_there([*args.paths, *args.defects])
    if args.old and not args.old.is_dir():
        raise UserError(f"--old: no such folder: {args.old}")
    if args.from_log and not args.from_log.is_file():
        raise UserError(f"--from-log: no such file: {args.from_log}")


def run(args: argparse.Namespace) -> None:
    """Adapt, write the checkpoint and its page, and say what it is worth."""
    load_pytorch(args.threads)
    from adaptation.run import adapt, write
    from model import find_checkpoint

    parent, out = find_checkpoint(args.checkpoint), args.out or DEFAULT_OUT
    with output_file(out, parent):  # the model before stays as it is
        adapted = adapt(
            args.paths, parent, args.defects, args.old, args.threshold_only, args.device
        )
        print_result(out, write(out, adapted), adapted.figures)


def run_from_log(args: argparse.Namespace) -> None:
    """Make a candidate of persons' verdicts, and promote it if it is not worse.

    Raises:
        UserError: it is, with exit code 3; or there is nothing to make one of.
    """
    from adaptation.renewal import renew
    from model import find_checkpoint

    models, options = Models(args.models or DEFAULT_MODELS), (args.threshold_only, args.device)
    with models.changing():
        in_use = find_checkpoint(models.in_use(args.checkpoint))
        found = renew(args.from_log, args.pictures, args.old, models, in_use, *options)
    print_renewal(models, found)
    if not found.promoted:
        kept = f"model {found.parent[:ID_DIGITS]} stays in use, the candidate is {models.candidate}"
        reasons = CONTINUED.join([f"not promoted: {kept}", *found.comparison.reasons])
        raise UserError(reasons, EXIT_GATE)


def print_renewal(models: Models, found) -> None:
    """How model in use and candidate compare, and what became of it; `found`: a Renewal."""
    for group in found.comparison.groups:
        print(f"compared {group.describe()}")
    print(f"-> {printable(found.page)}: read it")
    line = {"model": found.sha256[:ID_DIGITS], "before": found.parent[:ID_DIGITS]}
    if found.promoted:
        print(f"promoted {line['before']} -> {line['model']}: {printable(models.current)}")
        print("stations with this file as --checkpoint take it up; back: adapt.py --rollback")
    print(json.dumps(line | found.comparison.as_dict()), flush=True)


def run_rollback(args: argparse.Namespace) -> None:
    """Take the model before into use again."""
    models = Models(args.models or DEFAULT_MODELS)
    if not models.folder.is_dir():
        raise UserError(f"--models: no such folder: {models.folder}")
    with models.changing():
        before, now = models.roll_back()
    print(f"rolled back {before[:ID_DIGITS]} -> {now[:ID_DIGITS]}: {printable(models.current)}")
    print(json.dumps({"model": now[:ID_DIGITS], "before": before[:ID_DIGITS]}))


def print_result(out: Path, sha256: str, found) -> None:
    """What an adaptation is worth, and what to do next; `found`: its figures."""
    from adaptation.report import advice, next_commands, report_path
    from metrics.decisions import format_rate
    from metrics.exact import certificate_text

    print(f"before   rejects {format_rate(found.rejected_before)} of these photographs")
    if found.held_out:
        print(f"now      {format_rate(found.held_out['photographs'])}, parts not seen before")
    if found.certificate:
        print(f"         {certificate_text(found.certificate)}")
    page = printable(report_path(out, "html"))
    print(f"-> {printable(out)}, and {page}: read it before you rely on the model")
    if text := advice(found):
        print(f"advice   {text}")
    print("next:")
    for command in next_commands(out, found):
        print(f"  {command}")
    print(json.dumps({"out": printable(out), "model": sha256[:12]} | found.headline()))


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    check_arguments(args)
    check_named(args)
    act = run_rollback if args.rollback else run_from_log if args.from_log else run
    act(args)
    return EXIT_OK


if __name__ == "__main__":
    run_script(main)
