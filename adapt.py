"""Fit a trained model to a new line by a few photographs of good parts.

    python adapt.py line3_good/ --out line3.pth                   ten good parts, two minutes
    python adapt.py line3_good/ --defects line3_bad/ --out line3.pth
    python adapt.py line3_good/ --threshold-only --out line3.pth   the network stays as it is
    python adapt.py line3_good/ --old casting_data/train --out line3.pth

Take five to fifty photographs of good parts of the new line, best of ten different parts, as its
camera will take them. Synthetic defects are drawn on them, and the network, its decision and its
gate are fitted; the model before stays as it is. Writes --out, which predict, watch, serve, app,
export and explain take like any other checkpoint, and beside it line3.adaptation.html and
line3.adaptation.json: good parts judged by models that have not seen them, from which size on drawn
defects are found, what so few parts certify, and the hottest places of good parts.

With --old, a folder of labelled photographs of the line before (a folder a class), half of its
castings are learned again and the other half tell what was forgotten. Without, the adapted model
is for the new line alone. Some two minutes on two cores; Ctrl-C leaves everything as it was.
"""

import argparse
import json
from pathlib import Path

from common.arguments import script_parser
from common.errors import EXIT_OK, run_script
from common.files import CHECKPOINTS, check_suffix, output_file
from common.text import printable
from imaging.finding import PATHS_HELP


def build_parser() -> argparse.ArgumentParser:
    """The options of adapt.py."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("paths", nargs="+", metavar="GOOD", help=f"photographs of good parts: {PATHS_HELP}")
    add(
        "--defects",
        nargs="+",
        default=[],
        metavar="PATH",
        help="photographs of defective parts, if any",
    )
    add("--checkpoint", type=Path, metavar="FILE", help="the model to adapt; default: the latest")
    add("--old", type=Path, metavar="FOLDER", help="labelled photographs of the line before")
    add("--threshold-only", action="store_true", help="move the decision, leave the network")
    add("--out", type=Path, default=CHECKPOINTS / "adapted.pth", metavar="FILE",
        help="default: checkpoints/adapted.pth")  # fmt: skip
    add("--device", help="cuda, cpu; default: CUDA when there is one")
    return parser


def run(args: argparse.Namespace) -> None:
    """Adapt, write the checkpoint and its page, and say what it is worth."""
    # PyTorch takes seconds to import: what is wrong with the command line has been said by now
    from adaptation.run import adapt, write
    from model import find_checkpoint

    parent = find_checkpoint(args.checkpoint)
    with output_file(args.out, parent):  # the model before stays as it is
        adapted = adapt(
            args.paths, parent, args.defects, args.old, args.threshold_only, args.device
        )
        print_result(args.out, write(args.out, adapted), adapted.figures)


def print_result(out: Path, sha256: str, found) -> None:
    """What an adaptation is worth, and what to do next; `found`: its figures."""
    from adaptation.report import next_commands, report_path
    from metrics.decisions import format_rate
    from metrics.exact import certificate_text

    print(f"before   rejects {format_rate(found.rejected_before)} of these photographs")
    if found.held_out:
        print(f"now      {format_rate(found.held_out['photographs'])}, parts not seen before")
    if found.certificate:
        print(f"         {certificate_text(found.certificate)}")
    page = printable(report_path(out, "html"))
    print(f"-> {printable(out)}, and {page}: read it before you rely on the model")
    print("next:")
    for command in next_commands(out):
        print(f"  {command}")
    print(json.dumps({"out": printable(out), "model": sha256[:12]} | found.headline()))


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    check_suffix("--out", args.out, ".pth")
    run(args)
    return EXIT_OK


if __name__ == "__main__":
    run_script(main)
