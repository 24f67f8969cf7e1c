"""From photographs of a new line to an adapted checkpoint and its figures."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from adaptation.checking import Checked, checked
from adaptation.earlier import read_earlier
from adaptation.gating import features_in_all_positions, fit_gate
from adaptation.leaving_out import (
    HeldOut,
    decisions_without,
    point_without,
    scores_without_each,
)
from adaptation.photographs import (
    Material,
    framing,
    read_photographs,
    refuse_unusable,
    sorted_out,
)
from adaptation.report import write_report
from adaptation.scoring import drawn_on
from adaptation.task import Parent, Task
from adaptation.tuning import FULL
from common.errors import UserError, tell
from common.text import printable
from imaging.finding import find_images
from model import (
    Checkpoint,
    find_checkpoint,
    load_identified,
    save_checkpoint,
    with_logit_bias,
)
from networks.devices import choose_device
from training.setup import prepare_backends

DRAWN_SEED = 1  # of the synthetic defects that place the decision and are counted


def adapt_into(args: argparse.Namespace) -> tuple[str, Checked]:
    """Write the adapted checkpoint and its page; returns the file's SHA-256 and the figures.

    Nothing is written before all is known.

    Raises:
        UserError: unusable photographs, or a model that cannot be adapted.
    """
    started = time.perf_counter()
    task = prepared(args)
    with tqdm(total=task.images, desc="tuning", unit="img", disable=None) as bar:
        network = task.network(task.lesson(), FULL, bar.update)
        held_out = scores_without_each(task, network, bar.update)
    print("checking", flush=True)
    point = point_without(task, held_out, [])
    checkpoint = adapted_checkpoint(task, network, point, held_out)
    found = checked(task, network, point, held_out, time.perf_counter() - started)
    checkpoint.adaptation = description_of(task, found)
    checkpoint.validation = found.validation()
    save_checkpoint(args.out, checkpoint)
    _, sha256 = load_identified(args.out)  # what could not be read again is no result
    files = args.out.parent, args.out, sha256
    write_report(*files, task, checkpoint, network, found, (held_out, point))
    return sha256, found


def prepared(args: argparse.Namespace) -> Task:
    """Read all that was named, and say what was found."""
    path = find_checkpoint(args.checkpoint)
    checkpoint, sha256 = load_identified(path)
    if checkpoint.architecture != "local" and not args.threshold_only:
        raise UserError(
            f"{path} is a {checkpoint.architecture}; only a local network (recipe robust) can be "
            "tuned: name one with --checkpoint, or move its threshold alone with --threshold-only"
        )
    device = choose_device(args.device)
    prepare_backends(device, False)
    parent = Parent(checkpoint, sha256, checkpoint.model().to(device), device)
    print(f"model    {path}, {sha256[:12]}, threshold {checkpoint.threshold:.4f}", flush=True)
    good = material_of(args.paths, checkpoint)
    refuse_unusable(good)
    print(f"good     {good.describe()}; {framing(good.photographs)}", flush=True)
    defective = defective_material(args.defects, checkpoint, good) if args.defects else None
    earlier = read_earlier(args.old, checkpoint) if args.old else None
    if earlier:
        print(f"old      {earlier.describe()}", flush=True)
    drawn = drawn_on(good.pixels, DRAWN_SEED)
    return Task(parent, good, defective, earlier, drawn, args.threshold_only)


def material_of(names: list[Path], checkpoint: Checkpoint) -> Material:
    """The photographs that were named; says what is left out."""
    read = read_photographs(find_images(names), checkpoint.image_size_px)
    found = sorted_out(read, checkpoint.limits)
    for path, reason in found.left_out:
        tell(f"note: left out {printable(path)}: {reason}")
    return found


def defective_material(names: list[Path], checkpoint: Checkpoint, good: Material) -> Material:
    """Photographs of defective parts, under names that no good part has.

    Raises:
        UserError: there is none, or a picture is said to be good as well.
    """
    found = material_of(names, checkpoint)
    if not found.photographs:
        raise UserError("--defects: no usable photograph of a defective part")
    known = {one.contents: one.path for one in good.photographs}
    for one in found.photographs:
        if one.contents in known:
            raise UserError(
                f"{printable(one.path)} and {printable(known[one.contents])} are the same "
                "picture: is that part good or defective?"
            )
    print(f"defects  {found.describe()}", flush=True)
    return replace(found, parts=[f"defective {name}" for name in found.parts])


def adapted_checkpoint(
    task: Task, network: nn.Module, point: float, held_out: HeldOut
) -> Checkpoint:
    """The parent with new weights, decision and gate."""
    parent, before = task.parent, task.parent.checkpoint
    shift = parent.point + point
    weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    features = features_in_all_positions(network, task.good.pixels, parent.device)
    points = np.array([point, *decisions_without(task, held_out)[2]])
    chances = 1 / (1 + np.exp(-(points - point) / before.temperature))
    return replace(
        before,
        weights=with_logit_bias(replace(before, weights=weights), -shift),
        threshold=0.5,
        operating_point={
            "fitted": True,
            "temperature": before.temperature,
            "threshold": 0.5,
            "threshold_low": float(chances.min()),
            "threshold_high": float(chances.max()),
            "min_recall": None,
            "castings_defective": task.defective.count if task.defective else 0,
            "castings_good": task.good.count,
            "cut": (before.operating_point or {}).get("cut", 0.0) + shift,
            "note": "adapted; the range is that of decisions placed without some of the parts",
        },
        gate=fit_gate(before, task.good.photographs, task.good.parts, features),
        torch_version=str(torch.__version__),
    )


def description_of(task: Task, found: Checked) -> dict:
    """What the checkpoint remembers of its making: plain values."""

    def listed(material: Material | None) -> list[dict]:
        photographs = material.photographs if material else []
        return [{"path": printable(one.path), "sha256": one.sha256} for one in photographs]

    return {
        "parent": task.parent.sha256,
        "mode": "threshold" if task.threshold_only else "network",
        "good": listed(task.good),
        "defective": listed(task.defective),
        "figures": found.as_dict(),
    }
