"""Several processes: exact figures, one writer, going on in any number, no hanging."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from common.errors import UserError
from common.files import ROOT
from model import load_checkpoint
from training import distributed as processes
from training import state as run_state
from training.options import build_parser
from training.settings import resolve_settings
from training.setup import set_up
from training.validation import evaluate, validation_logits

BOUND_S = 60  # from the death of one process to the end of all
UNEVEN = ["--image-size", "64", "--batch-size", "37", "--augment", "none"]


def torchrun(arguments: list[str], world_size: int = 2) -> subprocess.Popen:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(world_size)]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process: subprocess.Popen, seconds: float = 120) -> str:
    output, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors
    return output


def history(folder: Path) -> list[dict]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def options(train_options) -> list[str]:
    """38 training images of 64 px in batches of 37: a last one of a single image."""
    return [*train_options, *UNEVEN]


# --- in one process ------------------------------------------------------------------------------


def test_without_torchrun_every_exchange_is_the_identity():
    values = torch.tensor([1.5, 2.0])
    with processes.process_group("cpu") as device:
        assert device == "cpu"
        assert (processes.rank(), processes.world_size(), processes.is_main_process()) == (
            0,
            1,
            True,
        )
        assert torch.equal(processes.all_reduce_sum(values), values)
        assert torch.equal(processes.all_gather(values), values)
        assert processes.all_reduce_max(7) == 7
        with processes.local_main_process_first():
            processes.barrier()


def test_the_loss_of_a_process_is_told_from_other_errors():
    lost = RuntimeError("[.../gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1")
    assert processes.is_loss_of_a_process(lost)
    assert processes.is_loss_of_a_process(torch.distributed.DistNetworkError("broken"))
    assert not processes.is_loss_of_a_process(RuntimeError("shapes differ"))


def test_cuda_graphs_belong_to_one_gpu(tmp_path, train_options):
    with pytest.raises(UserError, match="--cuda-graph records the work of one GPU"):
        train.main([*train_options, "--cuda-graph", "--out", str(tmp_path)])
    assert not (tmp_path / "split.csv").exists()


# --- in two --------------------------------------------------------------------------------------

# Predicts the validation images with a finished model and leaves what each process found.
PREDICT = """
import json, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import train
from training.options import build_parser
from training.distributed import process_group, rank
from test_distributed import predicted
args = build_parser("").parse_args({options!r})
with process_group(args.device) as args.device:
    found = predicted(args, Path({checkpoint!r}))
    (args.out / f"rank{{rank()}}.json").write_text(json.dumps(found))
"""


def predicted(args, checkpoint: Path) -> dict:
    """The figures and logits of a checkpoint on the validation images."""
    run = set_up(args, resolve_settings(args, None))
    run.model.load_state_dict(load_checkpoint(checkpoint).weights)
    logits = validation_logits(run, run.model)
    return {"figures": evaluate(run, 1), "logits": logits.tolist()}


def predicted_alone(options: list[str], checkpoint: Path, out: Path) -> dict:
    return predicted(build_parser("").parse_args([*options, "--out", str(out)]), checkpoint)


@pytest.mark.slow
def test_two_processes_predict_every_image_once_and_find_the_same_figures(
    tmp_path, options, trained
):
    checkpoint = trained / "best.pth"
    names = {"root": str(ROOT), "tests": str(Path(__file__).parent), "checkpoint": str(checkpoint)}
    script = tmp_path / "predict_all.py"
    script.write_text(PREDICT.format(options=[*options, "--out", str(tmp_path)], **names))
    finished(torchrun([str(script)]))
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    alone = predicted_alone(options, checkpoint, tmp_path)
    assert len(alone["logits"]) % 2 == 1  # a padded sampler would predict one image twice
    # In the order of the images, so that each was predicted exactly once
    torch.testing.assert_close(*(torch.tensor(f["logits"]) for f in (found[0], alone)))
    assert found[0]["figures"].pop("loss") == pytest.approx(alone["figures"].pop("loss"), rel=1e-5)
    assert found[0]["figures"] == alone["figures"]


@pytest.mark.slow
def test_two_processes_train_one_model_that_any_number_goes_on_with(tmp_path, resnet_options):
    options = [*resnet_options, *UNEVEN]
    out = ["--out", str(tmp_path)]
    printed = finished(torchrun(["train.py", *options, "--epochs", "1", *out]))
    assert "2 processes" in printed
    assert printed.count("best epoch 1 of 1") == 1  # one of them speaks
    (row,) = history(tmp_path)
    with open(tmp_path / "split.csv", newline="") as file:
        images = sum(line["split"] == "train" for line in csv.DictReader(file))
    assert images % 37 == 1  # of the last batch's image one process has no share
    right = float(row["train_accuracy"]) * images
    assert right == pytest.approx(round(right), abs=1e-6)  # no image counts twice
    # What was predicted is the model that was saved, its BatchNorm statistics included
    alone = predicted_alone(options, tmp_path / "best.pth", tmp_path / "alone")
    assert float(row["val_loss"]) == pytest.approx(alone["figures"]["loss"], rel=1e-4)
    resume = ["--data", options[options.index("--data") + 1], "--device", "cpu", "--resume", *out]
    assert train.main([*resume, "--epochs", "2"]) == 0
    finished(torchrun(["train.py", *resume, "--epochs", "3"]))
    assert [row["epoch"] for row in history(tmp_path)] == ["1", "2", "3"]
    assert load_checkpoint(tmp_path / "best.pth").operating_point


def children_of(process: subprocess.Popen) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for path in tasks for pid in path.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def long_training(folder: Path, options: list[str]) -> subprocess.Popen:
    """Two processes in the midst of many epochs."""
    out = ["--epochs", "500", "--patience", "500", "--out", str(folder)]
    process = torchrun(["train.py", *options, *out])
    end = time.monotonic() + BOUND_S
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def wait_for_saving(folder: Path) -> None:
    """Return when the first epochs are saved: best.pth, then last.pth once more."""
    best, last = folder / "best.pth", folder / "last.pth"
    end = time.monotonic() + BOUND_S
    while not (best.exists() and last.stat().st_mtime_ns > best.stat().st_mtime_ns):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_all_end(victim, tmp_path, options):
    process = long_training(tmp_path, options)
    pids = children_of(process)
    assert len(pids) == 2
    if victim == 0:
        wait_for_saving(tmp_path)
    os.kill(pids[victim], signal.SIGKILL)
    _, errors = process.communicate(timeout=BOUND_S)
    assert process.returncode != 0
    assert "the processes have lost each other" in errors or "terminated" in errors
    assert not any(is_alive(pid) for pid in pids)
    saved = run_state.load_last(tmp_path)["progress"]["epoch"]  # whole, whenever it was
    if victim == 0:
        assert 1 <= load_checkpoint(tmp_path / "best.pth").epoch <= saved


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_both_save_and_leave(number, tmp_path, options):
    process = long_training(tmp_path, options)
    pids = children_of(process)
    assert len(pids) == 2
    process.send_signal(number)
    output, errors = process.communicate(timeout=BOUND_S)
    assert process.returncode != 0
    assert output.count("go on with: python train.py --resume") == 1, errors
    assert run_state.load_last(tmp_path)["progress"]["epoch"] >= 1
    assert not any(is_alive(pid) for pid in pids)
