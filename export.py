"""Export a checkpoint as one ONNX file for the edge, and prove that it decides as PyTorch does.

    python export.py                          model.onnx, 32-bit
    python export.py --int8                   model-int8.onnx: a quarter of the bytes, faster
    python export.py --checkpoint checkpoints/best.pth --out line3.onnx

The graph takes resized grey bytes, uint8 (N, S, S), and gives logits (N, C) and the calibrated
defect probability (N,); scaling, normalisation and channels are inside, so that no client can get
them wrong. Its metadata hold all else that a decision needs: examples/edge_infer.py reads them.
INT8 is calibrated on training images, equally many of each casting.

The gate: on the validation part of the checkpoint's own split, 32-bit logits differ by at most
0.001 and decide every image alike, and so does the gate for photographs; INT8 misses no defect that
PyTorch catches, newly rejects at most 1 % of the good parts, and its gate says otherwise of at most
2 %. Else no file is written and the exit code is 3. Without the images that the checkpoint was
trained on, rendered castings take their place, and the file says gate=synthetic. A checkpoint of
adapt.py is gated on the photographs of its line, with synthetic defects: gate=photographs.
"""

import argparse
import json
import sys
from pathlib import Path

from common.arguments import checkpoint_file, script_parser
from common.errors import EXIT_OK, run_script
from common.files import check_suffix, output_file, write_atomic
from common.packages import EXPORT_PACKAGES, require_packages
from common.progress import load_pytorch
from common.text import count_of
from common.threads import add_threads_argument
from dataset.sources import find_data


def build_parser() -> argparse.ArgumentParser:
    """The options of export.py."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", type=checkpoint_file, metavar="FILE", help="default: the latest")
    add_threads_argument(parser)
    out = "default: model.onnx, with --int8 model-int8.onnx"
    add("--out", type=Path, metavar="FILE", help=out)
    add("--int8", action="store_true", help="8-bit weights and activations")
    add("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    return parser


def print_parity(parity) -> None:
    """How far the file's decisions are PyTorch's, and whether that says much."""
    print(
        f"on {count_of(parity.images, 'image')}: largest logit difference "
        f"{parity.max_logit_difference:.1e}, {parity.other_decisions} other decisions "
        f"({parity.new_missed} new missed defects, {parity.new_false_alarms} new false alarms), "
        f"{parity.other_opinions} other opinions of the photograph gate"
    )
    if not parity.caught or not parity.passed:
        print(
            f"warning: of these images PyTorch catches {count_of(parity.caught, 'defect')} and "
            f"passes {count_of(parity.passed, 'good part')}: the gate says little",
            file=sys.stderr,
        )


def export(args: argparse.Namespace, out: Path) -> None:
    """Write the file, if it decides as PyTorch does, and say how far it does."""
    precision = "int8" if args.int8 else "fp32"
    load_pytorch(args.threads)
    from evaluation.parity import gated, images_for
    from inspection.onnx_graph import exported
    from model import find_checkpoint, load_identified

    path = find_checkpoint(args.checkpoint)
    checkpoint, sha256 = load_identified(path)
    images = images_for(checkpoint, path, args.data)
    content = exported(checkpoint, sha256, precision, images.calibration, images.gate)
    parity = gated(content, checkpoint, images, precision)
    write_atomic(out, content)

    megabytes = len(content) / 1e6
    print(f"{path} -> {out}, {precision}, {megabytes:.1f} MB, gate={images.gate}")
    print_parity(parity)
    line = {"out": str(out), "precision": precision, "megabytes": round(megabytes, 2)}
    print(json.dumps(line | {"gate": images.gate} | vars(parity)))


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    out = args.out or Path("model-int8.onnx" if args.int8 else "model.onnx")
    check_suffix("--out", out, ".onnx")
    if args.data not in (None, "synthetic"):
        find_data(args.data, download=False)
    require_packages(*EXPORT_PACKAGES)
    with output_file(out, args.checkpoint):
        export(args, out)
    return EXIT_OK


if __name__ == "__main__":
    run_script(main)
