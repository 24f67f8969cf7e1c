"""What adapt.py reaches on a session that the model has never seen, draw by draw.

The model was trained with `--hold-out-session`. Each draw takes a few good photographs of a few of
that session's castings, adapts the model by them in both ways, and decides on the session's other
castings, and on validation castings of the sessions that the model knows.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adaptation.photographs import LEAST
from adaptation.run import adapt
from benchmarks.timing import describe_machine
from common.errors import UserError
from common.labels import is_defect
from common.progress import ProgressBar
from dataset.listing import ImageRow
from dataset.sources import data_name, find_data
from dataset.store import open_store
from evaluation.held_out import rebuild_split
from gate.limits import NOT_JUDGED, REVIEW
from inspection.engines import torch_network
from metrics.castings import equally
from metrics.decisions import count_decisions, weighted_auc
from model import Checkpoint, find_checkpoint, load_checkpoint
from networks.classes import class_probabilities, defect_margin, defect_probability
from networks.devices import choose_device

TESTED, KNOWN = 500, 400  # photographs at most, equally many of each casting
WAYS = {"threshold": True, "network": False}  # --threshold-only


@dataclass(frozen=True)
class Photographs:
    """Photographs with their truth: pixels uint8 (N, S, S), which are defective (N,)."""

    pixels: np.ndarray
    is_defect: np.ndarray

    @torch.inference_mode()
    def judged(self, checkpoint: Checkpoint, device: torch.device) -> "Judged":
        """By a model and its gate."""
        logits, distances = torch_network(checkpoint, device)(torch.from_numpy(self.pixels))
        chances = class_probabilities(logits.cpu(), checkpoint.class_names, checkpoint.temperature)
        prob = defect_probability(chances, checkpoint.class_names).double().numpy()
        limits = checkpoint.limits
        opinions = [limits.opinion_on(d)[0] for d in distances.tolist()] if limits else []
        # Where P is 1 in all digits, margins still tell one part from another
        margin = defect_margin(logits.cpu(), checkpoint.class_names).double().numpy()
        return Judged(self.is_defect, margin, prob >= checkpoint.threshold, opinions)


@dataclass(frozen=True)
class Judged:
    """Logit margins of a defect and decisions, whatever the gate says, and its opinions."""

    is_defect: np.ndarray
    margin: np.ndarray
    rejected: np.ndarray
    opinions: list[str]

    @property
    def right(self) -> np.ndarray:
        """Bool (N,)."""
        return self.rejected == self.is_defect

    @property
    def balanced(self) -> float:
        """The mean of both classes' accuracies."""
        return float(np.mean([self.right[self.is_defect == kind].mean() for kind in (True, False)]))

    def figures(self) -> dict:
        """Plain values."""
        counts = count_decisions(self.is_defect, self.rejected, True)
        return {
            "auc": round(float(weighted_auc(self.is_defect, self.margin)), 4),
            "balanced": round(self.balanced, 4),
            "missed": counts.missed,
            "rejected": counts.false_alarms,
            "reviewed": self.opinions.count(REVIEW),
            "refused": self.opinions.count(NOT_JUDGED),
        }


def measure_adaptation(args: argparse.Namespace) -> dict:
    """The figures of all draws.

    Raises:
        UserError: the model was trained on all sessions, or castings are too few.
    """
    path = find_checkpoint(args.checkpoint)
    checkpoint, device = load_checkpoint(path), choose_device(args.device)
    session = checkpoint.training.get("hold_out_session")
    if not session:
        raise UserError(f"{path} was not trained with --hold-out-session: no session is new to it")
    if args.photographs < LEAST:
        raise UserError(f"--photographs {args.photographs}: adapt.py needs at least {LEAST}")
    root = find_data(args.data, download=False)
    rows = rebuild_split(root, checkpoint, path)
    store = open_store(root, rows, checkpoint.image_size_px, checkpoint.fit)
    new = [index for index, row in enumerate(rows) if row.split == "test"]
    val = [index for index, row in enumerate(rows) if row.split == "val"]
    known = photographs_of(rows, store, val, KNOWN)
    known_before = known.judged(checkpoint, device)
    draws = []
    for number in ProgressBar(range(args.draws), desc="draws", unit="draws"):
        chosen, castings = drawn(rows, new, args.castings, args.photographs, number)
        others = [index for index in new if rows[index].casting not in castings]
        tested = photographs_of(rows, store, others, TESTED)
        line = {
            "castings": castings,
            "defective": int(tested.is_defect.sum()),
            "good": int((~tested.is_defect).sum()),
            "before": tested.judged(checkpoint, device).figures(),
        }
        names = [root / rows[index].path for index in chosen]
        for way, threshold_only in WAYS.items():
            line[way] = adapted_figures(
                path, names, threshold_only, device, tested, known, known_before
            )
        draws.append(line)
    return {
        "benchmark": "adapt",
        "machine": describe_machine(device),
        "data": data_name(root),
        "checkpoint": str(path),
        "session": session,
        "photographs": args.photographs,
        "castings": args.castings,
        "known": {"photographs": len(known.is_defect), "before": known_before.figures()},
        "draws": draws,
    }


def adapted_figures(
    path: Path,
    names: Sequence[Path],
    threshold_only: bool,
    device: torch.device,
    tested: Photographs,
    known: Photographs,
    known_before: Judged,
) -> dict:
    """Of one draw, adapted in one way."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # what it says of itself
        found = adapt(names, path, threshold_only=threshold_only, device=str(device))
    seconds = time.perf_counter() - started
    judged = known.judged(found.checkpoint, device)
    figures = tested.judged(found.checkpoint, device).figures()
    figures["known_balanced"] = round(judged.balanced, 4)
    figures["known_worse"] = int((known_before.right & ~judged.right).sum())
    figures["known_better"] = int((~known_before.right & judged.right).sum())
    return figures | {"seconds": round(seconds, 1)}


def photographs_of(
    rows: Sequence[ImageRow], store: np.ndarray, indices: Sequence[int], count: int
) -> Photographs:
    """At most `count` of the images, equally many of each casting."""
    castings = [rows[index].casting for index in indices]
    chosen = [indices[number] for number in equally(castings, count)]
    defective = np.array([is_defect(rows[index].label) for index in chosen])
    return Photographs(np.stack([store[index] for index in chosen]), defective)


def drawn(
    rows: Sequence[ImageRow], indices: Sequence[int], castings: int, photographs: int, seed: int
) -> tuple[list[int], list[str]]:
    """Good photographs of some castings: as equally many of each as there are; and the castings.

    Raises:
        UserError: there are too few good castings, or photographs of them.
    """
    good = [index for index in indices if not is_defect(rows[index].label)]
    names = sorted({rows[index].casting for index in good})
    if len(names) <= castings:
        raise UserError(
            f"the session has {len(names)} good castings; {castings} to adapt by leave none to test"
        )
    random = np.random.default_rng(seed)
    chosen = sorted(random.choice(names, castings, replace=False).tolist())
    own = [index for index in good if rows[index].casting in chosen]
    random.shuffle(own)
    some = equally([rows[index].casting for index in own], photographs)
    if len(some) < photographs:
        print(f"draw {seed}: only {len(some)} photographs of {chosen}", file=sys.stderr)
    return [own[number] for number in some], chosen
