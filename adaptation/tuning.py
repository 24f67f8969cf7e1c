"""Fine-tuning of a trained local network on a few photographs of good parts.

Half of them get synthetic defects, so that good parts alone show what is one. BatchNorm keeps the
statistics of the training before: those of so few photographs are worse. The steps are as many as
two minutes on two cores allow. What else was tried: docs/experiments.md, 2026-11-27.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from common.errors import EXIT_FAILURE, UserError
from common.labels import is_defect
from dataset.batches import Batches
from networks.losses import LocalLoss
from training.schedule import one_cycle, set_learning_rate
from training.step import TrainingStep

LEARNING_RATE = 6e-4
SYNTHETIC_DEFECTS = 0.5  # share of the good parts
REAL_DEFECTS = 0.25  # share of a batch, where there are photographs of any


@dataclass(frozen=True)
class Effort:
    """How long to tune."""

    steps: int
    batch_size: int

    @property
    def images(self) -> int:
        """Seen in all."""
        return self.steps * self.batch_size


FULL = Effort(steps=100, batch_size=16)
# Without a group of parts, to see how a model that does not know them decides on them
BRIEF = Effort(steps=30, batch_size=8)


@dataclass(frozen=True)
class Lesson:
    """What to tune on: pixels uint8 (N, S, S), classes, parts, and the line of each, (N,) each.

    In a batch each line and, within a line, each part occurs equally often.
    """

    pixels: np.ndarray
    labels: list[str]
    parts: list[str]
    lines: list[str]

    def without(self, parts: Sequence[str]) -> "Lesson":
        """All but the photographs of these parts."""
        kept = [i for i, part in enumerate(self.parts) if part not in parts]
        names = ([values[i] for i in kept] for values in (self.labels, self.parts, self.lines))
        return Lesson(self.pixels[kept], *names)

    def plus(self, other: "Lesson") -> "Lesson":
        """Both."""
        return Lesson(
            np.concatenate([self.pixels, other.pixels]),
            self.labels + other.labels,
            self.parts + other.parts,
            self.lines + other.lines,
        )


def tuned(
    network: nn.Module,
    class_names: list[str],
    lesson: Lesson,
    effort: Effort,
    device: torch.device,
    progress: Callable[[int], None],
) -> nn.Module:
    """A copy of the network that has learned the lesson, in evaluation mode.

    Args:
        network: a LocalNetwork on the device, which stays as it is.
        progress: is told of each step how many images it took.

    Raises:
        UserError: the loss is not finite.
    """
    network = copy.deepcopy(network).train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    loss = LocalLoss(network, class_names).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    step = TrainingStep(network, loss, optimizer, contextlib.nullcontext, class_names)
    batches = batches_of(lesson, class_names, effort, device)
    for number, (images, targets) in enumerate(batches.epoch()):
        set_learning_rate(optimizer, LEARNING_RATE * one_cycle(number / effort.steps))
        figures = step(images, targets, len(images), len(images))
        if device.type == "cpu" and not math.isfinite(float(figures[0])):
            break
        progress(len(images))
    if not math.isfinite(float(figures[0])):
        raise UserError(f"the loss is {float(figures[0])} in step {number + 1}", EXIT_FAILURE)
    return network.eval()


def batches_of(
    lesson: Lesson, class_names: list[str], effort: Effort, device: torch.device
) -> Batches:
    """The batches of all steps."""
    defective = torch.tensor([is_defect(label) for label in lesson.labels])
    several = bool(defective.any()) or len(set(lesson.lines)) > 1
    return Batches(
        torch.from_numpy(lesson.pixels).to(device),
        torch.tensor([class_names.index(label) for label in lesson.labels], device=device),
        effort.batch_size,
        device,
        augment="strong",
        shuffle=True,
        sampler="class" if several else "casting",
        epoch_size=effort.images,
        castings=lesson.parts,
        sessions=lesson.lines,
        is_defect=defective.to(device),
        real_defects=REAL_DEFECTS if bool(defective.any()) else 0.0,
        synthetic_defects=SYNTHETIC_DEFECTS,
    )
