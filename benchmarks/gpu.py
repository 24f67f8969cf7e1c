"""What wants a CUDA GPU, part by part: its tests, speeds, and the figures of whole trainings.

Each part is a process of its own with a time limit, so that one that fails does not stop the next;
what it prints goes into PART.log, its seconds and figures into gpu.json as soon as it has ended.
Parts that measure time have the machine for themselves; then the others run side by side.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.children import end_all, finished
from benchmarks.options import RESULT, SIDE_BY_SIDE, TIMED
from benchmarks.timing import describe_machine
from benchmarks.training import FASTEST
from common.files import output_folder, write_json
from dataset.sources import data_name, find_data
from model import load_checkpoint
from networks.devices import choose_device

LIMIT_S = 240  # of a command; the longest took 100 s alone on an H200
SHOWN = 3  # lines of a part that fails

# A training that shows no more than that the commands work, on a CPU too
TINY = ["--image-size", "32", "--batch-size", "8", "--epoch-size", "16", "--epochs", "1"]
AT_ONCE, CORES_A_PART = 4, 4  # at most, and at least, of those side by side


@dataclass(frozen=True)
class Part:
    """Commands to run after one another, and what to read from the last one's output."""

    commands: list[list[str]]  # without the interpreter
    figures: Callable[[str], dict]
    limit_s: float = LIMIT_S  # of each command


def measure_on_gpu(args: argparse.Namespace) -> dict:
    """Run the chosen parts; returns what gpu.json in `args.out` holds then.

    Outcomes that are there from the same machine, data and size stay until their part runs again.
    """
    device, root = choose_device(args.device), find_data(args.data).resolve()
    out = args.out.resolve()
    with output_folder(out):
        return _measured(args, device, root, out)


def _measured(args: argparse.Namespace, device: torch.device, root: Path, out: Path) -> dict:
    result = {"benchmark": "gpu", "machine": describe_machine(device), "data": data_name(root)}
    result["tiny"] = args.tiny
    result["outcomes"] = earlier_outcomes(out / RESULT, result)
    parts = parts_of(args, device, root, out)
    for number, (name, found) in enumerate(outcomes({n: parts[n] for n in args.parts}, out), 1):
        result["outcomes"][name] = found
        write_json(out / RESULT, result)
        text = f"{number} of {len(args.parts)}: {name}  {line_of(found)}"
        print(text, file=sys.stderr, flush=True)
    return result


def outcomes(parts: dict[str, Part], out: Path) -> Iterator[tuple[str, dict]]:
    """What became of each part, as it ends: first the timed ones, one by one."""

    def run(name: str) -> tuple[str, dict]:
        return name, outcome(parts[name], out / f"{name}.log")

    yield from map(run, [name for name in TIMED if name in parts])
    at_once = min(AT_ONCE, max(1, (os.cpu_count() or 1) // CORES_A_PART))
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(run, name) for name in SIDE_BY_SIDE if name in parts]
        try:
            for done in as_completed(running):
                yield done.result()
        except BaseException:  # this process is to leave, and leaves nothing behind
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def earlier_outcomes(path: Path, result: dict) -> dict:
    """Those of an earlier call under the same conditions."""
    try:
        earlier = json.loads(path.read_text())
        same = all(earlier[name] == value for name, value in result.items())
        return earlier["outcomes"] if same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def outcome(part: Part, log: Path) -> dict:
    """Run a part: its seconds, figures and, where it failed, the last lines that it printed."""
    started, output, error = time.perf_counter(), "", ""
    with open(log, "w", encoding="utf-8") as file:
        for command in part.commands:
            file.write(f"$ python {' '.join(command)}\n")
            file.flush()
            output, error = finished(command, part.limit_s)
            file.write(output)
            if error:
                break
    found = {"seconds": round(time.perf_counter() - started, 1)}
    try:
        if not error:
            found["figures"] = part.figures(output)
    except (OSError, ValueError, LookupError) as problem:  # it printed or left something else
        error = f"unexpected output: {problem!r}"
    if error:
        found["error"] = "\n".join([error, *output.splitlines()[-SHOWN:]])
    return found


# --- the parts -----------------------------------------------------------------------------------


def parts_of(
    args: argparse.Namespace, device: torch.device, root: Path, out: Path
) -> dict[str, Part]:
    """All parts, by name."""
    there = ["--data", str(root), "--device", str(device)]
    fast = FASTEST if device.type == "cuda" else []
    castings = ["--castings", str(args.castings.resolve())] if args.castings else []

    def train(name: str, *options: str) -> list[str]:
        own = [*castings, *(TINY if args.tiny else []), "--out", str(out / name), "--overwrite"]
        return ["train.py", *there, *options, *own]

    def test(name: str, *options: str) -> list[str]:
        checkpoint = out / name if options else out / name / "best.pth"
        return ["test.py", *there, *options, "--checkpoint", str(checkpoint), "--out",
                str(out / name / "results")]  # fmt: skip

    def measure(command: str, *, full: str, tiny: str, limit_s: float = LIMIT_S) -> Part:
        chosen = (tiny if args.tiny else full).split()
        return Part([["benchmark.py", command, *there, *chosen]], last_json, limit_s)

    def epochs(name: str) -> Callable[[str], dict]:
        return lambda _: epochs_of(out / name)

    scratch, six, one = ["--weights", "none"], ["--epochs", "6"], ["--epochs", "1"]
    recipe_fast = ["--recipe", "fast"]
    folds = ["--folds", "2"] if args.tiny else ["--fold-seed", "9"]
    robust = ["--recipe", "robust", "--protocol", "casting", *folds, "--fold"]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=1"]
    same = {"fast": [*recipe_fast, *one, *fast], "robust": [*robust, "1", *one]}
    # Without a gate: the released model maps whatever the data shows
    heatmaps = ["--no-gate", "--method", "layercam", "--device", str(device)]
    heatmaps += ["--out", str(out / "heatmaps")]
    return {
        "tests": Part([["-m", "pytest", "-m", "cuda", "tests/test_cuda.py"]], last_line),
        "eager": Part([train("eager", *scratch, *six)], epochs("eager")),
        "graph": Part([train("graph", *scratch, *six, *fast)], epochs("graph")),
        "train": measure(
            "train",
            full="--rounds 3 --batches 100",
            tiny="--rounds 1 --batches 2 --image-size 32 --batch-size 8",
        ),
        "infer": measure("infer", full="--rounds 5", tiny="--rounds 1 --parts 2"),
        "fast": Part(
            [train("fast", *recipe_fast, *fast), test("fast")],
            lambda output: epochs_of(out / "fast") | last_json(output),
        ),
        "nccl": Part([[*launcher, *train("nccl", *recipe_fast, *one)]], epochs("nccl")),
        "deterministic": Part(
            [
                train(f"{name}_{copy}", *options, "--deterministic")
                for name, options in same.items()
                for copy in "ab"
            ],
            lambda _: {
                name: weights_of(out / f"{name}_a") == weights_of(out / f"{name}_b")
                for name in same
            },
        ),
        "heatmaps": Part([["explain.py", str(root / "test" / "ok_front"), *heatmaps]], last_line),
        "reference": Part(
            [train("reference", *scratch, *fast), test("reference")],
            lambda output: epochs_of(out / "reference") | last_json(output),
        ),
        "robust": Part(
            [train("robust", *robust, "all"), test("robust", "--protocol", "casting")], last_json
        ),
        "accuracy": measure(
            "accuracy",
            limit_s=1200,
            full="--seeds 0 1 2",
            tiny="--seeds 0 --epochs 1 --image-size 32 --batch-size 8 --target 0.01",
        ),
    }


# --- their figures -------------------------------------------------------------------------------


def last_line(output: str) -> dict:
    """What a command says at the end."""
    return {"text": output.splitlines()[-1]}


def last_json(output: str) -> dict:
    """The JSON with which a command ends, but for the folder that it wrote to."""
    found = json.loads(output.splitlines()[-1])
    found.pop("out", None)
    return found


def epochs_of(run: Path) -> dict:
    """Seconds of a training's epochs, with what was saved meanwhile; those of the first apart."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seconds = [float(row["seconds"]) for row in rows]
    return {
        "epochs": len(rows),
        "first_epoch_s": seconds[0],
        "epoch_s": round(statistics.mean(seconds[1:] or seconds), 3),
        "val_accuracy": float(rows[-1]["val_accuracy"]),
    }


def weights_of(run: Path) -> dict[str, bytes]:
    """The weights that a training ended with, bit for bit."""
    weights = load_checkpoint(run / "best.pth").weights
    return {name: value.numpy().tobytes() for name, value in weights.items()}


def line_of(found: dict) -> str:
    """A part's outcome for people."""
    figures = found.get("figures", {})
    shown = figures.get("text") or ", ".join(
        f"{name} {value}" for name, value in figures.items() if isinstance(value, int | float)
    )
    return f"{found['seconds']:.1f} s  {found.get('error') or shown}"
