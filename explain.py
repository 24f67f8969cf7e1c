"""Show where a decision comes from: the photograph with a heatmap of what speaks for a defect.

    python explain.py part.jpeg --out heatmaps/             heatmaps/part.png
    python explain.py line3/ --out heatmaps/                one a part, and contact_sheet.png
    python explain.py line3/ --out heatmaps/ --arrays       also the maps themselves, part.npy

A map is drawn whatever the decision; for a defect its hottest region is outlined. What is no sound
photograph of the part is not judged and stays as it is (--no-gate judges all). Each .npy is
float32, 0 to 1, and covers the whole image corner to corner: a square whatever its shape, but for
models that keep the sides' ratio. Methods (inspection/heatmap.py has the formulas): cells, the
default of a local network, is the probability that its decision is made of; fused, the default of
all others, multiplies the maps of all four stages, averaged over the eight symmetries of the
square: it points better and takes ten times as long as layercam, of the third stage alone, or as
gradcam, the classical one, of the last.
report.html holds the heatmaps and what was decided in one file, to mail and print.
Exit code 4: some files could not be read, or were not judged.
"""

import argparse
import shlex
import sys
from pathlib import Path

from common.arguments import checkpoint_file, device, probability, script_parser
from common.errors import EXIT_OK, EXIT_UNREADABLE, UserError, run_script, tell
from common.files import output_folder
from common.origin import origin
from common.progress import load_pytorch
from common.text import count_of, printable
from common.threads import add_threads_argument
from imaging.finding import PATHS_HELP, find_images
from inspection.options import HEATMAP_METHODS, NO_GATE_HELP


def build_parser() -> argparse.ArgumentParser:
    """The options of explain.py."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help=PATHS_HELP)
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    add("--arrays", action="store_true", help="also write the maps as .npy")
    add("--method", choices=HEATMAP_METHODS, help="default: cells, else fused")
    add("--checkpoint", type=checkpoint_file, metavar="FILE", help="default: the latest")
    add("--threshold", type=probability, metavar="T", help="default: the model's")
    add("--no-gate", action="store_true", help=NO_GATE_HELP)
    add("--device", type=device, help="cuda, cpu; default: CUDA when there is one")
    add_threads_argument(parser)
    return parser


def explain(args: argparse.Namespace, command: str) -> int:
    """Write what was asked for of each file; returns the exit code."""
    paths = find_images(args.paths)
    inside = [path for path in paths if path.resolve().parent == args.out.resolve()]
    if inside:
        raise UserError(f"--out {args.out} holds {inside[0].name}, which is to be explained")

    load_pytorch(args.threads)
    from inspection.explained_files import Outcome, explain_files
    from inspection.explained_report import facts_of, write_report
    from inspection.heatmap import Explainer
    from inspection.predictor import load_predictor
    from model import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    predictor = load_predictor(checkpoint, args.device, args.threshold, gate=not args.no_gate)
    facts = facts_of(checkpoint, predictor)
    if warning := predictor.without_gate:
        tell(f"warning: {warning}")
    explainer = Explainer(predictor.checkpoint, predictor.device)
    method, outcome = args.method or explainer.methods[0], Outcome()
    tiles = explain_files(args, predictor, explainer, paths, outcome)
    sheets = write_tiles(args.out, tiles, len(paths), f"method {method}", predictor.model_id)
    found = outcome.text()
    facts = {"found": f"{found}; {count_of(len(paths), 'photograph')} in all"} | facts
    facts["method"] = method
    if method == explainer.methods[0]:
        facts["how to read them"] = explainer.legend
    write_report(args.out, outcome, facts, predictor, sheets, command)
    print(f"{found}; in {printable(args.out)}, model {predictor.model_id}")
    return EXIT_UNREADABLE if outcome.unreadable or outcome.refused else EXIT_OK


def write_tiles(out: Path, tiles, photographs: int, method: str, model_id: str) -> int:
    """The contact sheets of several photographs, how many; of one none is needed."""
    from imaging.overlays import write_sheets
    from inspection.explanation import CONTACT_SHEET

    if photographs == 1:
        list(tiles)  # to have its heatmap written
        return 0
    title, path = f"What speaks for a defect, {method}", out / f"{CONTACT_SHEET}.png"
    return write_sheets(path, tiles, title, origin(f"model: {model_id}"), photographs)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(argv)
    if args.checkpoint and args.checkpoint.suffix == ".onnx":
        raise UserError("heatmaps need gradients: name the checkpoint, not its ONNX file")
    with output_folder(args.out):
        return explain(args, shlex.join(["python", "explain.py", *argv]))


if __name__ == "__main__":
    run_script(main)
