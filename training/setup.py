"""Set up a training run: data, network, optimiser."""

import argparse
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.errors import UserError
from common.labels import ANY_DEFECT
from data_split import load_split, split_sha256, split_table
from dataset.batches import Batches, make_batches, with_drawn_copies
from dataset.cautions import about_images, print_cautions
from dataset.listing import ImageRow, report_notes
from dataset.manifest import warn_of_changed_contents, write_split
from dataset.releases import DataFolder, is_of_second
from dataset.sources import data_name, find_data
from dataset.store import describe_store, open_store
from metrics.castings import casting_weights, class_weights
from model import IMAGENET_MEAN, IMAGENET_STD, Checkpoint, build_model
from networks.classes import defect_flags
from networks.devices import choose_device
from networks.local import LocalNetwork
from networks.losses import LocalLoss, loss_function
from training.distributed import is_main_process, local_main_process_first, rank, world_size
from training.live import LiveCurves
from training.memory import keep_freed_memory
from training.run_files import previous_run
from training.settings import Settings, readable
from training.step import GraphedStep, TrainingStep


@dataclass
class Run:
    """The parts of a training run that stay the same from its first epoch to its last."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: TrainingStep
    train_batches: Batches
    val_batches: Batches
    rows: list[ImageRow]  # of all images, in the order of the batches within each split
    val_weights: Tensor  # float32 (N,), sum 1: images, castings, or classes alike
    class_names: list[str]
    settings: Settings
    split_sha256: str
    root: DataFolder
    device: torch.device
    out: Path
    live: LiveCurves

    def options_to_repeat(self) -> str:
        """What a command that goes on must say again."""
        return f"{self.root.options()} --out {shlex.quote(str(self.out))}"

    def autocast(self) -> torch.autocast:
        """One code path with and without AMP; bfloat16 needs no gradient scaler."""
        return autocast(self.device, self.settings)

    def checkpoint(self, epoch: int, validation: dict) -> Checkpoint:
        return Checkpoint(
            weights={k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()},
            head=self.settings.head,
            class_names=self.class_names,
            image_size_px=self.settings.image_size,
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
            threshold=0.5,
            temperature=1.0,
            protocol=self.settings.protocol,
            fold=self.settings.fold,
            epoch=epoch,
            validation=validation,
            training=self.settings.as_dict(),
            data=data_name(self.root),
            split_sha256=self.split_sha256,
            architecture=self.settings.network,
            fit=self.settings.fit,
            torch_version=str(torch.__version__),  # a subclass of str, which safe loading refuses
        )


def set_up(args: argparse.Namespace, settings: Settings) -> Run:
    """Find the data, build the batches and the network; print the plan."""
    device = choose_device(args.device)
    prepare_backends(device, args.deterministic)
    root, rows, store = open_images(args, settings)
    if settings.protocol == "casting":
        settings = replace(settings, releases=1 + any(is_of_second(row.path) for row in rows))
    labels = {row.label for row in rows} | ({ANY_DEFECT} if settings.good_only else set())
    class_names = sorted(labels)
    torch.manual_seed(settings.seed)
    refuse_single_image_batch(rows, settings)
    weights = "none" if args.resume else settings.weights  # last.pth brings its own
    model = build_model(
        len(class_names),
        weights,
        settings.head,
        network=settings.network,
        defects=defect_flags(class_names).tolist(),
    ).to(device)
    optimizer = build_optimizer(model, settings, args.cuda_graph)
    step = build_step(model, optimizer, class_names, settings, args.cuda_graph)
    batch = {"batch_size": settings.batch_size, "rank": rank(), "world_size": world_size()}
    names = ("augment", "sampler", "epoch_size", "seed")
    options = {name: getattr(settings, name) for name in names}
    options["synthetic_defects"] = settings.drawn_defects
    options["drawn_where"] = settings.drawn_where
    if settings.real_defects is not None:
        options["real_defects"] = settings.real_defects
    train_batches = make_batches(
        store, rows, "train", class_names, device, shuffle=True, **batch, **options
    )
    val_batches = make_batches(store, rows, "val", class_names, device, **batch)
    if settings.good_only:
        defective = class_names.index(ANY_DEFECT)
        val_batches = with_drawn_copies(val_batches, defective, settings.drawn_where)
    val_weights = np.full(len(val_batches.targets), 1 / len(val_batches.targets))
    if settings.sampler in ("class", "kind"):
        val_weights = class_weights(val_batches.castings, val_batches.is_defect.cpu().numpy())
    elif settings.protocol != "kaggle":
        val_weights = casting_weights(val_batches.castings)
    print_plan(device, root, rows, store, settings)
    if is_main_process():
        write_manifest(args, rows)
    return Run(
        model=model,
        optimizer=optimizer,
        step=step,
        train_batches=train_batches,
        val_batches=val_batches,
        rows=rows,
        val_weights=torch.from_numpy(val_weights).float().to(device),
        class_names=class_names,
        settings=settings,
        split_sha256=split_sha256(rows),
        root=root,
        device=device,
        out=args.out,
        live=LiveCurves(args.out if args.tensorboard and is_main_process() else None),
    )


def open_images(
    args: argparse.Namespace, settings: Settings
) -> tuple[DataFolder, list[ImageRow], np.ndarray]:
    """The folder of the data, the split, and the decoded images in the split's order."""
    by_casting = settings.sampler != "image" or settings.operating_point != "none"
    with local_main_process_first():  # the first downloads or renders, and fills the caches
        root = find_data(args.data, args.second_release)
        rows, notes = load_split(root, settings.split, need_castings=by_casting)
        store = open_store(root, rows, settings.image_size, settings.fit, cache=not args.no_cache)
    if is_main_process():
        report_notes(notes)
        print_cautions(rows, settings.good_only)
    return root, rows, store


def write_manifest(args: argparse.Namespace, rows: list) -> None:
    """split.csv of a new run in the place of an old one; a run that goes on keeps its own."""
    if args.resume:
        warn_of_changed_contents(rows, args.out / "split.csv")
        return
    for path in previous_run(args.out) if args.overwrite else ():
        path.unlink()  # only now: nothing can be wrong with the new run's options any more
    write_split(args.out / "split.csv", rows)


def prepare_backends(device: torch.device, deterministic: bool) -> None:
    """Let cuDNN choose the fastest algorithms, or only such as repeat bit for bit.

    On a CPU freed memory is kept for the next step.
    """
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # CUDA's streams and graphs are those of the current device
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    elif device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches but the last have one shape


def build_optimizer(
    model: nn.Module, settings: Settings, cuda_graph: bool
) -> torch.optim.Optimizer:
    # A recorded step reads its learning rate from the device, where it can be changed.
    lr = settings.lr
    device = next(model.parameters()).device
    return torch.optim.Adam(
        model.parameters(),
        lr=torch.tensor(lr, device=device) if cuda_graph else lr,
        weight_decay=settings.weight_decay,
        fused=True,  # the same arithmetic in one pass over memory: 5 times faster on a CPU
        capturable=cuda_graph,
    )


def build_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    class_names: list[str],
    settings: Settings,
    cuda_graph: bool,
) -> TrainingStep:
    """The training step that suits the device and the number of processes.

    Raises:
        UserError: a CUDA graph of what cannot be recorded.
    """
    device = next(model.parameters()).device
    if cuda_graph and (device.type != "cuda" or world_size() > 1):
        raise UserError("--cuda-graph records the work of one GPU, in one process")
    network = model
    if world_size() > 1:
        network = DistributedDataParallel(model, [device] if device.type == "cuda" else None)
    smoothing = settings.label_smoothing
    if isinstance(model, LocalNetwork) and settings.drawn_defects is not None:
        loss = LocalLoss(model, class_names, smoothing)
    else:
        loss = loss_function(settings.head, class_names, smoothing)
    loss = loss.to(device)
    step = GraphedStep if cuda_graph else TrainingStep
    return step(network, loss, optimizer, lambda: autocast(device, settings), class_names)


def autocast(device: torch.device, settings: Settings) -> torch.autocast:
    # Each weight is used once a step, so that a cache of cast ones is worth nothing.
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.amp, cache_enabled=False)


def refuse_single_image_batch(rows: list, settings: Settings) -> None:
    """BatchNorm has no variance where one image is left and the last map is 1 x 1.

    Raises:
        UserError: some process's share of the last batch would be such a one.
    """
    images = settings.epoch_size or sum(row.split == "train" for row in rows)
    last_batch = images % settings.batch_size or settings.batch_size
    if settings.image_size <= 32 and last_batch // world_size() <= 1:
        raise UserError(
            f"a batch of one image of {settings.image_size} px cannot be normalised; "
            "choose another --batch-size or a larger --image-size"
        )


def print_plan(
    device: torch.device, root: DataFolder, rows: list, store, settings: Settings
) -> None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    processes = f", {world_size()} processes" if world_size() > 1 else ""
    print(f"device   {device} ({name}{threads}{processes})")
    print(f"data     {data_name(root)} in {root}, {describe_store(store)}")
    print(split_table(rows, data_name(root)))
    for line in about_images(rows):
        print(line)
    values = readable(settings.as_dict())
    chosen = (f"{key} {value}" for key, value in values.items() if value is not None)
    print("recipe   " + ", ".join(chosen), flush=True)
