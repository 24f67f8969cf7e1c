"""What a training promises: exact resuming, nothing half-written, clear refusals, whole folds."""

import csv
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch

import data_split
import train
from common.errors import UserError
from common.files import ROOT, write_csv
from data_split import load_split
from dataset.arguments import split_options
from dataset.batches import unit_range
from dataset.casting_table import read_table
from dataset.listing import list_images
from dataset.manifest import read_split
from dataset.store import open_store
from evaluation.held_out import load_models
from inspection.predictor import load_predictor
from metrics.castings import class_weights
from model import load_checkpoint
from networks import devices
from training import finish, loop, runs, saving, validation
from training import state as run_state
from training.options import build_parser
from training.runs import train_fold
from training.schedule import one_cycle
from training.settings import resolve_settings
from training.step import TrainingStep

MULTIPLIES_BFLOAT16 = devices.multiplies_bfloat16  # before conftest.py makes all CPUs the same
FILES = {
    "best.pth",
    "best.json",
    "best_validation.csv",
    "last.pth",
    "history.csv",
    "curves.png",
    "split.csv",
    "report.html",
}


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


def test_the_report_of_a_training_is_one_file(trained):
    page = (trained / "report.html").read_text()
    described = json.loads((trained / "best.json").read_text())
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,)', page)
    assert page.count("<img ") == 1
    for text in (
        described["sha256"],
        "kaggle: the folders train and test as they are",
        f"{described['validation']['missed']}/{described['validation']['defects']} = ",
        f"python test.py --checkpoint {trained / 'best.pth'} --data ",
        "by python train.py --data ",
        " test images show a casting that is also in training",
    ):
        assert text in page


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


@pytest.mark.slow
def test_losses_are_means_over_images_not_batches(trained_resnet, castings):
    # 25 validation images in batches of 16: a mean over batch means would weigh 9 images like 16
    from dataset.batches import make_batches

    checkpoint = load_checkpoint(trained_resnet / "best.pth")
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
    original = TrainingStep.loss_and_right

    def predicted(*arguments):
        nonlocal seen
        seen += 1
        if seen == batches:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(TrainingStep, "loss_and_right", predicted)


# Three batches an epoch: the first stop is in epoch 1, the second in epoch 2.
@pytest.mark.parametrize(
    ("network", "batches"),
    [("local", 1), ("local", 4), pytest.param("resnet", 4, marks=pytest.mark.slow)],
)
def test_stopped_and_resumed_equals_never_stopped(network, batches, tmp_path, request, monkeypatch):
    names = ("trained", "train_options") if network == "local" else (
        "trained_resnet", "resnet_options"
    )  # fmt: skip
    trained, train_options = map(request.getfixturevalue, names)
    with monkeypatch.context() as patch:
        stop_after(batches, patch)
        with pytest.raises(train_exit()):
            train.main([*train_options, "--out", str(tmp_path)])
    assert state_hash(tmp_path) != state_hash(trained)
    if batches == 4:  # of the epoch that ended before the stop
        assert load_checkpoint(tmp_path / "best.pth").epoch == 1
    assert train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]) == 0
    assert state_hash(tmp_path) == state_hash(trained)
    assert (
        load_checkpoint(tmp_path / "best.pth").epoch == load_checkpoint(trained / "best.pth").epoch
    )


def train_exit():
    from common.errors import Terminated

    return Terminated


def data_of(options):
    return options[options.index("--data") + 1]


@pytest.mark.slow
def test_going_on_with_more_epochs_equals_having_asked_for_them(tmp_path, trained, train_options):
    short = [*train_options, "--epochs", "1", "--out", str(tmp_path)]
    assert train.main(short) == 0
    assert train.main(["--data", data_of(train_options), "--resume", "--epochs", "2",
                       "--out", str(tmp_path)]) == 0  # fmt: skip
    assert state_hash(tmp_path) == state_hash(trained)


def test_epochs_in_quick_succession_are_saved_together(
    tmp_path, trained, train_options, monkeypatch, no_curves
):
    original, saved = saving.save_last, []

    def save_last(run, progress):
        saved.append(progress.epoch)
        original(run, progress)
        time.sleep(0.1)

    monkeypatch.setattr(saving, "save_last", save_last)
    for seconds, epochs in ((1000, [0, 2]), (0, [0, 1, 2])):
        monkeypatch.setattr(saving, "SECONDS_BETWEEN_SAVES", seconds)
        out = tmp_path / str(seconds)
        assert train.main([*train_options, "--out", str(out)]) == 0
        assert saved == epochs
        assert state_hash(out) == state_hash(trained)
        saved.clear()
    with open(out / "history.csv", newline="") as file:
        assert float(list(csv.DictReader(file))[1]["seconds"]) > 0.1  # the first epoch's saving


def test_a_crash_before_anything_was_saved_repeats_the_epochs_exactly(
    tmp_path, trained, train_options, monkeypatch
):
    original = loop.evaluate

    def crash(run, epoch):
        assert epoch == 1, "a crash"
        return original(run, epoch)

    monkeypatch.setattr(saving, "SECONDS_BETWEEN_SAVES", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", crash)
        with pytest.raises(AssertionError, match="a crash"):
            train.main([*train_options, "--out", str(tmp_path)])
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 1
    assert run_state.load_last(tmp_path)["progress"]["epoch"] == 0
    assert load_checkpoint(tmp_path / "best.pth").epoch == 1  # not lost with the second
    assert train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]) == 0
    assert state_hash(tmp_path) == state_hash(trained)
    assert load_checkpoint(tmp_path / "best.pth").validation == (
        load_checkpoint(trained / "best.pth").validation
    )


def test_a_finished_run_has_nothing_left_to_do(tmp_path, trained, train_options, capsys):
    copy_run(trained, tmp_path)
    arguments = ["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]
    assert train.main(arguments) == 0
    assert "best epoch" in capsys.readouterr().out
    assert state_hash(tmp_path) == state_hash(trained)


def copy_run(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def test_moments_saved_in_another_order_in_memory_are_those_of_their_weights(
    tmp_path, trained, train_options
):
    # Fused Adam goes through memory, whatever the strides: earlier runs stored rows of rows
    copy_run(trained, tmp_path)
    content = torch.load(tmp_path / "last.pth", weights_only=True)
    for state in content["optimizer"]["state"].values():
        for name, value in state.items():
            state[name] = value.contiguous()
    torch.save(content, tmp_path / "last.pth")
    resume = ["--data", data_of(train_options), "--resume", "--epochs", "3", "--out"]
    assert train.main([*resume, str(tmp_path)]) == 0
    unchanged = tmp_path / "unchanged"
    unchanged.mkdir()
    copy_run(trained, unchanged)
    assert train.main([*resume, str(unchanged)]) == 0
    assert state_hash(tmp_path) == state_hash(unchanged)


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


@pytest.mark.slow
def test_early_stopping_waits_for_strict_improvement(tmp_path, train_options, monkeypatch):
    losses = iter([1.0, 0.9, 0.9, 0.95, 0.5])
    fake = {"accuracy": 0.5, "missed": 0, "defects": 1, "false_alarms": 0, "good": 1}
    monkeypatch.setattr(loop, "evaluate", lambda run, epoch: fake | {"loss": next(losses)})
    monkeypatch.setattr(loop, "train_one_epoch", pretend_to_train)
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


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_named_and_nothing_is_saved(
    tmp_path, resnet_options, monkeypatch
):
    assert train.main([*resnet_options, "--epochs", "1", "--out", str(tmp_path)]) == 0
    before = {name: (tmp_path / name).read_bytes() for name in ("best.pth", "last.pth")}
    poison(monkeypatch, batch=2)
    monkeypatch.setattr(loop, "STEPS_BETWEEN_READS", 3)
    with pytest.raises(UserError, match=r"nan in epoch 2, batch 2") as failure:
        train.main([*resnet_options, "--resume", "--out", str(tmp_path)])
    assert failure.value.exit_code == 1
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_suggests_a_smaller_batch(error, tmp_path, train_options, monkeypatch):
    def exhaust(*_):
        raise error

    monkeypatch.setattr(TrainingStep, "loss_and_right", exhaust)
    with pytest.raises(UserError, match="--batch-size 8") as failure:
        train.main([*train_options, "--out", str(tmp_path)])
    assert failure.value.exit_code == 1
    run_state.load_last(tmp_path)  # still whole


def test_a_bug_in_the_loop_is_not_called_a_lack_of_memory(tmp_path, train_options, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(TrainingStep, "loss_and_right", fail)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    last_digit = manifest[-3]  # of the last image's SHA-256, before its empty session
    changed = manifest[:-3] + ("1" if last_digit == "0" else "0") + ",\n"
    (tmp_path / "split.csv").write_text(changed)
    train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)])
    assert "1 image changed since training" in capsys.readouterr().err
    assert (tmp_path / "split.csv").read_text() == changed  # the evidence stays


@pytest.mark.parametrize(
    "option",
    [
        ["--lr", "0"], ["--lr", "-1"], ["--lr", "nan"], ["--weight-decay", "-1"],
        ["--seed", "-1"], ["--seed", "99999999999999999999"], ["--image-size", "8"],
        ["--epochs", "0"], ["--batch-size", "many"], ["--epoch", "3"], ["--epoch-size", "0"],
        ["--operating-point", "0"], ["--operating-point", "1.01"], ["--operating-point", "best"],
        ["--sampler", "lot"], ["--fold", "0"],
        ["--folds", "1"], ["--recipe", "large"],
    ],
)  # fmt: skip
def test_senseless_values_are_refused_at_once(option, capsys):
    with pytest.raises(SystemExit) as leaving:
        train.main(option)
    assert leaving.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--resume", "--overwrite"], "give one"),
        (["--fold", "all"], "belongs to --protocol casting"),
        (["--fold", "1"], "belong to --protocol casting"),
        (["--folds", "5", "--protocol", "kaggle"], "belong to --protocol casting"),
        (["--out", "best.pth"], "name a folder"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path, train_options, options, reason, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "set_up", lambda *_: pytest.fail("it began"))
    with pytest.raises(UserError, match=reason) as failure:
        train.main([*train_options, *options])
    assert failure.value.exit_code == 2


def test_a_batch_that_cannot_be_normalised_is_refused(tmp_path, train_options):
    with pytest.raises(UserError, match="batch of one image"):
        train.main([*train_options, "--batch-size", "1", "--out", str(tmp_path)])


def test_leftovers_of_an_interrupted_write_are_removed(tmp_path, trained, train_options):
    copy_run(trained, tmp_path)
    (tmp_path / "last.pth.123.tmp").write_bytes(b"half")
    train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)])
    assert not list(tmp_path.glob("*.tmp"))


def test_resuming_where_nothing_is_says_so(tmp_path, train_options):
    with pytest.raises(UserError, match=r"no run to resume in .*last\.pth"):
        train.main([*train_options, "--resume", "--out", str(tmp_path / "no" / "run")])
    assert not any(tmp_path.iterdir())


def test_a_device_that_is_not_there_gives_one_line(tmp_path, train_options):
    with pytest.raises(UserError, match="cannot use device 'xpu'"):
        train.main([*train_options, "--device", "xpu", "--out", str(tmp_path)])


@pytest.mark.slow
def test_the_cosine_schedule_falls_to_almost_nothing(tmp_path, train_options):
    options = [*train_options, "--schedule", "cosine", "--lr", "0.1", "--out", str(tmp_path)]
    assert train.main(options) == 0
    with open(tmp_path / "history.csv", newline="") as file:
        first, last = (float(row["learning_rate"]) for row in csv.DictReader(file))
    # The rate of each epoch's last batch: 2/6 and 5/6 of the way
    assert first == pytest.approx(0.1 * (1 + math.cos(math.pi * 2 / 6)) / 2)
    assert last == pytest.approx(0.1 * (1 + math.cos(math.pi * 5 / 6)) / 2)


def test_one_cycle_rises_for_a_quarter_and_falls_to_nothing():
    rates = [one_cycle(done) for done in (0, 0.125, 0.25, 0.625, 1)]
    assert rates == pytest.approx([0.04, 0.52, 1, 0.5, 0])


@pytest.mark.slow
def test_the_sigmoid_head_trains_and_resumes(tmp_path, train_options):
    options = [*train_options, "--head", "sigmoid", "--epochs", "1", "--out", str(tmp_path)]
    assert train.main(options) == 0
    assert load_checkpoint(tmp_path / "best.pth").weights["fc.weight"].shape[0] == 1


LOCAL = ["--recipe", "robust", "--epoch-size", "24", "--batch-size", "8"]
LOCAL += ["--operating-point", "balanced"]


@pytest.fixture(scope="module")
def trained_local(tmp_path_factory, fold_options):
    """A fold of the local network, two short epochs."""
    out = tmp_path_factory.mktemp("local")
    options = [*fold_options, *LOCAL, "--augment", "strong", "--epochs", "2"]
    assert train.main([*options, "--out", str(out)]) == 0
    return out, options


def test_the_local_network_trains_and_its_checkpoint_knows_it(trained_local, paths):
    out, _ = trained_local
    checkpoint = load_checkpoint(out / "best.pth")
    assert checkpoint.architecture == "local"
    assert not [name for name in checkpoint.weights if name.startswith(("layer3", "layer4"))]
    verdicts = load_predictor(out / "best.pth", "cpu").predict(paths)
    assert len({round(one.prob_defect, 6) for one in verdicts}) > 2


def test_the_local_network_goes_on_at_the_very_batch(trained_local, tmp_path, monkeypatch):
    whole, options = trained_local
    out = ["--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        stop_after(4, patch)  # of three batches an epoch
        with pytest.raises(train_exit()):
            train.main([*options, *out])
    assert train.main([*options, *out, "--resume"]) == 0
    one, other = (load_checkpoint(p / "best.pth").weights for p in (whole, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_its_threshold_is_one_half_and_the_logit_bias_is_in_the_weights(trained_local, castings):
    out, _ = trained_local
    checkpoint = load_checkpoint(out / "best.pth")
    point = checkpoint.operating_point
    assert (checkpoint.threshold, point["min_recall"]) == (0.5, None)
    assert point["cut"] != 0
    rows, split = (
        list(csv.DictReader((out / name).read_text().splitlines()))
        for name in ("best_validation.csv", "split.csv")
    )
    paths = [castings / row["path"] for row in split if row["split"] == "val"]
    verdicts = load_predictor(out / "best.pth", "cpu").predict(paths)
    stored = [float(row["prob_defect"]) for row in rows]
    assert [one.prob_defect for one in verdicts] == pytest.approx(stored, abs=1e-4)


WORSE = {"loss": 9.0, "accuracy": 0.5, "missed": 0, "defects": 1, "false_alarms": 0, "good": 1}


@pytest.mark.parametrize(("patience", "kept"), [("9", 2), ("0", 3)])
def test_a_longer_run_keeps_the_best_epoch_or_with_no_patience_the_last(
    trained_local, tmp_path, monkeypatch, no_curves, patience, kept
):
    out, options = trained_local
    link_run(out, tmp_path / "on")
    first = load_checkpoint(out / "best.pth")
    assert first.epoch == 2
    monkeypatch.setattr(loop, "evaluate", lambda run, epoch: WORSE)
    monkeypatch.setattr(loop, "train_one_epoch", spoil)
    longer = ["--epochs", "3", "--patience", patience, "--out", str(tmp_path / "on"), "--resume"]
    assert train.main([*options, *longer]) == 0
    checkpoint = load_checkpoint(tmp_path / "on" / "best.pth")
    assert checkpoint.epoch == kept
    if kept == first.epoch:  # its cut was in the weights already
        cuts = [c.operating_point["cut"] for c in (first, checkpoint)]
        assert cuts[0] == pytest.approx(cuts[1], abs=1e-4)
        assert cuts[0] != 0


def test_its_validation_loss_counts_good_parts_and_defects_alike():
    weights = class_weights(["a", "a", "b", "c"], np.array([False, False, False, True]))
    assert weights.tolist() == [0.125, 0.125, 0.25, 0.5]


def test_the_local_network_and_synthetic_defects_belong_together(tmp_path, resnet_options):
    for option, match in (
        (["--network", "local"], "learns from --drawn-defects"),
        (["--drawn-defects", "0.5"], "are for --network local and multiscale"),
    ):
        with pytest.raises(UserError, match=match):
            train.main([*resnet_options, *option, "--out", str(tmp_path / "x")])
    with pytest.raises(UserError, match="fit --network resnet18 only"):
        train.main(["--recipe", "robust", "--weights", "imagenet", "--out", str(tmp_path / "x")])


def test_other_folds_by_another_seed(tmp_path, castings, trained_folds):
    def tested(*options):
        out = tmp_path / "-".join(options[-1:])
        own = ["--data", str(castings), "--protocol", "casting", "--folds", "2", "--out", str(out)]
        assert data_split.main([*own, *options]) == 0
        return (out / "split.csv").read_text()

    assert tested("--fold-seed", "42") == (trained_folds / "fold1" / "split.csv").read_text()
    assert tested("--fold-seed", "7") != tested("--fold-seed", "42")
    with pytest.raises(UserError, match="--fold-seed belong to --protocol casting"):
        split_options({"fold_seed": 7})


def test_explicit_values_win_over_the_recipe(tmp_path):
    def settings(*options, stored=None):
        options = [*options, "--out", str(tmp_path)]
        return resolve_settings(build_parser("").parse_args(options), stored)

    robust = settings("--recipe", "robust")
    assert (robust.network, robust.epoch_size, robust.operating_point) == (
        "local",
        3072,
        "balanced",
    )
    changed = settings("--recipe", "robust", "--operating-point", "0.9", "--epoch-size", "64")
    assert changed == replace(robust, operating_point=0.9, epoch_size=64)
    assert settings().operating_point == "none"
    # A run that goes on keeps its recipe, although the option is left out
    stored = robust.as_dict()
    assert settings("--resume", stored=stored) == robust
    with pytest.raises(UserError, match=r"recipe: robust in .*, reference now"):
        settings("--resume", "--recipe", "reference", stored=stored)
    # ... also one that is no more, and one begun when an option had another name
    old = {k: v for k, v in stored.items() if k != "operating_point"}
    old |= {"recipe": "small", "min_recall": 0.99}
    assert settings("--resume", stored=old) == replace(robust, recipe="small", operating_point=0.99)


def test_a_model_remembers_the_labels_that_were_corrected(castings, fold_options, tmp_path, capsys):
    """Split, continued run and test.py follow from the model alone; the figures stay published."""
    out, split, table = tmp_path / "run", tmp_path / "split", tmp_path / "labels.csv"
    changed = next(row.path for row in list_images(castings)[0] if row.label == "ok_front")
    table.write_text(f"path,label,rank\n{changed},def_front,1\n")
    correct = ["--labels", str(table)]
    own = ["--data", str(castings), "--protocol", "casting", "--folds", "2"]
    assert data_split.main([*own, *correct, "--out", str(split)]) == 0
    assert f"--labels {table}" in capsys.readouterr().out
    assert train.main([*fold_options, *correct, "--out", str(out)]) == 0
    assert "note: corrected labels: 1 image of 1 casting changed" in capsys.readouterr().err
    assert (out / "split.csv").read_text() == (split / "split.csv").read_text()
    labels = {row.path: row.label for row in read_split(out / "split.csv")}
    assert labels[changed] == "def_front"

    resume = ["--data", str(castings), "--resume", "--epochs", "2", "--out", str(out)]
    table.write_text(f"path,label\n{changed},ok_front\n")
    with pytest.raises(UserError, match=r"corrected_labels: 1 image \(sha256 .*, 1 image \(sha"):
        train.main([*resume, *correct])
    table.unlink()
    assert train.main(resume) == 0

    (model,) = load_models(out / "best.pth", castings, "cpu")
    assert {row.path: row.label for row in model.rows}[changed] == "ok_front"


def test_a_deterministic_run_asks_pytorch_for_algorithms_that_repeat(
    tmp_path, train_options, monkeypatch
):
    asked = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", asked.append)
    for name, options in (("a", ["--deterministic"]), ("b", [])):
        monkeypatch.setattr(runs, "fit", lambda *_: (_ for _ in ()).throw(UserError("enough")))
        with pytest.raises(UserError, match="enough"):
            train.main([*train_options, *options, "--out", str(tmp_path / name)])
        assert asked == [True]


# --- what an epoch draws -------------------------------------------------------------------------

SAMPLING = ["--sampler", "casting", "--epoch-size", "40"]


@pytest.fixture
def no_curves(monkeypatch):
    """Drawing takes a third of such a training's time."""
    monkeypatch.setattr(saving, "draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, train_options):
    """The folder of a training that draws castings, and of each batch its (images, defects)."""
    out, batches = tmp_path_factory.mktemp("sampled"), []
    original = TrainingStep.loss_and_right

    def predicted(step, images, targets):
        batches.append((len(targets), int((targets == 0).sum())))
        return original(step, images, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "loss_and_right", predicted)
        patch.setattr(saving, "draw_curves", lambda *_: None)
        assert train.main([*train_options, *SAMPLING, "--out", str(out)]) == 0
    return out, batches


def test_an_epoch_has_the_size_asked_for_and_draws_castings_alike(sampled):
    out, batches = sampled
    assert [images for images, _ in batches] == [16, 16, 8] * 2
    # A full batch is a round of the 16 castings, 8 of them defective
    assert [defects for images, defects in batches if images == 16] == [8] * 4
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:  # the share of 40 images
        right = float(row["train_accuracy"]) * 40
        assert right == pytest.approx(round(right))
    assert run_state.load_last(out)["checkpoint"]["training"]["epoch_size"] == 40


def test_stopped_and_resumed_draws_the_same_castings(
    tmp_path, sampled, train_options, monkeypatch, no_curves
):
    with monkeypatch.context() as patch:
        stop_after(5, patch)  # in epoch 2
        with pytest.raises(train_exit()):
            train.main([*train_options, *SAMPLING, "--out", str(tmp_path)])
    assert train.main(["--data", data_of(train_options), "--resume", "--out", str(tmp_path)]) == 0
    assert state_hash(tmp_path) == state_hash(sampled[0])


def test_sampling_and_epoch_size_cannot_change_within_a_run(tmp_path, trained, train_options):
    link_run(trained, tmp_path)
    with pytest.raises(UserError) as failure:
        train.main([*train_options, *SAMPLING, "--resume", "--out", str(tmp_path)])
    assert "sampler: image" in str(failure.value)
    assert "epoch_size: None" in str(failure.value)


def test_an_epoch_size_that_leaves_one_image_is_refused(tmp_path, train_options):
    with pytest.raises(UserError, match="batch of one image"):
        train.main([*train_options, "--epoch-size", "33", "--out", str(tmp_path)])


# --- the operating point -------------------------------------------------------------------------


def test_without_a_recall_to_meet_the_threshold_stays_one_half(trained):
    checkpoint = load_checkpoint(trained / "best.pth")
    untouched = {"fitted": False, "threshold": 0.5, "temperature": 1.0}
    assert checkpoint.operating_point == untouched
    assert (checkpoint.threshold, checkpoint.temperature) == (0.5, 1.0)
    assert json.loads((trained / "best.json").read_text())["operating_point"] == untouched


def test_the_fitted_operating_point_is_stored_with_how_it_came_about(trained_folds):
    for fold in ("fold1", "fold2"):
        checkpoint = load_checkpoint(trained_folds / fold / "best.pth")
        point = checkpoint.operating_point
        assert point["fitted"] is True
        assert (checkpoint.threshold, checkpoint.temperature) == (
            point["threshold"],
            point["temperature"],
        )
        assert checkpoint.temperature != 1
        assert point["min_recall"] == 0.7
        assert (point["castings_defective"], point["castings_good"]) == (2, 2)
        described = json.loads((trained_folds / fold / "best.json").read_text())
        assert described["operating_point"] == point
        assert (described["threshold"], described["temperature"]) == (
            checkpoint.threshold,
            checkpoint.temperature,
        )


def validation_part(root, checkpoint):
    """Grey images uint8 (N, S, S) and rows of the validation part, as the checkpoint had it."""
    rows, _ = load_split(root, split_options(checkpoint.training))
    chosen = [i for i, row in enumerate(rows) if row.split == "val"]
    store = open_store(root, rows, checkpoint.image_size_px)
    return torch.from_numpy(store[chosen]), [rows[i] for i in chosen]


def defect_scores(root, predictor):
    """P(defect) of the validation images in ascending order, and of the defects among them."""
    grey, rows = validation_part(root, predictor.checkpoint)
    scores = [verdict.prob_defect for verdict in predictor.predict_batch(grey)]
    defects = [s for s, row in zip(scores, rows, strict=True) if row.label == "def_front"]
    return sorted(scores), sorted(defects)


def test_with_recall_one_no_validation_defect_is_missed(
    tmp_path, castings, train_options, no_curves
):
    options = [*train_options, "--head", "sigmoid", "--operating-point", "1.0", "--epochs", "1"]
    assert train.main([*options, "--out", str(tmp_path)]) == 0
    predictor = load_predictor(tmp_path / "best.pth", "cpu")
    scores, defects = defect_scores(castings, predictor)
    threshold = predictor.checkpoint.threshold
    assert threshold < defects[0]
    # The largest such threshold: midway to the next lower score, or to 0
    next_lower = max((score for score in scores if score < defects[0]), default=0)
    assert threshold == pytest.approx((defects[0] + next_lower) / 2, abs=1e-5)
    assert predictor.checkpoint.temperature != 1


def test_a_lower_recall_lets_validation_defects_pass(castings, trained_folds):
    predictor = load_predictor(trained_folds / "fold1" / "best.pth", "cpu")
    _, defects = defect_scores(castings, predictor)
    missed = sum(score < predictor.checkpoint.threshold for score in defects)
    # Of two castings with 4 images each, so that images count alike: 6 of 8 are more than 70 %
    assert (missed, len(defects)) == (2, 8)


# --- held-out castings ---------------------------------------------------------------------------


def test_the_validation_loss_counts_castings_alike(tmp_path, castings, fold_options, no_curves):
    # Half the castings are told apart into images, so that castings have one image or four
    rows, _ = list_images(castings)
    names = read_table(castings / "truth.csv", castings, rows)
    names = [
        name if int(name[1:]) < 8 else f"{name} {number}"
        for number, name in enumerate(names)
    ]  # fmt: skip
    lines = zip((row.path for row in rows), names, strict=True)
    write_csv(tmp_path / "table.csv", ["path", "casting"], lines)
    own = ["--castings", str(tmp_path / "table.csv"), "--out", str(tmp_path)]
    assert train.main([*fold_options, *own]) == 0

    checkpoint = load_checkpoint(tmp_path / "best.pth")
    assert checkpoint.fold == 1
    model = checkpoint.model()
    grey, rows = validation_part(castings, checkpoint)
    right = [checkpoint.class_names.index(row.label) for row in rows]
    with torch.inference_mode():
        probabilities = model(unit_range(grey)).softmax(dim=1)[range(len(rows)), right]
    losses: dict[str, list[float]] = {}
    for row, loss in zip(rows, (-probabilities.log()).tolist(), strict=True):
        losses.setdefault(row.casting, []).append(loss)
    assert {len(values) for values in losses.values()} == {1, 4}
    by_casting = np.mean([np.mean(values) for values in losses.values()])
    by_image = np.mean(np.concatenate(list(losses.values())))
    assert checkpoint.validation["loss"] == pytest.approx(by_casting, rel=1e-4)
    assert by_casting != pytest.approx(by_image, rel=1e-3)


def link_run(source: Path, target: Path) -> None:
    """The files of a run, or of all folds, in another folder without copying their bytes.

    Writing there leaves the originals alone: files are replaced, never changed.
    """
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, copy)


def identities(folder: Path) -> dict[str, tuple]:
    """What changes when a file is written again."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in (".pth", ".json", ".csv"))
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
    }


def test_each_fold_has_a_folder_and_tests_other_castings(trained_folds, castings):
    tested = []
    for fold in (1, 2):
        folder = trained_folds / f"fold{fold}"
        assert {path.name for path in folder.iterdir()} - {".lock"} == FILES
        checkpoint = load_checkpoint(folder / "best.pth")
        assert (checkpoint.protocol, checkpoint.fold) == ("casting", fold)
        assert checkpoint.training["folds"] == 2
        with open(folder / "split.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        held_out = {line["casting"] for line in lines if line["split"] == "test"}
        assert not held_out & {line["casting"] for line in lines if line["split"] != "test"}
        tested += held_out
    assert len(tested) == len(set(tested)) == 16


def all_folds(fold_options, out, *more):
    return train.main([*fold_options, *more, "--fold", "all", "--out", str(out)])


def test_finished_folds_are_skipped(tmp_path, trained_folds, fold_options, monkeypatch, capsys):
    link_run(trained_folds, tmp_path)
    before = identities(tmp_path)
    monkeypatch.setattr(runs, "set_up", lambda *_: pytest.fail("a fold is trained again"))
    assert all_folds(fold_options, tmp_path) == 0
    assert identities(tmp_path) == before
    printed = capsys.readouterr().out
    assert "fold 1 is finished" in printed
    assert "fold 2 is finished" in printed
    data = data_of(fold_options)
    assert f"python test.py --protocol casting --checkpoint {tmp_path} --data {data}" in printed


def test_an_interrupted_fold_goes_on_and_finished_ones_stay(
    tmp_path, trained_folds, fold_options, monkeypatch, no_curves
):
    link_run(trained_folds / "fold1", tmp_path / "fold1")
    before = identities(tmp_path / "fold1")
    with monkeypatch.context() as patch:
        stop_after(1, patch)  # of two batches
        with pytest.raises(train_exit()):
            all_folds(fold_options, tmp_path)
    assert run_state.load_last(tmp_path / "fold2")["progress"]["step"] == 1
    assert all_folds(fold_options, tmp_path) == 0
    assert identities(tmp_path / "fold1") == before
    assert state_hash(tmp_path / "fold2") == state_hash(trained_folds / "fold2")
    points = [
        json.loads((folder / "fold2" / "best.json").read_text())["operating_point"]
        for folder in (tmp_path, trained_folds)
    ]
    assert points[0] == points[1]


@pytest.mark.parametrize("left", ["no best.json", "no operating point"])
def test_a_fold_that_was_stopped_before_its_operating_point_gets_one(
    left, tmp_path, trained_folds, fold_options, monkeypatch
):
    link_run(trained_folds, tmp_path)
    described = tmp_path / "fold2" / "best.json"
    expected = json.loads(described.read_text())
    described.unlink()
    if left == "no operating point":
        described.write_text(json.dumps(expected | {"operating_point": None}))
    monkeypatch.setattr(loop, "train_one_epoch", lambda *_: pytest.fail("it was trained"))
    assert all_folds(fold_options, tmp_path) == 0
    assert json.loads(described.read_text()) == expected


def test_folds_with_other_settings_are_refused(tmp_path, trained_folds, fold_options):
    link_run(trained_folds, tmp_path)
    before = identities(tmp_path)
    with pytest.raises(UserError, match=r"lr: 0.001 in .*fold1.*, 0.5 now") as failure:
        all_folds(fold_options, tmp_path, "--lr", "0.5")
    assert "\n" not in str(failure.value)
    assert identities(tmp_path) == before


def test_folds_of_other_castings_are_refused(tmp_path, trained_folds, fold_options, castings):
    link_run(trained_folds, tmp_path / "out")
    before = identities(tmp_path / "out")
    data = shutil.copytree(castings, tmp_path / "data")
    with open(data / "truth.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    one, other = sorted({row["casting"] for row in rows if row["casting"].startswith("c")})[:2]
    for row in rows:  # the table is corrected: these two are one
        row["casting"] = one if row["casting"] == other else row["casting"]
    write_csv(data / "truth.csv", list(rows[0]), (row.values() for row in rows))
    with pytest.raises(UserError, match=r"fold\d was trained on other images or castings"):
        all_folds(fold_options, tmp_path / "out", "--data", str(data))
    assert identities(tmp_path / "out") == before


def test_a_later_fold_with_too_few_castings_is_refused_before_the_first_is_trained(
    tmp_path, fold_options
):
    with pytest.raises(UserError, match=r"fold [23] of 3: the test part has 2 \w+ castings"):
        all_folds(fold_options, tmp_path, "--folds", "3")
    assert not list(tmp_path.iterdir())


def spoil(run, progress, stop):
    """An epoch after which the network says the contrary."""
    pretend_to_train(run, progress, stop)
    with torch.no_grad():
        run.model.fc.weight.neg_()
        run.model.fc.bias.neg_()


def test_a_finished_fold_goes_on_with_more_epochs_and_is_finished_then(
    tmp_path, trained_folds, fold_options, monkeypatch, capsys, no_curves
):
    link_run(trained_folds / "fold1", tmp_path / "fold1")
    monkeypatch.setattr(loop, "evaluate", lambda run, epoch: WORSE)
    monkeypatch.setattr(loop, "train_one_epoch", spoil)
    options = [*fold_options, "--fold", "all", "--epochs", "2", "--out", str(tmp_path)]
    arguments = build_parser("").parse_args(options)
    splits = {1: load_checkpoint(tmp_path / "fold1" / "best.pth").split_sha256}
    train_fold(arguments, 1, splits)
    assert len((tmp_path / "fold1" / "history.csv").read_text().splitlines()) == 1 + 2
    checkpoint = load_checkpoint(tmp_path / "fold1" / "best.pth")
    first = load_checkpoint(trained_folds / "fold1" / "best.pth")
    assert (checkpoint.epoch, checkpoint.training["epochs"]) == (1, 2)  # none was better
    assert checkpoint.operating_point == first.operating_point  # of the best epoch, not the last
    before = identities(tmp_path)
    capsys.readouterr()
    train_fold(arguments, 1, splits)
    assert "fold 1 is finished" in capsys.readouterr().out
    assert identities(tmp_path) == before


def test_a_stop_in_the_last_validation_does_not_start_the_next_fold(
    tmp_path, fold_options, monkeypatch, no_curves
):
    original = loop.evaluate

    def evaluate(run, epoch):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(run, epoch)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    with pytest.raises(train_exit()):
        all_folds(fold_options, tmp_path)
    assert run_state.finished_run(tmp_path / "fold1")
    assert not (tmp_path / "fold2").exists()


def test_all_folds_need_the_casting_protocol(tmp_path, train_options):
    with pytest.raises(UserError, match="--fold all belongs to --protocol casting"):
        train.main([*train_options, "--fold", "all", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_fold_that_does_not_exist_is_refused(tmp_path, fold_options):
    with pytest.raises(UserError, match="--fold 3: there are 2 folds"):
        train.main([*fold_options, "--fold", "3", "--out", str(tmp_path)])


def test_a_model_for_use_learns_from_all_but_the_validation_castings(trained_for_use):
    checkpoint = load_checkpoint(trained_for_use / "best.pth")
    assert (checkpoint.protocol, checkpoint.fold) == ("casting", 0)
    with open(trained_for_use / "split.csv", newline="") as file:
        assert {line["split"] for line in csv.DictReader(file)} == {"train", "val"}


def test_thresholds_rest_on_all_bits_of_float32(tmp_path, train_options, monkeypatch):
    original, found = validation.validation_logits, []

    def validation_logits(*arguments):
        found.append(torch.backends.cudnn.allow_tf32)
        return original(*arguments)

    monkeypatch.setattr(validation, "validation_logits", validation_logits)
    monkeypatch.setattr(finish, "validation_logits", validation_logits)
    assert train.main([*train_options, "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert found == [True, False]  # between epochs and at the end
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("device", "amx", "given", "expected"),
    [
        ("cpu", True, [], True),
        ("cpu", False, [], False),
        ("cpu", None, [], False),  # a PyTorch that cannot tell
        ("cpu", True, ["--no-amp"], False),
        ("cpu", False, ["--amp"], True),
        ("meta", True, [], False),
    ],
)
def test_bfloat16_is_the_default_where_the_cpu_multiplies_it(
    monkeypatch, device, amx, given, expected
):
    if amx is None:
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(devices, "multiplies_bfloat16", MULTIPLIES_BFLOAT16)
    monkeypatch.setattr(devices, "choose_device", lambda name: torch.device(device))
    args = build_parser("").parse_args(given)
    args.corrected_labels = None
    assert resolve_settings(args, None).amp is expected


@pytest.mark.slow  # a CPU without bfloat16 instructions emulates it
def test_bf16_autocast_uses_the_same_loop(tmp_path, castings, train_options):
    assert train.main([*train_options, "--epochs", "1", "--amp", "--out", str(tmp_path)]) == 0
    checkpoint = load_checkpoint(tmp_path / "best.pth")
    assert checkpoint.training["amp"] is True
    # The predictions that thresholds rest on are those of predict.py, in 32 bits
    predictor = load_predictor(tmp_path / "best.pth", "cpu")
    with open(tmp_path / "best_validation.csv", newline="") as file:
        stored = [float(row["prob_defect"]) for row in csv.DictReader(file)]
    found = [
        one.prob_defect for one in predictor.predict_batch(validation_part(castings, checkpoint)[0])
    ]
    assert found == pytest.approx(stored, abs=1e-5)


def test_a_second_signal_leaves_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with run_state.StopSignal():
        os.kill(os.getpid(), signal.SIGINT)
        assert not codes
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]


# --- in processes of their own -------------------------------------------------------------------


def start(arguments, prelude=""):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{prelude}\nimport train\n"
    code += f"from common.errors import run_script\nrun_script(lambda: train.main({arguments!r}))"
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
    [
        ("replace", "last.pth", 2),
        ("replace", "best.pth", 1),
        ("replace", "best.pth", 2),
        ("replace", "best.json", 1),
        ("replace", "best.json", 2),
        ("unlink", "best.json", 2),
        ("fsync", "", 5),
    ],
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
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000,) * 2)"
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
