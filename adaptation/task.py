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
from adaptation.scoring import AT_ONCE, Drawn, log_odds
from adaptation.tuning import BRIEF, FULL, Effort, Lesson, tuned
from dataset.batches import unit_range
from model import Checkpoint
from networks.classes import class_logits, defect_flags

GROUPS = 3  # of parts, each left out once, where that means to tune without it
DRAWN_SEED = 1  # of the synthetic defects that place the decision and are counted
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
        return log_odds(network, self.checkpoint, images, self.device) - self.point

    @torch.inference_mode()
    def likeliest(self, pixels: np.ndarray, defective: bool) -> list[str]:
        """Of the good classes, or of those of defects, the likeliest for each image (N, S, S)."""
        names, wanted = self.checkpoint.class_names, defect_flags(self.checkpoint.class_names)
        found = []
        for piece in torch.from_numpy(pixels).split(AT_ONCE):
            logits = class_logits(self.network(unit_range(piece.to(self.device))).cpu(), names)
            found += logits.masked_fill(wanted != defective, -torch.inf).argmax(1).tolist()
        return [names[index] for index in found]


@dataclass(frozen=True)
class Task:
    """All that an adaptation rests on; `drawn` are synthetic defects on the good photographs.

    `thorough`: networks without a group of parts are tuned as long as the one that is kept, as they
    decide whether it is taken into use. Else they are for figures only, and minutes count.
    """

    parent: Parent
    good: Material
    defective: Material | None
    earlier: Earlier | None
    drawn: Drawn
    threshold_only: bool
    thorough: bool = False

    @cached_property
    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """The parent's scores of the good photographs (N,) and of the drawn defects (D,)."""
        parent = self.parent
        found = (parent.scores(parent.network, x) for x in (self.good.pixels, self.drawn.images))
        return tuple(found)

    @property
    def groups(self) -> list[list[str]]:
        """Parts to leave out together, good and defective ones; none with a single good part."""
        groups = groups_of(self.good.parts, self.good.count if self.threshold_only else GROUPS)
        if self.defective and groups:
            for number, part in enumerate(dict.fromkeys(self.defective.parts)):
                groups[number % len(groups)].append(part)
        return groups

    @property
    def effort_without(self) -> Effort:
        """How long to tune a network without a group of parts."""
        return FULL if self.thorough else BRIEF

    @property
    def images(self) -> int:
        """That all networks together are tuned on."""
        without = self.effort_without.images * len(self.groups)
        return 0 if self.threshold_only else FULL.images + without

    @cached_property
    def lesson(self) -> Lesson:
        """What to tune on."""
        lesson = self._lesson_of(self.good, False)
        if self.defective:
            lesson = lesson.plus(self._lesson_of(self.defective, True))
        return lesson.plus(self.earlier.lesson) if self.earlier else lesson

    def _lesson_of(self, material: Material, defective: bool) -> Lesson:
        labels = self.parent.likeliest(material.pixels, defective)
        return Lesson(material.pixels, labels, material.parts, ["new"] * len(labels))

    def network_without(
        self, group: list[str], effort: Effort, progress: Callable[[int], None]
    ) -> nn.Module:
        """The parent's network, tuned on all but a group, if more than the threshold may change."""
        parent = self.parent
        if self.threshold_only:
            return parent.network
        lesson = self.lesson.without(group) if group else self.lesson
        names = parent.checkpoint.class_names
        return tuned(parent.network, names, lesson, effort, parent.device, progress)
