"""Export a checkpoint as one ONNX file for the edge, and prove that it decides as PyTorch does.

    python export.py                          model.onnx, 32-bit
    python export.py --int8                   model-int8.onnx: a quarter of the bytes, faster
    python export.py --checkpoint checkpoints/best.pth --out line3.onnx

The graph takes resized grey bytes, uint8 (N, S, S), and gives logits (N, C) and the calibrated
defect probability (N,); scaling, normalisation and channels are inside, so that no client can get
them wrong. Its metadata hold all else that a verdict depends on: examples/edge_infer.py reads them.
INT8 is calibrated on training images, equally many of each casting.

The gate: on the validation part of the checkpoint's own split, 32-bit logits differ by at most
0.001 and decide every image alike; INT8 misses no defect that PyTorch catches, and newly rejects at
most 1 % of the good parts. Else no file is written and the exit code is 3. Without the images that
the checkpoint was trained on, rendered castings take their place, and the file says gate=synthetic.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.files import (
    EXIT_GATE,
    EXIT_OK,
    UserError,
    count_of,
    is_defect,
    require_packages,
    run_script,
    script_parser,
    sha256_of_file,
    usable_folder,
    write_atomic,
)
from dataset.batches import open_store
from dataset.listing import ImageRow, data_name, find_data, list_images
from evaluation.held_out import rebuild_split
from model import (
    Checkpoint,
    class_probabilities,
    defect_probability,
    find_checkpoint,
    load_checkpoint,
)
from inspection.onnx_graph import quantised, to_onnx, with_metadata
from inspection.engines import INPUT, LOGITS, PROBABILITY, OnnxNetwork, adds_without_saturation
from inspection.predictor import torch_network

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
CALIBRATION_IMAGES = 400
LOGIT_TOLERANCE = 1e-3
NEW_FALSE_ALARMS = 0.01  # of the good parts, by INT8
BATCH_SIZES = (32, 3, 1)  # all images in the first, the first 32 also in the others


# --- the images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """What a model is calibrated and gated on."""

    calibration: np.ndarray  # uint8 (N, S, S)
    validation: np.ndarray  # uint8 (M, S, S)
    is_defect: np.ndarray  # bool (M,)
    gate: str  # 'validation', or 'synthetic' for rendered castings


def images_for(checkpoint: Checkpoint, path: Path, data: str | None) -> Images:
    """Training and validation images of the checkpoint's split, else rendered castings.

    Raises:
        UserError: `data` was named and is not what the checkpoint was trained on.
    """
    try:
        root = find_data(data, download=False)
        rows = rebuild_split(root, checkpoint, path)
    except UserError as error:
        if data:
            raise
        print(
            f"note: {error}; calibrating and gating on rendered castings instead",
            file=sys.stderr,
        )
        return rendered_images(checkpoint)
    store = open_store(root, rows, checkpoint.image_size_px)
    training = equally([row if row.split == "train" else None for row in rows], CALIBRATION_IMAGES)
    held_out = [i for i, row in enumerate(rows) if row.split == "val"]
    return Images(
        store[training],
        store[held_out],
        np.array([is_defect(rows[i].label) for i in held_out]),
        "synthetic" if data_name(root).startswith("synthetic") else "validation",
    )


def equally(rows: Sequence[ImageRow | None], count: int) -> list[int]:
    """Indices of `count` rows, equally many of each casting where it has them; None is left out."""
    random = np.random.default_rng(0)
    by_casting: dict[str, list[int]] = {}
    for index in random.permutation(len(rows)).tolist():
        if (row := rows[index]) is not None:
            by_casting.setdefault(row.casting or row.path, []).append(index)
    chosen: list[int] = []
    while len(chosen) < count and any(by_casting.values()):
        for images in by_casting.values():
            if images and len(chosen) < count:
                chosen.append(images.pop())
    return sorted(chosen)


def rendered_images(checkpoint: Checkpoint) -> Images:
    """Rendered castings: copies for calibration, castings of their own for the gate."""
    from rendering.data_set import RenderOptions, render_dataset

    options = RenderOptions(castings=100, copies=4, unseen_castings=100, unseen_copies=2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        render_dataset(root, options)
        rows, _ = list_images(root, parts=("train", "test", "unseen"))
        rows = [ImageRow(row.path, row.label, row.split, sha256="-") for row in rows]
        store = open_store(root, rows, checkpoint.image_size_px, cache=False)
        known = [i for i, row in enumerate(rows) if row.split != "unseen"]
        unseen = [i for i, row in enumerate(rows) if row.split == "unseen"]
        labels = np.array([is_defect(rows[i].label) for i in unseen])
        return Images(store[known], store[unseen], labels, "synthetic")


# --- the gate ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parity:
    """How an exported model differs from PyTorch on the gate's images."""

    images: int
    good: int
    caught: int  # defects that PyTorch rejects
    passed: int  # good parts that it passes
    max_logit_difference: float
    other_decisions: int
    new_missed: int
    new_false_alarms: int

    def failure(self, precision: str) -> str | None:
        """Why the gate stays shut, or None."""
        if not np.isfinite(self.max_logit_difference):
            return "logits are no finite numbers"
        if precision == "int8":
            if self.new_missed:
                return f"INT8 misses {count_of(self.new_missed, 'defect')} that PyTorch catches"
            if self.new_false_alarms > NEW_FALSE_ALARMS * self.good:
                return (
                    f"INT8 rejects {self.new_false_alarms} of {self.good} good parts that "
                    f"PyTorch passes, {NEW_FALSE_ALARMS:.0%} are allowed"
                )
        elif self.max_logit_difference > LOGIT_TOLERANCE or self.other_decisions:
            return (
                f"logits differ by {self.max_logit_difference:.1e}, {LOGIT_TOLERANCE:g} is allowed,"
                f" and {count_of(self.other_decisions, 'decision')}"
            )
        return None


@torch.inference_mode()
def compare(checkpoint: Checkpoint, exported: OnnxNetwork, images: Images) -> Parity:
    """Both engines on the gate's images; an image counts that any batch size decides otherwise."""
    names, defect = checkpoint.class_names, images.is_defect
    pictures = torch.from_numpy(images.validation)
    plain = torch_network(checkpoint, torch.device("cpu"))(pictures)
    probabilities = class_probabilities(plain, names, checkpoint.temperature)
    rejected = defect_probability(probabilities, names).double().numpy() >= checkpoint.threshold
    differences, other = [], np.zeros(len(defect), bool)
    for size in BATCH_SIZES:
        some = pictures if size == BATCH_SIZES[0] else pictures[: BATCH_SIZES[0]]
        for start in range(0, len(some), size):
            batch = slice(start, min(start + size, len(some)))
            logits, prob = exported.session.run([LOGITS, PROBABILITY], {INPUT: some[batch].numpy()})
            differences.append(np.abs(plain[batch].numpy() - logits).max())
            # Written so that no number at all is never the same decision
            rejects = ~(prob.astype(float) < checkpoint.threshold)
            other[batch] |= (rejects != rejected[batch]) | ~np.isfinite(prob)
    return Parity(
        images=len(defect),
        good=int((~defect).sum()),
        caught=int((defect & rejected).sum()),
        passed=int((~defect & ~rejected).sum()),
        max_logit_difference=float(np.max(differences)),
        other_decisions=int(other.sum()),
        new_missed=int((defect & rejected & other).sum()),
        new_false_alarms=int((~defect & ~rejected & other).sum()),
    )


# --- the command line ----------------------------------------------------------------------------


def metadata(
    checkpoint: Checkpoint, sha256: str, precision: str, reduce_range: bool, gate: str
) -> dict[str, str]:
    """What a client needs to know, as text; `checkpoint` is everything but the weights."""
    description = checkpoint.description()
    return {
        "class_names": json.dumps(checkpoint.class_names),
        "image_size_px": str(checkpoint.image_size_px),
        "threshold": repr(checkpoint.threshold),
        "temperature": repr(checkpoint.temperature),
        "checkpoint_sha256": sha256,
        "precision": precision,
        "reduce_range": str(int(reduce_range)),
        "gate": gate,
        "checkpoint": json.dumps(description),
    }


def exported(
    checkpoint: Checkpoint, sha256: str, precision: str, calibration: np.ndarray, gate: str
) -> bytes:
    """The ONNX file's bytes, 'fp32', or 'int8' calibrated on images uint8 (N, S, S)."""
    model, reduce_range = to_onnx(checkpoint), False
    if precision == "int8":
        reduce_range = not adds_without_saturation()
        model = quantised(model, calibration, reduce_range, checkpoint.class_names)
    return with_metadata(model, metadata(checkpoint, sha256, precision, reduce_range, gate))


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the latest")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: model.onnx, with --int8 model-int8.onnx"
    )
    parser.add_argument("--int8", action="store_true", help="8-bit weights and activations")
    parser.add_argument("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    args = parser.parse_args(argv)
    precision = "int8" if args.int8 else "fp32"
    out = args.out or Path("model-int8.onnx" if args.int8 else "model.onnx")
    if out.suffix != ".onnx":
        raise UserError(f"--out {out} must end in .onnx")
    require_packages(*PACKAGES)
    usable_folder(out.parent)
    path = find_checkpoint(args.checkpoint)
    checkpoint = load_checkpoint(path)
    images = images_for(checkpoint, path, args.data)
    sha256 = sha256_of_file(path)
    content = exported(checkpoint, sha256, precision, images.calibration, images.gate)
    parity = gated(content, checkpoint, images, precision)
    write_atomic(out, content)

    megabytes = len(content) / 1e6
    print(f"{path} -> {out}, {precision}, {megabytes:.1f} MB, gate={images.gate}")
    print(
        f"on {count_of(parity.images, 'image')}: largest logit difference "
        f"{parity.max_logit_difference:.1e}, {parity.other_decisions} other decisions "
        f"({parity.new_missed} new missed defects, {parity.new_false_alarms} new false alarms)"
    )
    if not parity.caught or not parity.passed:
        print(
            f"warning: of these images PyTorch catches {count_of(parity.caught, 'defect')} and "
            f"passes {count_of(parity.passed, 'good part')}: the gate says little",
            file=sys.stderr,
        )
    line = {"out": str(out), "precision": precision, "megabytes": round(megabytes, 2)}
    print(json.dumps(line | {"gate": images.gate} | vars(parity)))
    return EXIT_OK


def gated(content: bytes, checkpoint: Checkpoint, images: Images, precision: str) -> Parity:
    """How the model differs from PyTorch.

    Raises:
        UserError: too much (exit code 3).
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        trial.write_bytes(content)
        parity = compare(checkpoint, OnnxNetwork(trial), images)
    if reason := parity.failure(precision):
        raise UserError(f"{reason}; no file written", EXIT_GATE)
    return parity


if __name__ == "__main__":
    run_script(main)
