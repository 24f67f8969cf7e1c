"""From photographs to predictions: the one inference path, which everything else uses too."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.errors import UserError
from common.progress import ProgressBar
from gate.limits import NOT_JUDGED, REVIEW
from gate.measures import measure
from imaging.reading import (
    NO_MEMORY,
    UnreadableImageError,
    decode_grey,
    in_threads,
    read_file,
    upright_image,
)
from inspection.engines import Network, OnnxNetwork, torch_network
from inspection.options import BATCH_SIZE
from model import Checkpoint, find_checkpoint, load_identified
from networks.classes import class_probabilities, defect_flags, defect_probability
from networks.devices import choose_device

ImageLike = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """The decision on one image; without one (`decision` empty) `error` says why.

    `error` also says why a part is for review, unless it is for its probability.
    """

    status: str  # 'ok' (inspected), 'not_judged' (refused by the gate) or 'error' (unreadable)
    decision: str  # 'ok', 'defect', 'review', or empty
    prob_defect: float | None
    predicted_class: str
    probabilities: tuple[float, ...]  # in the order of the checkpoint's classes
    threshold: float
    latency_ms: float  # reading this image, and its share of the batch's time in the network
    error: str = ""
    sha256: str = ""  # of the very bytes that were inspected; empty for images and arrays
    brightness: float | None = None  # mean grey value, 0 to 255
    distance: float | None = None  # from the training images; None: the model has no gate
    pixels: str = ""  # SHA-256 of the resized grey pixels

    @property
    def outcome(self) -> str:
        """The decision, else the status: a key of OUTCOMES."""
        return self.decision or self.status

    def not_judged(self, reason: str) -> "Prediction":
        """This one without a decision: what the network says of something else tells nothing."""
        nothing = {"prob_defect": None, "predicted_class": "", "probabilities": ()}
        return replace(self, status=NOT_JUDGED, decision="", error=reason, **nothing)


class Predictor:
    """A model ready to inspect images.

    Args:
        checkpoint: what the model is; its weights are not looked at.
        network: resized grey images uint8 (B, S, S) to logits (B, C) and distances (B,), or None.
        sha256: of the model's file.
        threshold: other than the checkpoint's.
        review: `(low, high)`: parts with low <= P(defect) < high are for a person to decide.
        gate: whether photographs are refused that the model cannot be asked about.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: Network,
        sha256: str,
        device: torch.device,
        threshold: float | None = None,
        review: tuple[float, float] | None = None,
        gate: bool = True,
    ):
        self.checkpoint = checkpoint
        self.network = network
        self.sha256 = sha256
        self.device = device
        self.threshold = checkpoint.threshold if threshold is None else threshold
        self.review = review
        self.limits = checkpoint.limits if gate else None
        self._gate_wanted = gate
        self._is_defect = defect_flags(checkpoint.class_names)

    @property
    def model_id(self) -> str:
        """The first 12 digits of the file's SHA-256."""
        return self.sha256[:12]

    @property
    def without_gate(self) -> str:
        """What a person must hear where no gate stands before this model; else empty."""
        if self.limits is not None:
            return ""
        why = "the model has no gate: train it again" if self._gate_wanted else "--no-gate"
        return f"every picture is judged, whatever it shows ({why})"

    def warm_up(self) -> "Predictor":
        """Inspect a black image and return itself: the first is slow, and damaged weights show.

        Raises:
            UserError: the network's output is not finite.
        """
        size = self.checkpoint.image_size_px
        self.predict([np.zeros((size, size), np.uint8)])
        return self

    @torch.inference_mode()
    def probabilities(self, grey: Tensor) -> tuple[Tensor, list[float | None]]:
        """Class probabilities (B, C), on the CPU, and distances of images uint8 (B, S, S)."""
        names, temperature = self.checkpoint.class_names, self.checkpoint.temperature
        logits, distances = self.network(grey)
        probabilities = class_probabilities(logits, names, temperature).cpu()
        if not probabilities.isfinite().all():  # NaN is below any threshold: it would pass as 'ok'
            raise UserError("the network's output is not finite: damaged weights; train again")
        return probabilities, [None] * len(grey) if distances is None else distances.tolist()

    def decide(self, prob_defect: float) -> str:
        """'review' inside the band, else 'defect' from the threshold on, else 'ok'."""
        if self.review and self.review[0] <= prob_defect < self.review[1]:
            return "review"
        return "defect" if prob_defect >= self.threshold else "ok"

    def predict_batch(
        self, grey: Tensor, latencies_ms: Sequence[float] | None = None
    ) -> list[Prediction]:
        """What the network says of resized grey images uint8 (B, S, S), whatever they show.

        Nobody asks the gate here. B may be 0. The class is the most probable one on the threshold's
        side, so that it never contradicts the decision, whatever the threshold.
        """
        if not len(grey):
            return []
        started = time.perf_counter()
        probabilities, distances = self.probabilities(grey)
        share_ms = (time.perf_counter() - started) * 1000 / len(grey)
        # In double precision: the threshold is, and a part on it must fall on one side everywhere
        defect = defect_probability(probabilities, self.checkpoint.class_names).double()
        # By NumPy: for PyTorch its threads would wake up, wait busily and slow down ONNX
        pixels = grey.cpu().numpy()
        brightness = pixels.mean(axis=(1, 2))
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
                distance=distances[i],
                pixels=hashlib.sha256(np.ascontiguousarray(pixels[i])).hexdigest(),
            )
            for i in range(len(grey))
        ]

    def predict(self, images: Sequence["ImageLike | Prepared"]) -> list[Prediction]:
        """Decisions on files, their bytes, PIL images or uint8 arrays (H, W) or (H, W, 3).

        An image that cannot be read gets status 'error' in its place, one that the gate refuses
        'not_judged'; nothing is raised for them.
        """
        if len(images) > 1 and not all(isinstance(one, Prepared) for one in images):
            images = in_threads(self.prepare, images)
        prepared = [self.prepare(one) for one in images]
        grey = [one.grey for one in prepared if one.grey is not None]
        latencies_ms = [one.latency_ms for one in prepared if one.grey is not None]
        size = self.checkpoint.image_size_px
        stack = np.stack(grey) if grey else np.empty((0, size, size), np.uint8)
        predicted = iter(self.predict_batch(torch.from_numpy(stack), latencies_ms))
        return [
            self._failure(one) if one.grey is None else self._gated(next(predicted), one)
            for one in prepared
        ]

    def prepare(self, image: "ImageLike | Prepared") -> "Prepared":
        """An image read, decoded and resized: all that comes before the network, in any thread."""
        if isinstance(image, Prepared):
            return image
        started = time.perf_counter()
        sha256 = ""
        grey, error, measures = None, "", {}
        try:
            if isinstance(image, str | Path):
                image = read_file(Path(image))
            if isinstance(image, bytes):
                sha256 = hashlib.sha256(image).hexdigest()
                upright = decode_grey(image)
            else:
                upright = upright_image(image)
            grey = self.checkpoint.framed(upright)
            if self.limits:
                measures = measure(grey, upright.size, self.limits.with_hub)
        except UnreadableImageError as problem:
            error = str(problem)
        except MemoryError:  # this part's problem, not that of all in its batch
            error = NO_MEMORY
        return Prepared(grey, sha256, (time.perf_counter() - started) * 1000, error, measures)

    def _gated(self, prediction: Prediction, prepared: "Prepared") -> Prediction:
        """The prediction as the gate lets it pass."""
        prediction = replace(prediction, sha256=prepared.sha256)
        if self.limits is None:
            return prediction
        opinion, reason = self.limits.opinion(prepared.measures, prediction.distance)
        if opinion == REVIEW:
            return replace(prediction, decision=REVIEW, error=reason)
        if opinion == NOT_JUDGED:
            return prediction.not_judged(reason)
        return prediction

    def _failure(self, prepared: "Prepared") -> Prediction:
        return Prediction(
            "error", "", None, "", (), self.threshold, prepared.latency_ms,
            error=prepared.error, sha256=prepared.sha256,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image on its way into the network: uint8 (S, S), or None and why."""

    grey: np.ndarray | None
    sha256: str
    latency_ms: float
    error: str
    measures: dict[str, float]  # for the gate


# --- which model ---------------------------------------------------------------------------------


def load_predictor(
    checkpoint: Path | str | None = None,
    device: str | None = None,
    threshold: float | None = None,
    review: tuple[float, float] | None = None,
    gate: bool = True,
) -> Predictor:
    """A predictor from a model's file, by default the one that `find_checkpoint` finds.

    Args:
        checkpoint: a checkpoint of train.py, or an ONNX file of export.py, for ONNX Runtime.

    Raises:
        UserError: no such file, an unusable one, or no such device.
    """
    path = find_checkpoint(Path(checkpoint) if checkpoint else None)
    if path.suffix == ".onnx":
        if device not in (None, "cpu"):
            raise UserError(f"{path} runs on the CPU, not on {device}; leave out --device")
        network, place = OnnxNetwork(path), torch.device("cpu")
        loaded, sha256 = network.checkpoint, network.sha256
    else:
        place = choose_device(device)
        loaded, sha256 = load_identified(path)
        network = torch_network(loaded, place)
    return Predictor(loaded, network, sha256, place, threshold, review, gate)


def inspect_files(
    predictor: Predictor, paths: Sequence[Path], batch_size: int = BATCH_SIZE
) -> Iterator[list[tuple[Path, Prediction]]]:
    """Predict files under a progress bar; yields them batch by batch, in the given order."""
    with ProgressBar(total=len(paths), desc="inspecting", unit="parts") as bar:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            yield list(zip(batch, predictor.predict(batch), strict=True))
            bar.update(len(batch))
