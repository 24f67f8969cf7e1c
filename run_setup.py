"""Set up a training run: settings from recipe and command line, data, network, optimiser."""

import argparse
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common import UserError
from data import IMAGENET_MEAN, IMAGENET_STD, Batches, describe_store, make_batches, open_store
from data_split import (
    load_split,
    split_options,
    split_sha256,
    split_table,
    warn_of_changed_contents,
    write_split,
)
from dataset import data_name, find_data, report_notes
from model import (
    Checkpoint,
    build_model,
    choose_device,
    loss_function,
)
from operating_point import casting_weights
from run_state import (
    previous_run,
    refuse_differences,
)
from train_options import CHANGEABLE_ON_RESUME, RECIPES


@dataclass
class Run:
    """The parts of a training run that stay the same from its first epoch to its last."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: nn.Module
    train_batches: Batches
    val_batches: Batches
    val_weights: Tensor  # float32 (N,), sum 1: images alike, or castings in protocol casting
    class_names: list[str]
    settings: dict
    split_sha256: str
    root: Path
    device: torch.device
    out: Path

    def options_to_repeat(self) -> str:
        """What a command that goes on must say again."""
        return f" --data {shlex.quote(str(self.root))} --out {shlex.quote(str(self.out))}"

    def autocast(self):
        """One code path with and without AMP; bfloat16 needs no gradient scaler."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings["amp"])

    def checkpoint(self, epoch: int, validation: dict) -> Checkpoint:
        return Checkpoint(
            weights={k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()},
            head=self.settings["head"],
            class_names=self.class_names,
            image_size_px=self.settings["image_size"],
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
            threshold=0.5,
            temperature=1.0,
            protocol=self.settings["protocol"],
            fold=self.settings["fold"],
            epoch=epoch,
            validation=validation,
            training=self.settings,
            data=data_name(self.root),
            split_sha256=self.split_sha256,
            torch_version=str(torch.__version__),  # a subclass of str, which safe loading refuses
        )


def set_up(args: argparse.Namespace, settings: dict) -> Run:
    """Find the data, build the batches and the network; print the plan."""
    device = choose_device(args.device)
    if args.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    root = find_data(args.data)
    by_casting = settings["sampler"] == "casting" or settings["min_recall"] is not None
    rows, notes = load_split(root, split_options(settings), need_castings=by_casting)
    report_notes(notes)
    class_names = sorted({row.label for row in rows})
    torch.manual_seed(settings["seed"])
    refuse_single_image_batch(rows, settings)
    weights = "none" if args.resume else settings["weights"]  # last.pth brings its own
    model = build_model(len(class_names), weights, settings["head"]).to(device)
    store = open_store(root, rows, settings["image_size"], cache=not args.no_cache)
    batch = {"batch_size": settings["batch_size"]}
    train_options = {"augment": settings["augment"], "shuffle": True, "seed": settings["seed"]}
    train_options |= {"sampler": settings["sampler"], "epoch_size": settings["epoch_size"]}
    val_batches = make_batches(store, rows, "val", class_names, device, **batch)
    val_weights = np.full(len(val_batches.targets), 1 / len(val_batches.targets))
    if settings["protocol"] == "casting":
        val_weights = casting_weights(val_batches.castings)
    print_plan(device, root, rows, store, settings)
    if args.resume:
        warn_of_changed_contents(rows, args.out / "split.csv")
    else:
        for path in previous_run(args.out) if args.overwrite else ():
            path.unlink()  # only now: nothing can be wrong with the new run's options any more
        write_split(args.out / "split.csv", rows)
    return Run(
        model=model,
        optimizer=torch.optim.Adam(
            model.parameters(),
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
            fused=True,  # the same arithmetic in one pass over memory: 5 times faster on a CPU
        ),
        loss=loss_function(settings["head"], class_names),
        train_batches=make_batches(
            store, rows, "train", class_names, device, **batch, **train_options
        ),
        val_batches=val_batches,
        val_weights=torch.from_numpy(val_weights).float().to(device),
        class_names=class_names,
        settings=settings,
        split_sha256=split_sha256(rows),
        root=root,
        device=device,
        out=args.out,
    )


def resolve_settings(args: argparse.Namespace, stored: dict | None) -> dict:
    """Explicit options, over those of the run that goes on, over the recipe's.

    Raises:
        UserError: an explicit option contradicts the run that goes on.
    """
    values = vars(args)
    name = args.recipe or (stored or {}).get("recipe", "reference")
    defaults = {"recipe": name} | RECIPES[name] | {"protocol": "kaggle", "folds": None}
    defaults |= {"fold": None, "castings": None, "amp": False}
    explicit = {name: values[name] for name in defaults if values[name] is not None}
    if stored is not None:
        fixed = {k: v for k, v in explicit.items() if k not in CHANGEABLE_ON_RESUME}
        refuse_differences(args.out, fixed, stored)
    settings = defaults | (stored or {}) | explicit
    split = split_options(settings)
    if split.protocol == "casting":
        settings |= {"folds": split.folds, "fold": split.fold}
    return settings


def refuse_single_image_batch(rows: list, settings: dict) -> None:
    """BatchNorm has no variance where one image is left and the last map is 1 x 1.

    Raises:
        UserError: the last batch would be such a one.
    """
    images = settings["epoch_size"] or sum(row.split == "train" for row in rows)
    last_batch = images % settings["batch_size"] or settings["batch_size"]
    if settings["image_size"] <= 32 and last_batch == 1:
        raise UserError(
            f"a batch of one image of {settings['image_size']} px cannot be normalised; "
            "choose another --batch-size or a larger --image-size"
        )


def print_plan(device: torch.device, root: Path, rows: list, store, settings: dict) -> None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"device   {device} ({name}{threads})")
    print(f"data     {data_name(root)} in {root}, {describe_store(store)}")
    print(split_table(rows))
    chosen = (f"{key} {value}" for key, value in settings.items() if value is not None)
    print("recipe   " + ", ".join(chosen), flush=True)
