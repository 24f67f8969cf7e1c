"""A last.pth that was changed, with right checksums: refused in one line before any training."""

import copy
import os

import pytest
import torch
from builders import flip_byte, zero_block
from torch import nn

import train
from common.errors import UserError
from training import state as run_state
from training.restoring import restore_optimizer, restored_progress


def copied(source, target):
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target


def refused(out, castings, match=r"last\.pth"):
    with pytest.raises(UserError, match=match) as failure:
        train.main(["--data", str(castings), "--device", "cpu", "--resume", "--out", str(out)])
    assert failure.value.exit_code == 2
    assert "\n" not in str(failure.value)


def change(content, path, value):
    """Put a value, or what a function makes of the present one, where the path leads."""
    *way, last = path
    for step in way:
        content = content[step]
    content[last] = value(content[last]) if callable(value) else value


CHANGES = [
    (["optimizer"], 5),
    (["progress"], []),
    (["rng"], "random"),
    (["rng"], lambda rng: rng[:100]),
    (["rng"], lambda rng: rng.float()),
    (["checkpoint"], None),
    (["checkpoint"], {}),
    (["checkpoint", "threshold"], 2.0),
    (["checkpoint", "training"], "none"),
    (["checkpoint", "training", "epochs"], "many"),
    (["checkpoint", "training", "schedule"], "never"),
    (["checkpoint", "training", "network"], "resnet18"),
    (["checkpoint", "training", "lr"], float("nan")),
    (["checkpoint", "weights", "fc.bias"], lambda bias: bias * float("nan")),
    (["checkpoint", "weights", "fc.bias"], lambda bias: bias[:1]),
    (["optimizer", "state"], {}),
    (["optimizer", "state", 0, "exp_avg"], torch.zeros(3)),
    (["optimizer", "param_groups"], []),
    (["progress", "colour"], "red"),
    (["progress", "epoch"], 7),
]


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=range(len(CHANGES)))
def test_a_changed_last_pth_is_refused(tmp_path, trained, castings, path, value):
    copied(trained, tmp_path)
    content = torch.load(tmp_path / "last.pth", weights_only=True)
    change(content, path, value)
    torch.save(content, tmp_path / "last.pth")
    refused(tmp_path, castings, rf"last\.pth|run in {tmp_path}|--drawn-defects are for")


def test_damaged_files_are_refused_before_anything_is_trained(tmp_path, trained, castings):
    size = (trained / "last.pth").stat().st_size
    for offset in (0, size // 3, size - 4096):
        copied(trained, tmp_path)
        zero_block(tmp_path / "last.pth", offset)
        refused(tmp_path, castings)
    for name in ("best.pth", "best.json", "split.csv"):
        copied(trained, tmp_path)
        flip_byte(tmp_path / name, 20)
        refused(tmp_path, castings, match=name.replace(".", r"\."))
    copied(trained, tmp_path)
    os.remove(tmp_path / "best.pth")
    refused(tmp_path, castings, match=r"no such file: .*best\.pth")


def test_the_best_epoch_of_another_run_is_refused(tmp_path, trained, trained_sharp, castings):
    copied(trained, tmp_path)
    for name in ("best.pth", "best.json"):
        (tmp_path / name).write_bytes((trained_sharp / name).read_bytes())
    refused(tmp_path, castings, match=r"best\.pth is not of the run")


# --- its parts -----------------------------------------------------------------------------------


def stepped():
    """A small network and its Adam, which has moments."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["state"], lambda state: {0: state[0]}),
        (["state", 0], {}),
        (["state", 0, "more"], torch.zeros(2, 3)),
        (["state", 0, "step"], torch.ones(2)),
        (["state", 0, "step"], torch.tensor(-1.0)),
        (["state", 0, "step"], torch.tensor(float("nan"))),
        (["state", 0, "exp_avg"], lambda found: found.T),
        (["state", 0, "exp_avg"], lambda found: found * float("inf")),
        (["state", 0, "exp_avg"], None),
        (["state", 0, "exp_avg_sq"], lambda found: -found),
    ],
)
def test_moments_that_are_not_those_of_the_weights_are_refused(path, value):
    stored = copy.deepcopy(stepped().state_dict())
    restore_optimizer(stepped(), copy.deepcopy(stored))
    change(stored, path, value)
    with pytest.raises(ValueError, match=r"moments|exp_avg|step"):
        restore_optimizer(stepped(), stored)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["step"], -1), (["step"], 9), (["step"], 1), (["seen"], 5), (["epoch"], 1.0),
        (["epoch"], True), (["best_epoch"], 3), (["best_loss"], float("nan")),
        (["loss_sum"], "0"), (["seconds"], float("inf")), (["history"], {}),
        (["history", 0], None), (["history", 0], {}), (["history", 0, "epoch"], 2),
        (["history", 1, "val_loss"], float("nan")), (["history", 1, "seconds"], None),
        (["history"], lambda rows: rows[:1]),
    ],
)  # fmt: skip
def test_a_progress_that_no_run_can_have_is_refused(trained, path, value):
    stored = run_state.load_last(trained)["progress"]
    assert restored_progress(copy.deepcopy(stored), range(3)).epoch == 2
    change(stored, path, value)
    with pytest.raises(ValueError, match=r"progress|history|step"):
        restored_progress(stored, range(3))
    del stored["seen"]
    with pytest.raises(ValueError, match="fields"):
        restored_progress(stored, range(3))
