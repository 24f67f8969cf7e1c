"""What a training promises: exact resuming, nothing half-written, clear refusals."""

import csv
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
import torch

import run_state
import train
from common import ROOT, UserError
from model import load_checkpoint

FILES = {"best.pth", "best.json", "last.pth", "history.csv", "curves.png", "split.csv"}


def state_hash(out: Path) -> str:
    """One hash over weights, optimiser, random state, best figures and history but its seconds."""
    content = torch.load(out / "last.pth", weights_only=True)
    for row in content["progress"]["history"]:
        del row["seconds"]
    del content["progress"]["seconds"]
    digest = hashlib.sha256()

    def add(value):
        if isinstance(value, torch.Tensor):
            digest.update(value.numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(content)
    return digest.hexdigest()


def test_a_training_leaves_its_files_and_a_history_row_an_epoch(trained):
    assert {path.name for path in trained.iterdir()} - {".lock"} == FILES
    with open(trained / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    described = json.loads((trained / "best.json").read_text())
    assert described["epoch"] == int(best["epoch"])
    assert described["validation"]["loss"] == float(best["val_loss"])
    assert described["data"] == "synthetic castings"


def test_losses_are_means_over_images_not_batches(trained, castings):
    # 25 validation images in batches of 16: a mean over batch means would weigh 9 images like 16
    from data import make_batches, open_store
    from data_split import load_split

    checkpoint = load_checkpoint(trained / "best.pth")
    rows, _ = load_split(castings)
    store = open_store(castings, rows, checkpoint.image_size_px)
    cpu = torch.device("cpu")
    batches = make_batches(store, rows, "val", checkpoint.class_names, cpu, batch_size=1)
    model = checkpoint.model()
    with torch.inference_mode():
        losses = [
            float(torch.nn.functional.cross_entropy(model(images), targets))
            for images, targets in batches.epoch()
        ]
    assert checkpoint.validation["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def stop_after(batches: int, monkeypatch):
    """Send this process SIGTERM in the course of the given batch."""
    seen = 0
    original = train.count_right

    def count(*arguments):
        nonlocal seen
        seen += 1
        if seen == batches:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(train, "count_right", count)


@pytest.mark.parametrize("batches", [1, 4])
def test_stopped_and_resumed_equals_never_stopped(
    batches, tmp_path, trained, train_options, monkeypatch
):
    # Three batches an epoch: the first stop is in epoch 1, the second in epoch 2.
    with monkeypatch.context() as patch:
        stop_after(batches, patch)
        with pytest.raises(train_exit()):
            train.main([*train_options, "--out", str(tmp_path)])
    assert state_hash(tmp_path) != state_hash(trained)
    assert train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]) == 0
    assert state_hash(tmp_path) == state_hash(trained)
    assert (
        load_checkpoint(tmp_path / "best.pth").epoch == load_checkpoint(trained / "best.pth").epoch
    )


def train_exit():
    from common import Terminated

    return Terminated


def data_of(options):
    return options[options.index("--data") + 1]


def test_going_on_with_more_epochs_equals_having_asked_for_them(tmp_path, trained, train_options):
    short = [*train_options, "--epochs", "1", "--out", str(tmp_path)]
    assert train.main(short) == 0
    assert train.main(["--data", data_of(train_options), "--resume", "--epochs", "2",
                       "--out", str(tmp_path)]) == 0  # fmt: skip
    assert state_hash(tmp_path) == state_hash(trained)


def test_a_finished_run_has_nothing_left_to_do(tmp_path, trained, train_options, capsys):
    copy_run(trained, tmp_path)
    arguments = ["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]
    assert train.main(arguments) == 0
    assert "best epoch" in capsys.readouterr().out
    assert state_hash(tmp_path) == state_hash(trained)


def copy_run(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def test_resuming_another_model_lists_every_difference(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    other = ["--resume", "--out", str(tmp_path), "--head", "sigmoid", "--image-size", "64"]
    with pytest.raises(UserError) as failure:
        train.main([*train_options, *other])
    assert "head: softmax" in str(failure.value)
    assert "image_size: 32" in str(failure.value)
    assert state_hash(tmp_path) == state_hash(trained)


def test_resuming_on_other_images_is_refused(tmp_path, trained, castings):
    copy_run(trained, tmp_path)
    smaller = tmp_path / "data"
    for path in castings.rglob("*.jpeg"):
        target = smaller / path.relative_to(castings)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    next((smaller / "train" / "ok_front").iterdir()).unlink()
    with pytest.raises(UserError, match="images and split"):
        train.main(["--data", str(smaller), "--resume", "--out", str(tmp_path)])


def test_early_stopping_waits_for_strict_improvement(tmp_path, train_options, monkeypatch):
    losses = iter([1.0, 0.9, 0.9, 0.95, 0.5])
    fake = {"accuracy": 0.5, "missed": 0, "defects": 1, "false_alarms": 0, "good": 1}
    monkeypatch.setattr(train, "evaluate", lambda run, epoch: fake | {"loss": next(losses)})
    monkeypatch.setattr(train, "train_one_epoch", pretend_to_train)
    options = [*train_options, "--epochs", "9", "--patience", "2", "--out", str(tmp_path)]
    assert train.main(options) == 0
    history = (tmp_path / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 4  # two epochs without a better one follow the second
    assert load_checkpoint(tmp_path / "best.pth").epoch == 2


def pretend_to_train(run, progress, stop):
    progress.seen, progress.right, progress.loss_sum = 1, 1, 0.1


def poison(monkeypatch, batch: int) -> None:
    """Make the loss of one training batch NaN."""
    calls = 0
    original = torch.nn.CrossEntropyLoss.forward

    def forward(self, logits, targets):
        nonlocal calls
        calls += torch.is_grad_enabled()
        return original(self, logits, targets) * (math.nan if calls == batch else 1)

    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", forward)


def test_a_loss_that_is_not_finite_is_named_and_nothing_is_saved(
    tmp_path, train_options, monkeypatch
):
    assert train.main([*train_options, "--epochs", "1", "--out", str(tmp_path)]) == 0
    before = {name: (tmp_path / name).read_bytes() for name in ("best.pth", "last.pth")}
    poison(monkeypatch, batch=2)
    monkeypatch.setattr(train, "STEPS_BETWEEN_READS", 3)
    with pytest.raises(UserError, match=r"nan in epoch 2, batch 2") as failure:
        train.main([*train_options, "--resume", "--out", str(tmp_path)])
    assert failure.value.exit_code == 1
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_suggests_a_smaller_batch(error, tmp_path, train_options, monkeypatch):
    def exhaust(*_):
        raise error

    monkeypatch.setattr(train, "count_right", exhaust)
    with pytest.raises(UserError, match="--batch-size 8") as failure:
        train.main([*train_options, "--out", str(tmp_path)])
    assert failure.value.exit_code == 1
    run_state.load_last(tmp_path)  # still whole


def test_a_bug_in_the_loop_is_not_called_a_lack_of_memory(tmp_path, train_options, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(train, "count_right", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train.main([*train_options, "--out", str(tmp_path)])


def test_an_output_folder_that_is_a_file_fails_before_training(tmp_path, train_options):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="cannot use"):
        train.main([*train_options, "--out", str(tmp_path / "out")])


def test_a_second_run_in_the_same_folder_is_refused(tmp_path, train_options):
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(UserError, match="another run is writing"),
    ):
        train.main([*train_options, "--out", str(tmp_path)])


def test_a_finished_run_is_not_replaced_unasked(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    with pytest.raises(UserError, match="--resume, or replace it with --overwrite"):
        train.main([*train_options, "--out", str(tmp_path)])
    assert state_hash(tmp_path) == state_hash(trained)
    assert train.main([*train_options, "--epochs", "1", "--overwrite", "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 2


def test_overwrite_keeps_the_old_run_until_the_new_one_can_start(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    options = [*train_options, "--overwrite", "--out", str(tmp_path)]
    with pytest.raises(UserError):
        train.main([*options, "--weights", str(tmp_path / "gone.pth")])
    assert state_hash(tmp_path) == state_hash(trained)
    assert (tmp_path / "best.pth").is_file()


def test_resuming_needs_no_initial_weights(tmp_path, trained, train_options):
    weights = tmp_path / "weights.pth"
    weights.write_bytes((trained / "best.pth").read_bytes())
    out = ["--out", str(tmp_path / "run")]
    assert train.main([*train_options, "--weights", str(weights), "--epochs", "1", *out]) == 0
    weights.unlink()
    options = ["--data", data_of(train_options), "--resume", "--epochs", "2", *out]
    assert train.main(options) == 0


def test_resuming_makes_good_what_a_crash_left_out(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    for name in ("history.csv", "curves.png"):
        (tmp_path / name).unlink()
    train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)])
    assert (tmp_path / "history.csv").read_text() == (trained / "history.csv").read_text()
    assert (tmp_path / "curves.png").is_file()


def test_resuming_on_changed_contents_warns(tmp_path, trained, train_options, capsys):
    copy_run(trained, tmp_path)
    manifest = (trained / "split.csv").read_text()
    last_digit = manifest[-2]
    changed = manifest[:-2] + ("1" if last_digit == "0" else "0") + "\n"
    (tmp_path / "split.csv").write_text(changed)
    train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)])
    assert "1 image changed since training" in capsys.readouterr().err
    assert (tmp_path / "split.csv").read_text() == changed  # the evidence stays


@pytest.mark.parametrize(
    "option",
    [
        ["--lr", "0"], ["--lr", "-1"], ["--lr", "nan"], ["--weight-decay", "-1"],
        ["--seed", "-1"], ["--seed", "99999999999999999999"], ["--image-size", "8"],
        ["--epochs", "0"], ["--batch-size", "many"], ["--epoch", "3"],
    ],
)  # fmt: skip
def test_senseless_values_are_refused_at_once(option, capsys):
    with pytest.raises(SystemExit) as leaving:
        train.main(option)
    assert leaving.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_batch_that_cannot_be_normalised_is_refused(tmp_path, train_options):
    with pytest.raises(UserError, match="batch of one image"):
        train.main([*train_options, "--batch-size", "1", "--out", str(tmp_path)])


def test_leftovers_of_an_interrupted_write_are_removed(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    (tmp_path / "last.pth.123.tmp").write_bytes(b"half")
    train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)])
    assert not list(tmp_path.glob("*.tmp"))


def test_resuming_where_nothing_is_says_so(tmp_path, train_options):
    with pytest.raises(UserError, match=r"no such file: .*last\.pth"):
        train.main([*train_options, "--resume", "--out", str(tmp_path)])


def test_an_unknown_device_gives_one_line(tmp_path, train_options):
    with pytest.raises(UserError, match="cannot use device 'abacus'"):
        train.main([*train_options, "--device", "abacus", "--out", str(tmp_path)])


def test_the_cosine_schedule_falls_to_almost_nothing(tmp_path, train_options):
    options = [*train_options, "--schedule", "cosine", "--lr", "0.1", "--out", str(tmp_path)]
    assert train.main(options) == 0
    with open(tmp_path / "history.csv", newline="") as file:
        first, last = (float(row["learning_rate"]) for row in csv.DictReader(file))
    # The rate of each epoch's last batch: 2/6 and 5/6 of the way
    assert first == pytest.approx(0.1 * (1 + math.cos(math.pi * 2 / 6)) / 2)
    assert last == pytest.approx(0.1 * (1 + math.cos(math.pi * 5 / 6)) / 2)


def test_the_sigmoid_head_trains_and_resumes(tmp_path, train_options):
    options = [*train_options, "--head", "sigmoid", "--epochs", "1", "--out", str(tmp_path)]
    assert train.main(options) == 0
    assert load_checkpoint(tmp_path / "best.pth").weights["fc.weight"].shape[0] == 1


@pytest.mark.slow  # a CPU without bfloat16 instructions emulates it
def test_bf16_autocast_uses_the_same_loop(tmp_path, train_options):
    assert train.main([*train_options, "--epochs", "1", "--amp", "--out", str(tmp_path)]) == 0
    assert load_checkpoint(tmp_path / "best.pth").training["amp"] is True


def test_a_second_signal_leaves_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with run_state.StopSignal():
        os.kill(os.getpid(), signal.SIGINT)
        assert not codes
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]


# --- in processes of their own ---------------------------------------------------------------


def start(arguments, prelude=""):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{prelude}\nimport train\n"
    code += f"from common import run_script\nrun_script(lambda: train.main({arguments!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, process, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves_with_its_code(number, code, tmp_path, train_options):
    options = [*train_options, "--epochs", "500", "--patience", "500", "--out", str(tmp_path)]
    process = start(options)
    wait_for(tmp_path / "history.csv", process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "go on with: python train.py --resume" in output
    assert "Traceback" not in errors
    assert run_state.load_last(tmp_path)["progress"]["epoch"] >= 1
    assert not list(tmp_path.glob("*.tmp"))


# The process kills itself in the n-th call: while writing, after fsync, before the replacement.
KILL = """
import os, signal
calls, original = 0, os.{name}
def kill(*arguments):
    global calls
    calls += str(arguments[-1]).endswith("{ending}") or {ending!r} == ""
    if calls == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
os.{name} = kill
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending", "number"),
    [("replace", "last.pth", 2), ("replace", "best.pth", 1), ("fsync", "", 5)],
)
def test_kill_9_while_saving_loses_nothing(name, ending, number, tmp_path, trained, train_options):
    prelude = KILL.format(name=name, ending=ending, number=number)
    process = start([*train_options, "--out", str(tmp_path)], prelude)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert list(tmp_path.glob("*.tmp"))
    run_state.load_last(tmp_path)
    arguments = ["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]
    assert train.main(arguments) == 0
    assert state_hash(tmp_path) == state_hash(trained)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.slow
def test_a_full_disk_names_the_path_and_keeps_the_old_files(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000,) * 2)"
    options = ["--data", data_of(train_options), "--resume", "--epochs", "3"]
    process = start([*options, "--out", str(tmp_path)], prelude)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert f"cannot write {tmp_path}" in errors
    assert "File too large" in errors
    assert state_hash(tmp_path) == state_hash(trained)


@pytest.mark.slow
def test_help_answers_in_half_a_second():
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "train.py", "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.5
