"""Inference speed: latency of one part and throughput of many, decoding included."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18

from benchmarks.baseline import plain_transform
from benchmarks.timing import describe_machine, interleave, peak_memory_mb, wait_for
from common.errors import UserError, tell
from common.packages import EXPORT_PACKAGES, require_packages
from data_split import load_split
from dataset.sources import data_name, find_data
from imaging.reading import read_framed
from inspection.onnx_graph import exported
from inspection.predictor import Predictor, load_predictor
from model import Checkpoint, find_checkpoint
from networks.devices import tf32

BATCH_SIZES = (1, 8, 32)
PUBLISHED_SIZE_PX = 224


class PlainInference:
    """The baseline: torchvision's transforms and ResNet-18 in eager PyTorch.

    With a ResNet-18's weights and size; beside another network, which torchvision lacks, with
    random weights at the published system's size, which cost the same.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self.model, self.size_px = resnet18(num_classes=2), PUBLISHED_SIZE_PX
        if checkpoint.architecture == "resnet18":
            self.model = resnet18(num_classes=len(checkpoint.weights["fc.bias"]))
            self.model.load_state_dict(checkpoint.weights)
            self.size_px = checkpoint.image_size_px
        self.model.eval().to(device)
        self.device = device
        self.transform = plain_transform(self.size_px, checkpoint.mean, checkpoint.std)

    @torch.inference_mode()
    def predict(self, paths: Sequence[Path]) -> list[list[float]]:
        """Logits of image files."""
        images = [self.transform(Image.open(path).convert("RGB")) for path in paths]
        with tf32(allowed=True):  # as PyTorch comes, whatever predict.py has set
            return self.model(torch.stack(images).to(self.device)).cpu().tolist()


def measure_inference(args: argparse.Namespace) -> dict:
    """Percentiles of the latency of single parts, images/s of batches, for each engine."""
    path = find_checkpoint(args.checkpoint)
    before_mb = peak_memory_mb()
    predictor = load_predictor(path, args.device)
    device = predictor.device
    root = find_data(args.data)
    rows, _ = load_split(root)
    held_out = [root / row.path for row in rows if row.split != "train"]
    parts = [held_out[i * len(held_out) // args.parts] for i in range(args.parts)]
    predictor.predict(parts[: max(BATCH_SIZES)])  # before the baseline adds to the peak
    memory_mb = peak_memory_mb() - before_mb
    plain = PlainInference(predictor.checkpoint, device)
    engines = {
        "eager PyTorch": plain.predict,
        "predict.py": predictor.predict,
    }
    training = [root / row.path for row in rows if row.split == "train"]
    calibration = training[:: max(1, len(training) // 64)]
    with tempfile.TemporaryDirectory() as folder:
        files = onnx_files(predictor, calibration, Path(folder))
        megabytes = {name: round(file.stat().st_size / 1e6, 1) for name, file in files.items()}
        engines |= {name: load_predictor(file).predict for name, file in files.items()}
    latencies = {name: [] for name in engines}
    speeds = {name: {size: [] for size in BATCH_SIZES} for name in engines}
    for number, (name, predict) in interleave(list(engines.items()), args.rounds):
        found = latencies_ms(predict, parts, device)
        by_size = {size: images_per_s(predict, parts, size, device) for size in BATCH_SIZES}
        if number:
            latencies[name] += found
            for size, speed in by_size.items():
                speeds[name][size].append(speed)
    baseline = np.median(latencies["eager PyTorch"])
    return {
        "benchmark": "infer",
        "machine": describe_machine(device),
        "data": data_name(root),
        "checkpoint": f"{path} ({predictor.model_id})",
        "network": predictor.checkpoint.architecture,
        "image_size": predictor.checkpoint.image_size_px,
        "plain_image_size": plain.size_px,
        "parts": args.parts,
        "rounds": args.rounds,
        "memory_mb": round(memory_mb),
        "onnx_megabytes": megabytes,
        "engines": [engine_line(name, latencies[name], speeds[name], baseline) for name in engines],
    }


def onnx_files(predictor: Predictor, calibration: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The model exported in both precisions; on a GPU, or without ONNX Runtime, none.

    Ungated: speed does not depend on it.
    """
    if predictor.device.type != "cpu":
        return {}
    try:
        require_packages(*EXPORT_PACKAGES)
    except UserError as error:
        tell(f"note: without ONNX: {error}")
        return {}
    size, found = predictor.checkpoint.image_size_px, {}
    images = np.stack([read_framed(one, size, predictor.checkpoint.fit) for one in calibration])
    for name, precision in (("ONNX fp32", "fp32"), ("ONNX INT8", "int8")):
        found[name] = folder / f"{precision}.onnx"
        found[name].write_bytes(
            exported(predictor.checkpoint, predictor.sha256, precision, images, gate="none")
        )
    return found


def engine_line(
    name: str, latencies: list[float], speeds: dict[int, list[float]], baseline_ms: float
) -> dict:
    """A line of the table."""
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    line = {"name": name, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
    line["ratio_vs_eager"] = baseline_ms / p50
    line |= {f"images_per_s_{size}": statistics.median(speeds[size]) for size in BATCH_SIZES}
    return {key: value if key == "name" else round(float(value), 2) for key, value in line.items()}


def latencies_ms(predict: Callable, parts: Sequence[Path], device: torch.device) -> list[float]:
    """From file to prediction, part by part."""
    found = []
    for part in parts:
        started = time.perf_counter()
        predict([part])
        wait_for(device)
        found.append((time.perf_counter() - started) * 1000)
    return found


def images_per_s(
    predict: Callable, parts: Sequence[Path], batch_size: int, device: torch.device
) -> float:
    """Throughput over all parts in batches of this size."""
    started = time.perf_counter()
    for start in range(0, len(parts), batch_size):
        predict(parts[start : start + batch_size])
    wait_for(device)
    return len(parts) / (time.perf_counter() - started)
