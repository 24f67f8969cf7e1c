"""What computes logits: PyTorch on any device, or ONNX Runtime on the CPU."""

import hashlib
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError, tell
from common.packages import require_packages
from dataset.batches import unit_range
from inspection.onnx_file import read_sealed
from model import Checkpoint
from networks.classes import class_probabilities, defect_probability
from networks.features import logits_and_features
from networks.folding import with_folded_batch_norm

# Of the ONNX graph
INPUT, LOGITS, PROBABILITY, DISTANCE = "images", "logits", "prob_defect", "distance"
PROBABILITY_TOLERANCE = 1e-4  # of float32 sums in another order
PIXELS_AT_ONCE = 800_000  # on a CPU, by measurement: docs/experiments.md, 2026-11-26

# Resized grey images uint8 (B, S, S) to logits (B, C) and, with a gate, distances (B,)
Network = Callable[[Tensor], tuple[Tensor, Tensor | None]]


def torch_network(checkpoint: Checkpoint, device: torch.device) -> Network:
    """The checkpoint's network in PyTorch; on a CPU in pieces that stay in its cache.

    On a GPU this process computes with all bits of float32 from now on: rounded to 10 bits (TF32),
    logits were up to 8e-3 beside a CPU's on real parts, in full within 4e-4.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    model = with_folded_batch_norm(checkpoint.model()).to(device)
    at_once = max(1, PIXELS_AT_ONCE // checkpoint.image_size_px**2)
    distance = checkpoint.distance()
    if distance:
        distance = distance.to(device)

    def network(grey: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, distances = [], []
        for piece in grey.split(at_once) if device.type == "cpu" else [grey]:
            images = unit_range(piece.to(device))
            if distance is None:
                logits.append(model(images))
                continue
            found, features = logits_and_features(model, images)
            logits.append(found)
            distances.append(distance(features))
        return torch.cat(logits), torch.cat(distances) if distances else None

    return network


class OnnxNetwork:
    """A file of export.py, ready to run on the CPU.

    `checkpoint` describes the model as the checkpoint it was exported from does, without weights;
    `sha256` is that of the file.

    Raises:
        UserError: ONNX Runtime is missing, or the file is none of export.py's, or damaged.
    """

    def __init__(self, path: Path | str):
        require_packages("onnxruntime")
        import onnxruntime

        model = read_sealed(Path(path))
        self.sha256 = hashlib.sha256(model).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; its warnings are about its own optimiser
        try:
            self.session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            self.metadata = self.session.get_modelmeta().custom_metadata_map
            self.checkpoint = Checkpoint(weights={}, **json.loads(self.metadata["checkpoint"]))
            self.checkpoint.check()
            check_metadata(self.metadata, self.checkpoint)
            check_graph(self.session, self.checkpoint)
        except Exception as error:  # ONNX Runtime has an exception for each way to be no model
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(
                f"{path} is no model of export.py, or damaged ({reason}); export it anew"
            ) from error
        if self.metadata["precision"] == "int8" and self.metadata["reduce_range"] == "0":
            if not adds_without_saturation():
                tell(
                    f"warning: {path} was made for another processor: sums of its 8-bit products "
                    "may saturate on this one; export it here"
                )

    def __call__(self, grey: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and distances (B,) of resized grey images uint8 (B, S, S)."""
        names = outputs_of(self.checkpoint)
        logits, _, *distances = self.session.run(names, {INPUT: grey.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(distances[0]) if distances else None


def outputs_of(checkpoint: Checkpoint) -> list[str]:
    """What the graph of a checkpoint gives."""
    return [LOGITS, PROBABILITY, *([DISTANCE] if checkpoint.gate else [])]


def check_metadata(metadata: dict[str, str], checkpoint: Checkpoint) -> None:
    """Raise ValueError unless what clients read agrees with the description of the checkpoint."""
    if metadata["fit"] != checkpoint.fit:
        raise ValueError(f"its fit is {metadata['fit']}, the checkpoint's another")
    for name in ("class_names", "image_size_px", "threshold", "temperature"):
        if json.loads(metadata[name]) != getattr(checkpoint, name):
            raise ValueError(f"its {name} is {metadata[name]}, the checkpoint's another")
    if json.loads(metadata["limits"]) != (checkpoint.gate or {}).get("limits"):
        raise ValueError("its limits are not the checkpoint's")
    for name, values in (("precision", ("fp32", "int8")), ("reduce_range", ("0", "1"))):
        if metadata[name] not in values:
            raise ValueError(f"its {name} is {metadata[name]}, not {' or '.join(values)}")


def check_graph(session, checkpoint: Checkpoint) -> None:
    """Raise ValueError unless the graph takes and gives what the description says."""
    size, names = checkpoint.image_size_px, checkpoint.class_names
    (images,) = session.get_inputs()
    found = (images.name, images.type, images.shape[1:], isinstance(images.shape[0], int))
    if found != (INPUT, "tensor(uint8)", [size, size], False):
        raise ValueError(f"its input is {images.name} {images.type} {images.shape}")
    for count in (2, 1):
        grey = np.random.default_rng(0).integers(0, 256, (count, size, size), np.uint8)
        logits, prob_defect, *distances = session.run(outputs_of(checkpoint), {INPUT: grey})
        if any(one.shape != (count,) for one in distances):
            raise ValueError(f"its distances are {distances[0].shape}")
        outputs = (count, 1 if checkpoint.head == "sigmoid" else len(names))
        if (logits.dtype, logits.shape, prob_defect.shape) != (np.float32, outputs, (count,)):
            raise ValueError(f"its outputs are {logits.shape} and {prob_defect.shape}")
        probabilities = class_probabilities(torch.from_numpy(logits), names, checkpoint.temperature)
        expected = defect_probability(probabilities, names).numpy()
        if not np.allclose(prob_defect, expected, atol=PROBABILITY_TOLERANCE, rtol=0):
            raise ValueError("its defect probability is not that of its logits")


def adds_without_saturation() -> bool:
    """Whether this processor sums products of 8-bit numbers exactly.

    AVX2 and AVX-512 without VNNI add pairs of them in 16 bits, which saturate; seven-bit weights
    (`reduce_range`) keep them small enough. Arm's instructions do not saturate.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False  # not known: the safe choice
    return "avx512_vnni" in flags or "avx_vnni" in flags
