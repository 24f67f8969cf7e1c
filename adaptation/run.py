"""From photographs of a new line to an adapted checkpoint and its figures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adaptation.checking import Checked, checked
from adaptation.earlier import read_earlier
from adaptation.gating import features_in_all_positions, fit_gate
from adaptation.leaving_out import (
    Decisions,
    HeldOut,
    decisions_without,
    point_without,
    scores_without_each,
)
from adaptation.photographs import (
    Material,
    Photograph,
    framing,
    read_photographs,
    refuse_few,
    refuse_many,
    sound,
)
from adaptation.report import Section, page_text, report_path
from adaptation.scoring import drawn_on
from adaptation.task import DRAWN_SEED, Parent, Task
from adaptation.tuning import FULL
from common.errors import UserError
from common.files import write_atomic, write_json
from common.progress import ProgressBar, announced
from common.text import printable
from imaging.finding import find_images
from model import (
    Checkpoint,
    find_checkpoint,
    load_identified,
    save_checkpoint,
    sha256_of,
    with_logit_bias,
)
from networks.devices import choose_device
from training.setup import prepare_backends


@dataclass(frozen=True)
class Adapted:
    """An adapted model, not yet written."""

    task: Task
    network: nn.Module
    held_out: HeldOut
    decisions: Decisions  # on parts that were left out
    point: float  # where it decides, above the parent's own decision
    checkpoint: Checkpoint
    figures: Checked


def adapt(
    good: Sequence[str | Path],
    checkpoint: Path | None = None,
    defects: Sequence[str | Path] = (),
    old: Path | None = None,
    threshold_only: bool = False,
    device: str | None = None,
) -> Adapted:
    """Read the photographs, tune, decide and check; what is what: see adapt.py's options.

    Raises:
        UserError: unusable photographs, or a model that cannot be adapted.
    """
    started = time.perf_counter()
    parent = load_parent(checkpoint, device, threshold_only)
    return fitted(prepared(parent, good, defects, old, threshold_only), started)


def fitted(task: Task, started: float) -> Adapted:
    """Tune, decide and check; `started` on time.perf_counter's clock, with what was to be read."""
    with ProgressBar(total=task.images, desc="tuning", unit="img") as bar:
        network = task.network_without([], FULL, bar.update)
        held_out = scores_without_each(task, network, bar.update)
    point = point_without(task, held_out, [])
    decisions = decisions_without(task, held_out)
    with announced("checking what the adaptation is worth"):
        adapted = adapted_checkpoint(task, network, point, decisions.points)
        figures = checked(task, network, point, decisions, time.perf_counter() - started)
    adapted.adaptation = description_of(task, figures)
    adapted.validation = figures.validation()
    return Adapted(task, network, held_out, decisions, point, adapted, figures)


def write(out: Path, adapted: Adapted, verdicts: Section | None = None) -> str:
    """Write the checkpoint and its page; returns the file's SHA-256.

    Args:
        verdicts: what the page says of persons' verdicts, where they made the model.
    """
    adapted.checkpoint.check()
    task, scores = adapted.task, (adapted.held_out, adapted.point)
    with announced("writing the page"):
        sha256 = sha256_of(adapted.checkpoint)  # the page is whole before anything is written
        page = page_text(out, task, adapted.network, adapted.figures, scores, sha256, verdicts)
    save_checkpoint(out, adapted.checkpoint)
    # A candidate that is promoted gets another name
    name = {} if verdicts else {"checkpoint": printable(out)}
    figures = name | {"sha256": sha256} | adapted.checkpoint.adaptation
    write_json(report_path(out, "json"), figures)
    write_atomic(report_path(out, "html"), page)
    return sha256


def load_parent(checkpoint: Path | None, device: str | None, threshold_only: bool) -> Parent:
    """The model to adapt; says which.

    Raises:
        UserError: there is none, or it cannot be tuned.
    """
    path = find_checkpoint(checkpoint)
    found, sha256 = load_identified(path)
    if found.architecture != "local" and not threshold_only:
        raise UserError(
            f"{path} is a {found.architecture}; only a local network (recipe robust) can be "
            "tuned: name one with --checkpoint, or move its threshold alone with --threshold-only"
        )
    if not 0 < found.threshold < 1:
        raise UserError(f"{path} decides everything alike, at threshold {found.threshold:g}")
    where = choose_device(device)
    prepare_backends(where, False)
    print(f"model    {path}, {sha256[:12]}, threshold {found.threshold:.4f}", flush=True)
    return Parent(found, sha256, found.model().to(where), where)


def prepared(
    parent: Parent,
    names: Sequence[str | Path],
    defects: Sequence[str | Path],
    old: Path | None,
    threshold_only: bool,
) -> Task:
    """Read all that was named, and say what was found."""
    checkpoint = parent.checkpoint
    good = material_of(names, checkpoint)
    refuse_few(good)
    print(f"good     {good.describe()}; {framing(good.photographs)}", flush=True)
    defective = defective_material(defects, checkpoint, good) if defects else None
    earlier = read_earlier(old, checkpoint) if old else None
    if earlier:
        print(f"old      {earlier.describe()}", flush=True)
    drawn = drawn_on(good.pixels, good.parts, DRAWN_SEED)
    return Task(parent, good, defective, earlier, drawn, threshold_only)


def material_of(names: Sequence[str | Path], checkpoint: Checkpoint) -> Material:
    """The photographs that were named; says what is left out."""
    paths = find_images(names)
    refuse_many(paths)
    return sound(read_photographs(paths, checkpoint), checkpoint.limits)


def defective_material(
    names: Sequence[str | Path], checkpoint: Checkpoint, good: Material
) -> Material:
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
    task: Task, network: nn.Module, point: float, points: list[float]
) -> Checkpoint:
    """The parent with new weights, decision and gate; `points`: without some of the parts."""
    parent, before = task.parent, task.parent.checkpoint
    shift = parent.point + point
    weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    features = features_in_all_positions(network, task.good.pixels, parent.device)
    others = np.array([point, *points])
    chances = 1 / (1 + np.exp(-(others - point) / before.temperature))
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
            "castings_good": parent.good_castings + task.good.count,
            "cut": (before.operating_point or {}).get("cut", 0.0) + shift,
            "note": "adapted; the range is that of decisions placed without some of the parts",
        },
        gate=fit_gate(before, task.good.photographs, task.good.parts, features),
        torch_version=str(torch.__version__),
    )


def description_of(task: Task, found: Checked) -> dict:
    """What the checkpoint remembers of its making: plain values."""

    def listed(photographs: Sequence[Photograph], parts: Sequence[str]) -> list[dict]:
        return [
            {"path": printable(one.path.resolve()), "sha256": one.sha256, "part": part}
            for one, part in zip(photographs, parts, strict=True)
        ]

    defective, earlier = task.defective, task.earlier
    return {
        "parent": task.parent.sha256,
        "mode": "threshold" if task.threshold_only else "network",
        "good": listed(task.good.photographs, task.good.parts),
        "defective": listed(defective.photographs, defective.parts) if defective else [],
        "old": listed(earlier.learned, earlier.lesson.parts) if earlier else [],
        "figures": found.as_dict(),
    }
