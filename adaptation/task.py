"""What an adaptation rests on: the model before, and photographs sorted by what they show."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from adaptation.deciding import groups_of
from adaptation.earlier import Earlier
from adaptation.photographs import Material
from adaptation.scoring import Drawn, margins
from adaptation.tuning import BRIEF, FULL, Effort, Lesson, tuned
from common.labels import is_defect
from dataset.batches import unit_range
from model import Checkpoint
from networks.classes import defect_flags

GROUPS = 3  # of parts, each left out once
CASTINGS_BEFORE = 5  # good ones, where a checkpoint does not say


@dataclass(frozen=True)
class Parent:
    """The model that is adapted."""

    checkpoint: Checkpoint
    sha256: str
    network: nn.Module
    device: torch.device

    @property
    def point(self) -> float:
        """The logit margin at which it decides."""
        probability = self.checkpoint.threshold
        return self.checkpoint.temperature * float(np.log(probability) - np.log1p(-probability))

    @property
    def good_castings(self) -> int:
        """How many its decision rests on."""
        point = self.checkpoint.operating_point or {}
        return point.get("castings_good") or CASTINGS_BEFORE

    def scores(self, network: nn.Module, images: np.ndarray | Tensor) -> np.ndarray:
        """Margins (N,) above this model's decision, of grey bytes or images, by any network."""
        images = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
        return margins(network, self.checkpoint.class_names, images, self.device) - self.point

    def kinds(self, pixels: np.ndarray) -> list[str]:
        """The likeliest kind of defect on each image uint8 (N, S, S)."""
        names = self.checkpoint.class_names
        with torch.inference_mode():
            logits = self.network(unit_range(torch.from_numpy(pixels).to(self.device))).cpu()
        if logits.shape[1] < len(names):  # a single logit, of the only kind
            return [next(filter(is_defect, names))] * len(pixels)
        likeliest = logits.masked_fill(~defect_flags(names), -torch.inf).argmax(1)
        return [names[index] for index in likeliest.tolist()]


@dataclass(frozen=True)
class Task:
    """All that an adaptation rests on; `drawn` are synthetic defects on the good photographs."""

    parent: Parent
    good: Material
    defective: Material | None
    earlier: Earlier | None
    drawn: Drawn
    threshold_only: bool

    @cached_property
    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """The parent's scores of the good photographs (N,) and of the drawn defects (D,)."""
        parent = self.parent
        found = (parent.scores(parent.network, x) for x in (self.good.pixels, self.drawn.images))
        return tuple(found)

    @property
    def groups(self) -> list[list[str]]:
        """Parts to leave out together, good and defective ones; none with a single good part."""
        groups = groups_of(self.good.parts, GROUPS)
        if self.defective and groups:
            for number, part in enumerate(dict.fromkeys(self.defective.parts)):
                groups[number % len(groups)].append(part)
        return groups

    @property
    def images(self) -> int:
        """That all networks together are tuned on."""
        return 0 if self.threshold_only else FULL.images + BRIEF.images * len(self.groups)

    def lesson(self) -> Lesson:
        """What to tune on."""
        good = next(name for name in self.parent.checkpoint.class_names if not is_defect(name))
        lesson = _lesson_of(self.good, [good] * len(self.good.photographs))
        if self.defective:
            kinds = self.parent.kinds(self.defective.pixels)
            lesson = lesson.plus(_lesson_of(self.defective, kinds))
        return lesson.plus(self.earlier.lesson) if self.earlier else lesson

    def network(self, lesson: Lesson, effort: Effort, progress: Callable[[int], None]) -> nn.Module:
        """The parent's network, tuned unless only the threshold may change."""
        parent = self.parent
        if self.threshold_only:
            return parent.network
        names = parent.checkpoint.class_names
        return tuned(parent.network, names, lesson, effort, parent.device, progress)


def _lesson_of(material: Material, labels: list[str]) -> Lesson:
    return Lesson(material.pixels, labels, material.parts, ["new"] * len(labels))
