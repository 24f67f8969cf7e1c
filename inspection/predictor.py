"""Judge photographs: the one inference path, which test.py and everything else uses too.

    python predict.py part.jpeg                        one photograph
    python predict.py line3/ line4/ 'old/*.png'        folders, with all below them, and patterns
    find /archive -name '*.jpg' | python predict.py -  a list of files
    python predict.py line3/ --log inspections.db --station line3 --lot A17

Images may have any size. Preprocessing, classes and threshold come from the checkpoint. Writes one
line an image to --out: `path,sha256,status,prob_defect,decision,threshold,model,latency_ms,error`,
and with --log a record an image that cannot be changed unnoticed (see records.py). The decision is
ok, defect or, with --review, review. A file that cannot be read gets status `error`, no decision,
and exit code 4 at the end. A run cut short leaves what it judged in inspections.partial.csv.
"""

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from common.files import (
    EXIT_OK,
    EXIT_UNREADABLE,
    CsvFile,
    UserError,
    run_script,
    script_parser,
    sha256_of_file,
    usable_folder,
)
from dataset.batches import unit_range
from imaging.finding import PATHS_HELP, find_images
from imaging.reading import (
    UnreadableImageError,
    decode_grey,
    in_threads,
    read_file,
    refuse_large,
    resized,
)
from networks.local import QUARTER_TURNS
from model import (
    Checkpoint,
    choose_device,
    class_probabilities,
    defect_flags,
    defect_probability,
    find_checkpoint,
    load_checkpoint,
)
from inspection.engines import OnnxNetwork
from traceability.log import InspectionLog, Record, printable

COLUMNS = ["path", "sha256", "status", "prob_defect", "decision", "threshold", "model"]
COLUMNS += ["latency_ms", "error"]
DECISIONS = ("ok", "defect", "review")
BATCH_SIZE = 16
PIXELS_AT_ONCE = 800_000  # on a CPU, by measurement: docs/experiments.md, 2026-11-26

ImageLike = str | Path | bytes | Image.Image | np.ndarray
Network = Callable[[Tensor], Tensor]  # resized grey images uint8 (B, S, S) to logits (B, C)


@dataclass(frozen=True)
class Prediction:
    """The verdict on one image; without one (`decision` empty) `error` says why."""

    status: str  # 'ok' (judged) or 'error'
    decision: str  # 'ok', 'defect', 'review', or empty
    prob_defect: float | None
    predicted_class: str
    probabilities: tuple[float, ...]  # in the order of the checkpoint's classes
    threshold: float
    latency_ms: float  # reading this image, and its share of the batch's time in the network
    error: str = ""
    sha256: str = ""  # of the very bytes that were judged; empty for pictures and arrays
    brightness: float | None = None  # mean grey value, 0 to 255


class Predictor:
    """A model ready to judge images.

    Args:
        checkpoint: what the model is; its weights are not looked at.
        network: resized grey images uint8 (B, S, S) to logits (B, C).
        sha256: of the model's file.
        threshold: other than the checkpoint's.
        review: `(low, high)`: parts with low <= P(defect) < high are for a person to decide.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: Network,
        sha256: str,
        device: torch.device,
        threshold: float | None = None,
        review: tuple[float, float] | None = None,
    ):
        self.checkpoint = checkpoint
        self.network = network
        self.sha256 = sha256
        self.device = device
        self.threshold = checkpoint.threshold if threshold is None else threshold
        self.review = review
        self._is_defect = defect_flags(checkpoint.class_names)

    @property
    def model_id(self) -> str:
        """The first 12 digits of the file's SHA-256."""
        return self.sha256[:12]

    def warm_up(self) -> "Predictor":
        """Judge a black picture and return itself: the first is slow, and damaged weights show.

        Raises:
            UserError: the network's output is not finite.
        """
        size = self.checkpoint.image_size_px
        self.judge(torch.zeros((1, size, size), dtype=torch.uint8))
        return self

    @torch.inference_mode()
    def probabilities(self, grey: Tensor) -> Tensor:
        """Class probabilities (B, C), on the CPU, of resized grey images uint8 (B, S, S)."""
        names, temperature = self.checkpoint.class_names, self.checkpoint.temperature
        probabilities = class_probabilities(self.network(grey), names, temperature).cpu()
        if not probabilities.isfinite().all():  # NaN is below any threshold: it would pass as 'ok'
            raise UserError("the network's output is not finite: damaged weights; train again")
        return probabilities

    def decide(self, prob_defect: float) -> str:
        """'review' inside the band, else 'defect' from the threshold on, else 'ok'."""
        if self.review and self.review[0] <= prob_defect < self.review[1]:
            return "review"
        return "defect" if prob_defect >= self.threshold else "ok"

    def judge(self, grey: Tensor, latencies_ms: Sequence[float] | None = None) -> list[Prediction]:
        """Verdicts on resized grey images uint8 (B, S, S); B may be 0.

        The class is the most probable one on the threshold's side, so that it never contradicts
        the decision, whatever the threshold.
        """
        if not len(grey):
            return []
        started = time.perf_counter()
        probabilities = self.probabilities(grey)
        share_ms = (time.perf_counter() - started) * 1000 / len(grey)
        # In double precision: the threshold is, and a part on it must fall on one side everywhere
        defect = defect_probability(probabilities, self.checkpoint.class_names).double()
        # By NumPy: for PyTorch its threads would wake up, wait busily and slow down ONNX
        brightness = grey.cpu().numpy().mean(axis=(1, 2))
        other_side = (defect >= self.threshold).unsqueeze(1) != self._is_defect
        classes = probabilities.masked_fill(other_side, -1).argmax(dim=1)
        return [
            Prediction(
                status="ok",
                decision=self.decide(float(defect[i])),
                prob_defect=float(defect[i]),
                predicted_class=self.checkpoint.class_names[classes[i]],
                probabilities=tuple(probabilities[i].tolist()),
                threshold=self.threshold,
                latency_ms=share_ms + (latencies_ms[i] if latencies_ms else 0.0),
                brightness=float(brightness[i]),
            )
            for i in range(len(grey))
        ]

    def predict(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Verdicts on files, their bytes, PIL pictures or uint8 arrays (H, W) or (H, W, 3).

        An image that cannot be read gets status 'error' in its place; nothing is raised for it.
        """
        prepared = [self._prepare(images[0])] if len(images) == 1 else []
        prepared = prepared or in_threads(self._prepare, images)
        grey = [one.grey for one in prepared if one.grey is not None]
        latencies_ms = [one.latency_ms for one in prepared if one.grey is not None]
        size = self.checkpoint.image_size_px
        stack = np.stack(grey) if grey else np.empty((0, size, size), np.uint8)
        judged = iter(self.judge(torch.from_numpy(stack), latencies_ms))
        return [
            self._failure(one) if one.grey is None else replace(next(judged), sha256=one.sha256)
            for one in prepared
        ]

    def _prepare(self, image: ImageLike) -> "Prepared":
        started = time.perf_counter()
        sha256 = ""
        grey, error = None, ""
        try:
            if isinstance(image, str | Path):
                image = read_file(Path(image))
            if isinstance(image, bytes):
                sha256 = hashlib.sha256(image).hexdigest()
                image = decode_grey(image)
            grey = resized(_picture(image), self.checkpoint.image_size_px)
        except UnreadableImageError as problem:
            error = str(problem)
        except MemoryError:  # this part's problem, not that of all in its batch
            error = "too large for this machine's memory"
        return Prepared(grey, sha256, (time.perf_counter() - started) * 1000, error)

    def _failure(self, prepared: "Prepared") -> Prediction:
        return Prediction(
            "error", "", None, "", (), self.threshold, prepared.latency_ms,
            error=prepared.error, sha256=prepared.sha256,
        )  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """An image on its way into the network: uint8 (S, S), or None and why."""

    grey: np.ndarray | None
    sha256: str
    latency_ms: float
    error: str


def _picture(image: object) -> Image.Image:
    """A picture or array as an upright picture.

    Raises:
        UnreadableImageError: it is neither, or cannot be decoded.
    """
    if isinstance(image, np.ndarray):
        grey_or_colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not grey_or_colour or not image.size:
            raise UnreadableImageError(f"{image.dtype} array {image.shape}: not an 8-bit image")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise UnreadableImageError(f"not an image: {type(image).__name__}")
    refuse_large(image)
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged picture that Pillow has not decoded yet
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


# --- which model ---------------------------------------------------------------------------------


def torch_network(checkpoint: Checkpoint, device: torch.device) -> Network:
    """The checkpoint's network in PyTorch; on a CPU in pieces that stay in its cache.

    On a GPU this process computes with all bits of float32 from now on: rounded to 10 bits (TF32),
    logits were up to 8e-3 beside a CPU's on real parts, in full within 4e-4.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    model = checkpoint.model().to(device)
    turns = QUARTER_TURNS if checkpoint.architecture == "local" else 1
    at_once = max(1, PIXELS_AT_ONCE // (turns * checkpoint.image_size_px**2))

    def network(grey: Tensor) -> Tensor:
        pieces = grey.split(at_once) if device.type == "cpu" else [grey]
        return torch.cat([model(unit_range(piece.to(device))) for piece in pieces])

    return network


def load_predictor(
    checkpoint: Path | str | None = None,
    device: str | None = None,
    engine: str | None = None,
    threshold: float | None = None,
    review: tuple[float, float] | None = None,
) -> Predictor:
    """A predictor from a model's file, by default the one that `find_checkpoint` finds.

    Args:
        checkpoint: a checkpoint of train.py, or an ONNX file of export.py.
        engine: 'torch' or 'onnx'; by default what the file is for. With 'onnx' and a checkpoint,
            the file that was exported from it.

    Raises:
        UserError: no such file, an unusable one, or no such device.
    """
    path = find_model(Path(checkpoint) if checkpoint else None, engine)
    if path.suffix == ".onnx":
        if device not in (None, "cpu"):
            raise UserError(f"--engine onnx runs on the CPU, not on {device}")
        network, place = OnnxNetwork(path), torch.device("cpu")
        loaded = network.checkpoint
    else:
        loaded, place = load_checkpoint(path), choose_device(device)
        network = torch_network(loaded, place)
    return Predictor(loaded, network, sha256_of_file(path), place, threshold, review)


def find_model(checkpoint: Path | None, engine: str | None) -> Path:
    """The model's file: the checkpoint itself or, for ONNX, what was exported from it.

    Raises:
        UserError: there is none.
    """
    path = find_checkpoint(checkpoint)
    if path.suffix == ".onnx":
        if engine == "torch":
            raise UserError(f"{path} is for --engine onnx; name its checkpoint for torch")
        return path
    if engine != "onnx":
        return path
    load_checkpoint(path)  # one that cannot be read is the first thing to say
    wanted = sha256_of_file(path)
    for candidate in (path.with_suffix(".onnx"), Path("model.onnx")):
        if candidate.is_file():
            if OnnxNetwork(candidate).metadata.get("checkpoint_sha256") == wanted:
                return candidate
    raise UserError(f"no ONNX file of {path}; make it with: python export.py --checkpoint {path}")


# --- the command line ----------------------------------------------------------------------------


def add_inspection_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of everything that inspects: which model, its rule, what the log says."""
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="FILE", help="checkpoint or .onnx; default: the latest")
    add("--engine", choices=("torch", "onnx"), help="default: what the file is for")
    add("--device", help="cuda, cpu; default: CUDA when there is one")
    add("--threshold", type=probability, metavar="T", help="default: the checkpoint's")
    add(
        "--review", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="a person decides parts with LOW <= defect probability < HIGH; default: nobody does",
    )  # fmt: skip
    add("--station", default="", metavar="NAME", help="for the log: where the photograph was taken")
    add("--lot", default="", metavar="ID", help="for the log: which lot the parts belong to")


def probability(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1")
    return value


def checked_band(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    """The band of --review.

    Raises:
        UserError: it is no interval of probabilities.
    """
    if bounds and not 0 <= bounds[0] < bounds[1] <= 1:
        raise UserError("--review needs 0 <= LOW < HIGH <= 1")
    return tuple(bounds) if bounds else None


def announced_predictor(args: argparse.Namespace) -> Predictor:
    """The predictor that `add_inspection_arguments` asked for; prints which it is."""
    review = checked_band(args.review)
    path = find_model(args.checkpoint, args.engine)
    predictor = load_predictor(path, args.device, args.engine, args.threshold, review)
    print(f"checkpoint {path} ({predictor.model_id}), trained on {predictor.checkpoint.data}")
    return predictor


def inspect(
    predictor: Predictor, paths: Sequence[Path], batch_size: int = BATCH_SIZE
) -> Iterator[list[tuple[Path, Prediction]]]:
    """Judge files; yields them batch by batch, in the given order."""
    with tqdm(total=len(paths), desc="inspecting", unit="part", disable=None) as bar:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            yield list(zip(batch, predictor.predict(batch), strict=True))
            bar.update(len(batch))


def csv_row(name: str, prediction: Prediction, model_id: str) -> list:
    """One line of inspections.csv."""
    judged = prediction.prob_defect is not None
    return [
        name,
        prediction.sha256,
        prediction.status,
        f"{prediction.prob_defect:.6f}" if judged else "",
        prediction.decision,
        f"{prediction.threshold:.6f}",
        model_id,
        f"{prediction.latency_ms:.1f}",
        prediction.error,
    ]


def record_of(name: str, prediction: Prediction, model: str, station: str, lot: str) -> Record:
    """A prediction as a record of the log."""
    p = prediction
    return Record(
        station, lot, name, p.sha256, p.status, model, p.threshold, p.prob_defect, p.decision,
        p.predicted_class, p.brightness, p.latency_ms, p.error,
    )  # fmt: skip


def print_summary(counts: Counter, latencies_ms: Sequence[float], seconds: float) -> None:
    """What was decided, and how fast."""
    parts = len(latencies_ms)
    for name in (*DECISIONS, "error"):
        if counts[name] or name in ("ok", "defect"):
            word = "unreadable" if name == "error" else name
            print(f"{word:12s}{counts[name]:9,d}  {counts[name] / parts:6.1%}")
    middle, high = np.percentile(latencies_ms, [50, 95])
    print(
        f"{'parts':12s}{parts:9,d}  in {seconds:.1f} s, {parts / seconds:.0f} parts/s; work for "
        f"one {middle:.1f} ms, p95 {high:.1f} ms"
    )


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help=PATHS_HELP)
    add_inspection_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("inspections.csv"), metavar="FILE")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="also record every decision in this SQLite log"
    )
    args = parser.parse_args(argv)
    if args.out.is_dir():
        raise UserError(f"--out {args.out} is a folder; name a file, such as inspections.csv")
    if args.batch_size < 1:
        raise UserError("--batch-size must be at least 1")
    if args.log is None and (args.station or args.lot):
        raise UserError("--station and --lot go into the log: name one, --log inspections.db")
    if args.log and args.log.resolve() == args.out.resolve():
        raise UserError("--log and --out name the same file")
    usable_folder(args.out.parent)
    paths = find_images(args.paths)
    predictor = announced_predictor(args)

    started, counts, latencies_ms = time.perf_counter(), Counter(), []
    with ExitStack() as stack:
        log = stack.enter_context(InspectionLog(args.log, "create")) if args.log else None
        partial = args.out.with_suffix(f".partial{args.out.suffix}")
        table = stack.enter_context(CsvFile(args.out, COLUMNS, partial))
        for batch in inspect(predictor, paths, args.batch_size):
            if log:  # before anybody hears of the decision
                own = (predictor.sha256, args.station, args.lot)
                log.append([record_of(printable(path), p, *own) for path, p in batch])
            for path, prediction in batch:
                table.write(csv_row(printable(path), prediction, predictor.model_id))
                counts[prediction.decision or "error"] += 1
                latencies_ms.append(prediction.latency_ms)
                if prediction.error:
                    tqdm.write(f"unreadable: {printable(path)}: {prediction.error}", sys.stderr)
    print_summary(counts, latencies_ms, time.perf_counter() - started)
    print(f"-> {args.out}" + (f" and {args.log}" if args.log else ""))
    line = {name: counts[name] for name in (*DECISIONS, "error")}
    print(json.dumps(line | {"out": str(args.out), "model": predictor.model_id}))
    return EXIT_UNREADABLE if counts["error"] else EXIT_OK


if __name__ == "__main__":
    run_script(main)
