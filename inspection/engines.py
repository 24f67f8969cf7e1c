"""What computes logits: PyTorch on any device, or ONNX Runtime on the CPU."""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError
from common.packages import require_packages
from dataset.batches import unit_range
from model import Checkpoint
from networks.features import logits_and_features
from networks.local import QUARTER_TURNS

# Of the ONNX graph
INPUT, LOGITS, PROBABILITY, DISTANCE = "images", "logits", "prob_defect", "distance"
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
    model = checkpoint.model().to(device)
    turns = QUARTER_TURNS if checkpoint.architecture == "local" else 1
    at_once = max(1, PIXELS_AT_ONCE // (turns * checkpoint.image_size_px**2))
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

    `checkpoint` describes the model as the checkpoint it was exported from does, without weights.

    Raises:
        UserError: ONNX Runtime is missing, or the file is none of export.py's.
    """

    def __init__(self, path: Path):
        require_packages("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; its warnings are about its own optimiser
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            self.metadata = self.session.get_modelmeta().custom_metadata_map
            self.checkpoint = Checkpoint(weights={}, **json.loads(self.metadata["checkpoint"]))
            self.checkpoint.check()
        except Exception as error:  # ONNX Runtime has an exception for each way to be no model
            raise UserError(
                f"{path} is no model of export.py, or damaged ({type(error).__name__})"
            ) from error
        if self.metadata["precision"] == "int8" and self.metadata["reduce_range"] == "0":
            if not adds_without_saturation():
                print(
                    f"warning: {path} was made for another processor: sums of its 8-bit products "
                    "may saturate on this one; export it here",
                    file=sys.stderr,
                )

    def __call__(self, grey: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and distances (B,) of resized grey images uint8 (B, S, S)."""
        names = [LOGITS, DISTANCE] if self.checkpoint.gate else [LOGITS]
        logits, *distances = self.session.run(names, {INPUT: grey.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(distances[0]) if distances else None


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
