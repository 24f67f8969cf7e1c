"""Judge photographs: the one inference path, which test.py and everything else uses too.

    python predict.py part.jpeg                   one photograph
    python predict.py line3/ line4/               folders, with all below them

Images may have any size. Preprocessing, classes and threshold come from the checkpoint. Writes one
line an image to --out: `path,sha256,status,prob_defect,decision,threshold,model,latency_ms,error`.
A file that cannot be read gets status `error`, no decision, and exit code 4 at the end.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from common import (
    EXIT_OK,
    EXIT_UNREADABLE,
    UserError,
    count_of,
    run_script,
    script_parser,
    sha256_of_file,
    usable_folder,
    write_csv,
)
from data import unit_range
from images import IMAGE_SUFFIXES, UnreadableImageError, read_resized, resized
from model import (
    Checkpoint,
    choose_device,
    class_probabilities,
    defect_flags,
    defect_probability,
    find_checkpoint,
    load_checkpoint,
)

COLUMNS = ["path", "sha256", "status", "prob_defect", "decision", "threshold", "model"]
COLUMNS += ["latency_ms", "error"]
BATCH_SIZE = 32

ImageLike = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """The verdict on one image; without one (`decision` empty) `error` says why."""

    status: str  # 'ok' (judged) or 'error'
    decision: str  # 'ok', 'defect', or empty
    prob_defect: float | None
    predicted_class: str
    probabilities: tuple[float, ...]  # in the order of the checkpoint's classes
    threshold: float
    latency_ms: float  # reading this image, and its share of the batch's time in the network
    error: str = ""


class Predictor:
    """A checkpoint ready to judge images."""

    def __init__(self, checkpoint: Checkpoint, model_id: str, device: torch.device):
        self.checkpoint = checkpoint
        self.model_id = model_id  # the first 12 digits of the file's SHA-256
        self.device = device
        self.model = checkpoint.model().to(device)
        self._is_defect = defect_flags(checkpoint.class_names)

    @torch.inference_mode()
    def probabilities(self, grey: Tensor) -> Tensor:
        """Class probabilities (B, C), on the CPU, of resized grey images uint8 (B, S, S)."""
        logits = self.model(unit_range(grey.to(self.device)))
        names, temperature = self.checkpoint.class_names, self.checkpoint.temperature
        probabilities = class_probabilities(logits, names, temperature).cpu()
        if not probabilities.isfinite().all():  # NaN is below any threshold: it would pass as 'ok'
            raise UserError("the network's output is not finite: damaged weights; train again")
        return probabilities

    def judge(self, grey: Tensor, latencies_ms: Sequence[float] | None = None) -> list[Prediction]:
        """Verdicts on resized grey images uint8 (B, S, S); B may be 0.

        The class is the most probable one on the decided side, so that it never contradicts the
        decision, whatever the threshold.
        """
        if not len(grey):
            return []
        started = time.perf_counter()
        probabilities = self.probabilities(grey)
        share_ms = (time.perf_counter() - started) * 1000 / len(grey)
        defect = defect_probability(probabilities, self.checkpoint.class_names)
        rejected = defect >= self.checkpoint.threshold
        other_side = rejected.unsqueeze(1) != self._is_defect
        classes = probabilities.masked_fill(other_side, -1).argmax(dim=1)
        return [
            Prediction(
                status="ok",
                decision="defect" if rejected[i] else "ok",
                prob_defect=float(defect[i]),
                predicted_class=self.checkpoint.class_names[classes[i]],
                probabilities=tuple(probabilities[i].tolist()),
                threshold=self.checkpoint.threshold,
                latency_ms=share_ms + (latencies_ms[i] if latencies_ms else 0.0),
            )
            for i in range(len(grey))
        ]

    def predict(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Verdicts on files, PIL pictures or uint8 arrays (H, W) or (H, W, 3) of any size.

        An image that cannot be read gets status 'error' in its place; nothing is raised for it.
        """
        grey, latencies_ms, problems = [], [], {}
        for index, image in enumerate(images):
            started = time.perf_counter()
            try:
                grey.append(self._prepare(image))
                latencies_ms.append((time.perf_counter() - started) * 1000)
            except UnreadableImageError as error:
                problems[index] = self._failure(str(error), started)
        size = self.checkpoint.image_size_px
        stack = np.stack(grey) if grey else np.empty((0, size, size), np.uint8)
        judged = iter(self.judge(torch.from_numpy(stack), latencies_ms))
        return [problems.get(index) or next(judged) for index in range(len(images))]

    def _prepare(self, image: ImageLike) -> np.ndarray:
        size_px = self.checkpoint.image_size_px
        if isinstance(image, str | Path):
            return read_resized(Path(image), size_px)
        if isinstance(image, np.ndarray):
            grey_or_colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
            if image.dtype != np.uint8 or not grey_or_colour or not image.size:
                raise UnreadableImageError(f"{image.dtype} array {image.shape}: not an 8-bit image")
            image = Image.fromarray(image)
        if not isinstance(image, Image.Image):
            raise UnreadableImageError(f"not an image: {type(image).__name__}")
        try:
            return resized(ImageOps.exif_transpose(image), size_px)
        except OSError as error:  # a picture that Pillow has not decoded yet
            raise UnreadableImageError(str(error)) from error

    def _failure(self, reason: str, started: float) -> Prediction:
        latency_ms = (time.perf_counter() - started) * 1000
        return Prediction(
            "error", "", None, "", (), self.checkpoint.threshold, latency_ms, error=reason
        )


def load_predictor(checkpoint: Path | str | None = None, device: str | None = None) -> Predictor:
    """A predictor from a checkpoint file, by default the one that `find_checkpoint` finds.

    Raises:
        UserError: no checkpoint, an unusable one, or no such device.
    """
    path = find_checkpoint(Path(checkpoint) if checkpoint else None)
    loaded = load_checkpoint(path)
    return Predictor(loaded, sha256_of_file(path)[:12], choose_device(device))


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as they are given, folders with all images below them, each file once.

    Raises:
        UserError: a path does not exist, or no image was found.
    """
    found: dict[Path, None] = {}  # keeps the order
    for path in paths:
        if path.is_dir():
            below = [p for p in sorted(path.rglob("*")) if p.is_file()]
            images = [p for p in below if p.suffix.lower() in IMAGE_SUFFIXES]
            found |= dict.fromkeys(images)
            if len(images) < len(below):
                other = next(p for p in below if p.suffix.lower() not in IMAGE_SUFFIXES)
                count = count_of(len(below) - len(images), "file")
                print(f"note: not judged in {path}: {count}, {other.name} first", file=sys.stderr)
        elif path.exists():
            found[path] = None
        else:
            raise UserError(f"no such file or folder: {path}")
    if not found:
        raise UserError(f"no images in {', '.join(map(str, paths))}")
    return list(found)


def inspect(predictor: Predictor, paths: Sequence[Path]) -> Iterator[tuple[Path, str, Prediction]]:
    """Judge files batch by batch; yields `(path, sha256, prediction)` in the given order."""
    with tqdm(total=len(paths), desc="inspecting", unit="part", disable=None) as bar:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            for path, prediction in zip(batch, predictor.predict(batch), strict=True):
                yield path, _digest(path), prediction
            bar.update(len(batch))


def _digest(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError:
        return ""


def csv_row(path: Path, digest: str, prediction: Prediction, model_id: str) -> list:
    """One line of inspections.csv."""
    judged = prediction.prob_defect is not None
    return [
        path.as_posix(),
        digest,
        prediction.status,
        f"{prediction.prob_defect:.6f}" if judged else "",
        prediction.decision,
        f"{prediction.threshold:.6f}",
        model_id,
        f"{prediction.latency_ms:.1f}",
        prediction.error,
    ]


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image or folder")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the latest")
    parser.add_argument("--out", type=Path, default=Path("inspections.csv"), metavar="FILE")
    parser.add_argument("--device", help="cuda, cpu; default: CUDA when there is one")
    args = parser.parse_args(argv)

    if args.out.is_dir():
        raise UserError(f"--out {args.out} is a folder; name a file, such as inspections.csv")
    usable_folder(args.out.parent)
    paths = find_images(args.paths)
    checkpoint = find_checkpoint(args.checkpoint)
    predictor = load_predictor(checkpoint, args.device)
    print(f"checkpoint {checkpoint} ({predictor.model_id}), trained on {predictor.checkpoint.data}")
    started = time.perf_counter()
    rows, decisions = [], []
    try:
        for path, digest, prediction in inspect(predictor, paths):
            rows.append(csv_row(path, digest, prediction, predictor.model_id))
            decisions.append(prediction.decision or "error")
            if prediction.error:
                print(f"unreadable: {path}: {prediction.error}", file=sys.stderr)
    finally:  # what was judged before an interruption is kept
        if rows:
            write_csv(args.out, COLUMNS, rows)
    seconds = time.perf_counter() - started

    counts = {name: decisions.count(name) for name in ("ok", "defect", "error")}
    print(
        f"{len(paths)} parts in {seconds:.1f} s, {len(paths) / seconds:.0f} parts/s -> {args.out}"
    )
    print(f"ok {counts['ok']}, defect {counts['defect']}, unreadable {counts['error']}")
    print(json.dumps(counts | {"out": str(args.out), "model": predictor.model_id}))
    return EXIT_UNREADABLE if counts["error"] else EXIT_OK


if __name__ == "__main__":
    run_script(main)
