"""Training speed: the plain loop as its users run it, beside this repository's."""

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.baseline import CastingImages, PlainTraining
from benchmarks.timing import (
    Variant,
    describe_machine,
    measure_interleaved,
    peak_memory_mb,
    peak_tflops,
    training_gflop,
    wait_for,
)
from data_split import load_split
from dataset.listing import ImageRow
from dataset.sources import data_name, find_data
from dataset.store import open_store
from networks.devices import choose_device, multiplies_bfloat16
from training.loop import is_finished, train_one_epoch
from training.options import build_parser
from training.settings import resolve_settings
from training.setup import Run, prepare_backends, set_up
from training.state import Progress, StopSignal
from training.validation import evaluate

BATCHES_A_ROUND_ON_CPU = 13  # of 16 they are about 200 images
FASTEST = ["--amp", "--cuda-graph"]  # what train.py can do on a GPU


def measure_training(args: argparse.Namespace) -> dict:
    """Images/s of each variant, interleaved, as the values that the table shows."""
    device = choose_device(args.device)
    root = find_data(args.data)
    rows, _ = load_split(root)
    training_rows = [row for row in rows if row.split == "train"]
    images = images_a_round(args, len(training_rows), device)
    before_mb = peak_memory_mb()
    with TemporaryDirectory() as folder:
        same = ["--image-size", str(args.image_size), "--batch-size", str(args.batch_size)]
        ours = own_variant("ours, same recipe", args, images, folder, same)
        ours.work(0)  # before the plain loop adds to the peak
        memory_mb = peak_memory_mb() - before_mb
        plain = [
            plain_variant(workers, root, training_rows, images, args, device)
            for workers in (0, os.cpu_count() or 1)
        ]
        fastest = fastest_variants(args, images, folder, same, device)
        variants = [*plain, ours, *fastest]
        measure_interleaved(variants, args.rounds, device)
    peak, source = peak_tflops(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    lines = [line_of(variant, plain, len(training_rows), peak) for variant in variants]
    return {
        "benchmark": "train",
        "machine": describe_machine(device),
        "data": data_name(root),
        "rounds": args.rounds,
        "images_an_epoch": len(training_rows),
        "ratio_vs_plain": lines[len(plain)]["ratio_vs_plain"],
        "ratio_vs_plain_with_workers": lines[len(plain)]["ratio_vs_plain_with_workers"],
        "peak_tflops": round(peak, 3),
        "peak_source": source,
        "memory_mb": round(memory_mb),
        "decoding_s": round(seconds_of_decoding(root, rows, args.image_size), 1),
        "variants": lines,
    }


def images_a_round(args: argparse.Namespace, in_training: int, device: torch.device) -> int:
    """On a GPU a whole epoch of full batches, so that starting workers weighs as it does in use."""
    batches = in_training // args.batch_size
    if device.type == "cpu":
        batches = min(batches, BATCHES_A_ROUND_ON_CPU)
    return (args.batches or batches) * args.batch_size


def seconds_of_decoding(root: Path, rows: Sequence[ImageRow], image_size_px: int) -> float:
    """What ours does once, before its first epoch; the plain loop does it in each."""
    started = time.perf_counter()
    open_store(root, rows, image_size_px, cache=False)
    return time.perf_counter() - started


def line_of(
    variant: Variant, plain: Sequence[Variant], images_an_epoch: int, peak_tflops: float
) -> dict:
    """A line of the table."""
    speed = variant.images_per_s()
    gflop_per_s = training_gflop(variant.image_size_px) * speed
    return {
        "name": variant.name,
        "image_size": variant.image_size_px,
        "batch_size": variant.batch_size,
        "images_a_round": variant.images,
        "images_per_s": round(speed, 2),
        "epoch_s": round(images_an_epoch / speed, 1),
        "ratio_vs_plain": round(variant.ratio_to(plain[0]), 2),
        "ratio_vs_plain_with_workers": round(variant.ratio_to(plain[1]), 2),
        "share_of_peak": round(gflop_per_s / 1e3 / peak_tflops, 3),
    }


def plain_variant(
    workers: int,
    root: Path,
    training_rows: Sequence[ImageRow],
    images: int,
    args: argparse.Namespace,
    device: torch.device,
) -> Variant:
    """The plain loop over some of the training images, spread over all of them."""
    chosen = [training_rows[i * len(training_rows) // images] for i in range(images)]
    dataset = plain_images(root, chosen, args.image_size)
    training = PlainTraining(dataset, args.batch_size, workers, device)
    return Variant(
        name=f"plain loop, {workers or 'no'} workers",
        work=lambda _: training.train_one_epoch(),
        images=images,
        image_size_px=args.image_size,
        batch_size=args.batch_size,
    )


def plain_images(root: Path, rows: Sequence[ImageRow], image_size_px: int) -> CastingImages:
    names = sorted({row.label for row in rows})
    paths = [root / row.path for row in rows]
    return CastingImages(paths, [names.index(row.label) for row in rows], image_size_px)


def own_variant(
    name: str, args: argparse.Namespace, images: int, folder: str, options: list[str]
) -> Variant:
    """train.py's own loop with these options, on epochs of `images` images."""
    run = prepare_run(args, folder, [*options, "--epoch-size", str(images)])

    def work(number: int) -> None:
        train_one_epoch(run, Progress(epoch=number), StopSignal())

    return Variant(name, work, images, run.settings.image_size, run.settings.batch_size)


def fastest_variants(
    args: argparse.Namespace, images: int, folder: str, same: list[str], device: torch.device
) -> list[Variant]:
    """What else there is: on a CPU less work, on a GPU other numbers and fewer launches."""
    if device.type == "cpu":
        variants = [own_variant("ours, recipe fast", args, images, folder, ["--recipe", "fast"])]
        if multiplies_bfloat16(device):  # where "ours" trains in it
            variants.append(own_variant("ours, float32", args, images, folder, [*same, "--no-amp"]))
        return variants
    fast, large = [*same, *FASTEST], ["--batch-size", "256"]
    return [
        own_variant("ours, bf16", args, images, folder, [*same, "--amp"]),
        own_variant("ours, bf16, CUDA graph", args, images, folder, fast),
        own_variant("ours, bf16, CUDA graph", args, 16 * images, folder, [*fast, *large]),
    ]


def prepare_run(args: argparse.Namespace, folder: str, options: list[str]) -> Run:
    """A run of train.py as far as its first batch; what it prints is dropped."""
    own = ["--weights", "none", "--out", folder, *options]
    own += ["--data", args.data] if args.data else []
    own += ["--device", args.device] if args.device else []
    parsed = build_parser("").parse_args(own)
    with redirect_stdout(io.StringIO()):
        return set_up(parsed, resolve_settings(parsed, None))


# --- seconds to an accuracy ----------------------------------------------------------------------


def measure_accuracy(args: argparse.Namespace) -> dict:
    """Wall-clock until validation accuracy reaches the target, for each seed; None: never."""
    device = choose_device(args.device)
    prepare_backends(device, deterministic=False)  # for both
    root = find_data(args.data)
    rows, _ = load_split(root)
    loops = {
        "plain": lambda seed: seconds_of_plain(args, root, rows, seed, device),
        "ours": lambda seed: seconds_of_ours(args, seed, device),
    }
    start(device)  # which neither is to pay for
    found: dict[str, list[float | None]] = {name: [] for name in loops}
    for number, seed in enumerate(args.seeds):
        for name in list(loops)[:: -1 if number % 2 else 1]:  # each goes first in turn
            found[name].append(loops[name](seed))
        reached = ", ".join(f"{name} {time_to(times[-1])}" for name, times in found.items())
        print(f"seed {seed}: {reached}", file=sys.stderr, flush=True)
    return {
        "benchmark": "accuracy",
        "machine": describe_machine(device),
        "data": data_name(root),
        "target": args.target,
        "seeds": args.seeds,
        "plain_s": found["plain"],
        "ours_s": found["ours"],
    }


def time_to(seconds: float | None) -> str:
    """'12.3 s', or 'never'."""
    return "never" if seconds is None else f"{seconds:.1f} s"


def seconds_of_plain(
    args: argparse.Namespace,
    root: Path,
    rows: Sequence[ImageRow],
    seed: int,
    device: torch.device,
) -> float | None:
    """The reference recipe in the plain loop, one worker a core."""
    torch.manual_seed(seed)
    workers, started = os.cpu_count() or 1, time.perf_counter()
    train, val = (
        plain_images(root, [row for row in rows if row.split == split], args.image_size)
        for split in ("train", "val")
    )
    training = PlainTraining(train, args.batch_size, workers, device)
    val_loader = DataLoader(val, 8, num_workers=workers)
    for _ in range(args.epochs):
        training.train_one_epoch()
        if training.accuracy(val_loader) >= args.target:
            return round(time.perf_counter() - started, 1)
    return None


def start(device: torch.device) -> None:
    """Load what a device needs for its first training step, and only then."""
    training_step = nn.Conv2d(1, 8, 3).to(device)(torch.rand(16, 1, 64, 64, device=device)).sum()
    training_step.backward()
    wait_for(device)


def seconds_of_ours(args: argparse.Namespace, seed: int, device: torch.device) -> float | None:
    """Recipe fast, on a GPU as it is meant to be run there; decoding all images included."""
    started = time.perf_counter()
    options = ["--recipe", "fast", "--seed", str(seed), "--no-cache"]
    options += FASTEST if device.type == "cuda" else []
    with TemporaryDirectory() as folder:
        run, progress = prepare_run(args, folder, options), Progress()
        to_the_end = replace(run.settings, patience=0)
        while not is_finished(progress, to_the_end):
            train_one_epoch(run, progress, StopSignal())
            accuracy = evaluate(run, progress.epoch + 1)["accuracy"]
            progress.begin_next_epoch()
            if accuracy >= args.target:
                return round(time.perf_counter() - started, 1)
    return None
