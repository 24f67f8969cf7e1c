"""How speeds are measured: variants interleaved, on which machine, against which peak."""

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

# Dense bfloat16 peak in TFLOP/s by the maker's data sheets; of other devices it is measured.
DATA_SHEET_TFLOPS = {
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H200": 989.4,
    "NVIDIA A100-SXM4-80GB": 312.0,
}


@dataclass
class Variant:
    """Something to measure: `work(round)` handles `images` images."""

    name: str
    work: Callable[[int], object]
    images: int
    image_size_px: int
    batch_size: int
    seconds: list[float] = field(default_factory=list)  # of each round

    def images_per_s(self) -> float:
        """Median over the rounds."""
        return self.images / statistics.median(self.seconds)

    def ratio_to(self, other: "Variant") -> float:
        """How many times as fast as another variant: the median over rounds of both in turn."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        ratios = [(b / other.images) / (a / self.images) for a, b in pairs]
        return statistics.median(ratios)


def interleave(variants: Sequence, rounds: int) -> Iterator[tuple[int, Any]]:
    """Yield `(round, variant)`; round 0 is the warm-up and not to count. Says so on stderr.

    The order turns round too, so that none always follows the same one.
    """
    started = time.perf_counter()
    for number in range(rounds + 1):
        turn = number % len(variants)
        for variant in [*variants[turn:], *variants[:turn]]:
            yield number, variant
        left = (time.perf_counter() - started) / (number + 1) * (rounds - number)
        what = f"round {number} of {rounds}" if number else "warmed up"
        print(f"{what}, about {left:.0f} s left", file=sys.stderr, flush=True)


def measure_interleaved(variants: Sequence[Variant], rounds: int, device: torch.device) -> None:
    """Measure each variant once a round, after one round that does not count."""
    for number, variant in interleave(variants, rounds):
        seconds = seconds_of(lambda v=variant, n=number: v.work(n), device)
        if number:
            variant.seconds.append(seconds)


def describe_machine(device: torch.device) -> dict:
    """Processor, device, threads and versions, as plain values."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else processor_name(),
        "gpu": on_gpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "pillow": PIL.__version__,
        "numpy": np.__version__,
    }


def processor_name() -> str:
    """'AMD EPYC' or whatever the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def training_gflop(image_size_px: int) -> float:
    """Arithmetic of one image's forward and backward pass through ResNet-18, by definition.

    Counted on torchvision's network with three channels, a multiplication and an addition as two;
    that the first layer needs no gradient of its input is taken into account.
    """
    # Tensors of the device 'meta' have shapes and no numbers: nothing is computed
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        images = torch.empty(2, 3, image_size_px, image_size_px)
        resnet18(num_classes=2)(images).sum().backward()
    return counter.get_total_flops() / 2 / 1e9


def peak_tflops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """The device's peak in TFLOP/s, and where the figure is from."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        if name in DATA_SHEET_TFLOPS:
            return DATA_SHEET_TFLOPS[name], "data sheet, dense bfloat16"
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = median_seconds(lambda: a @ b, device, rounds=7)
    return 2 * size**3 / seconds / 1e12, f"measured, {size} x {size} matrix product"


def median_seconds(work: Callable, device: torch.device, rounds: int) -> float:
    """Median of `rounds` calls, after one that does not count."""
    work()
    return statistics.median(seconds_of(work, device) for _ in range(rounds))


def seconds_of(work: Callable, device: torch.device) -> float:
    """Wall-clock of one call, until the device has finished."""
    wait_for(device)
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    """Return when a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_mb() -> float:
    """The most memory that this process has had in RAM so far, files mapped into it included."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
