"""The gate of an export: does the ONNX file decide as PyTorch does, on held-out images?"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.errors import EXIT_GATE, UserError, tell
from common.labels import is_defect
from common.text import count_of
from dataset.batches import seeded, unit_range
from dataset.listing import ImageRow, list_images
from dataset.sources import data_name, find_data
from dataset.store import open_store
from dataset.synthetic_defects import with_synthetic_defects
from evaluation.held_out import rebuild_split
from imaging.reading import UnreadableImageError, decode_grey, read_file
from inspection.engines import INPUT, OnnxNetwork, outputs_of, torch_network
from metrics.castings import equally
from model import Checkpoint
from networks.classes import class_probabilities, defect_probability

CALIBRATION_IMAGES = 400
LOGIT_TOLERANCE = 1e-3
NEW_FALSE_ALARMS = 0.01  # of the good parts, by INT8
OTHER_OPINIONS = 0.02  # of the images, by INT8: the gate refuses, reviews or passes others
BATCH_SIZES = (32, 3, 1)  # all images in the first, the first 32 also in the others


# --- the images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """What a model is calibrated and gated on."""

    calibration: np.ndarray  # uint8 (N, S, S)
    validation: np.ndarray  # uint8 (M, S, S)
    is_defect: np.ndarray  # bool (M,)
    gate: str  # 'validation', 'photographs' of a new line, or 'synthetic' for rendered castings


def images_for(checkpoint: Checkpoint, path: Path, data: str | None) -> Images:
    """Training and validation images of the checkpoint's split, else rendered castings.

    For an adapted checkpoint the photographs of its line, while they lie where they were.

    Raises:
        UserError: `data` was named and is not what the checkpoint was trained on.
    """
    if checkpoint.adaptation and not data:
        found = photographs_of_the_line(checkpoint)
        if found:
            return found
    try:
        root = find_data(data, download=False)
        rows = rebuild_split(root, checkpoint, path)
    except UserError as error:
        if data:
            raise
        tell(f"note: {error}; calibrating and gating on rendered castings instead")
        return rendered_images(checkpoint)
    store = open_store(root, rows, checkpoint.image_size_px, checkpoint.fit)
    trained_on = [i for i, row in enumerate(rows) if row.split == "train"]
    castings = [rows[i].casting or rows[i].path for i in trained_on]
    training = sorted(trained_on[i] for i in equally(castings, CALIBRATION_IMAGES))
    held_out = [i for i, row in enumerate(rows) if row.split == "val"]
    return Images(
        store[training],
        store[held_out],
        np.array([is_defect(rows[i].label) for i in held_out]),
        "synthetic" if data_name(root).startswith("synthetic") else "validation",
    )


def photographs_of_the_line(checkpoint: Checkpoint) -> Images | None:
    """Those that an adapted checkpoint remembers, the good ones also with synthetic defects.

    None, and a note on stderr, where one of them is missing or another file by now.
    """
    pixels: dict[str, list[np.ndarray]] = {"good": [], "defective": []}
    for kind, found in pixels.items():
        for one in checkpoint.adaptation[kind]:
            path = Path(one["path"])
            try:
                data = read_file(path)
                if hashlib.sha256(data).hexdigest() != one["sha256"]:
                    raise UnreadableImageError("is another file by now")
                found.append(checkpoint.framed(decode_grey(data)))
            except UnreadableImageError as error:
                tell(f"note: {path}, a photograph that the model was adapted by: {error}")
                return None
    good = np.stack(pixels["good"])
    drawn = with_defects(good)
    bad = np.concatenate([drawn, *(one[None] for one in pixels["defective"])])
    validation = np.concatenate([good, bad])
    turned = np.concatenate([np.rot90(validation, quarter, (1, 2)) for quarter in range(1, 4)])
    some = np.random.default_rng(0).permutation(len(turned))[:CALIBRATION_IMAGES]
    is_bad = np.arange(len(validation)) >= len(good)
    return Images(turned[some], validation, is_bad, "photographs")


def with_defects(good: np.ndarray) -> np.ndarray:
    """Those of the images uint8 (N, S, S) on which synthetic defects can be seen, with them."""
    chosen = torch.ones(len(good), dtype=torch.bool)
    drawn, marks = with_synthetic_defects(unit_range(torch.from_numpy(good)), chosen, seeded(0))
    visible = marks.flatten(1).amax(1) > 0
    return (drawn[visible, 0] * 255).round().byte().numpy()


def rendered_images(checkpoint: Checkpoint) -> Images:
    """Rendered castings: copies for calibration, castings of their own for the gate."""
    from rendering.data_set import render_dataset
    from rendering.options import RenderOptions

    options = RenderOptions(castings=100, copies=4, unseen_castings=100, unseen_copies=2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        render_dataset(root, options)
        rows, _ = list_images(root, parts=("train", "test", "unseen"))
        rows = [ImageRow(row.path, row.label, row.split, sha256="-") for row in rows]
        store = open_store(root, rows, checkpoint.image_size_px, checkpoint.fit, cache=False)
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
    other_opinions: int  # of the gate, by the distance from training images

    def failure(self, precision: str) -> str | None:
        """Why the gate stays shut, or None."""
        if not np.isfinite(self.max_logit_difference):
            return "logits are no finite numbers"
        allowed = OTHER_OPINIONS * self.images if precision == "int8" else 0
        if self.other_opinions > allowed:
            return f"its gate says otherwise of {count_of(self.other_opinions, 'image')}"
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
    photos = torch.from_numpy(images.validation)
    plain, distances = torch_network(checkpoint, torch.device("cpu"))(photos)
    probabilities = class_probabilities(plain, names, checkpoint.temperature)
    rejected = defect_probability(probabilities, names).double().numpy() >= checkpoint.threshold
    differences, other = [], np.zeros(len(defect), bool)
    limits, other_opinions = checkpoint.limits, np.zeros(len(defect), bool)
    for size in BATCH_SIZES:
        some = photos if size == BATCH_SIZES[0] else photos[: BATCH_SIZES[0]]
        for start in range(0, len(some), size):
            batch = slice(start, min(start + size, len(some)))
            names = outputs_of(exported.checkpoint)
            logits, prob, *far = exported.session.run(names, {INPUT: some[batch].numpy()})
            if limits:
                both = zip(distances[batch].tolist(), far[0].tolist(), strict=True)
                said = [[limits.opinion_on(d)[0] for d in pair] for pair in both]
                other_opinions[batch] |= [here != there for here, there in said]
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
        other_opinions=int(other_opinions.sum()),
    )


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
