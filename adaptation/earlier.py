"""Labelled photographs of the line before: half of the castings to go on learning, half to test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptation.photographs import Photograph, read_photographs, recognised_parts
from adaptation.tuning import Lesson
from common.errors import UserError
from common.labels import is_defect
from common.text import count_of
from dataset.listing import list_class_folders, report_notes
from model import Checkpoint

EACH_CLASS = 150  # photographs: more cost more than they tell, in two minutes


@dataclass(frozen=True)
class Earlier:
    """What to go on learning, and on what to see whether anything was forgotten."""

    lesson: Lesson
    learned: list[Photograph]  # those of the lesson
    frozen: list[Photograph]  # (N,), of castings that the lesson does not show
    parts: list[str]  # of those: which casting each shows
    is_defect: np.ndarray  # bool (N,)
    recognised: bool

    @property
    def pixels(self) -> np.ndarray:
        """Uint8 (N, S, S), of the frozen ones."""
        return np.stack([one.pixels for one in self.frozen])

    def describe(self) -> str:
        """A line for people."""
        how = "of other castings" if self.recognised else "(castings cannot be recognised)"
        return (
            f"{count_of(len(self.lesson.labels), 'photograph')} to go on learning, "
            f"{count_of(len(self.frozen), 'photograph')} {how} to test what was forgotten"
        )


def read_earlier(folder: Path, checkpoint: Checkpoint) -> Earlier:
    """A folder with a folder for each class, such as casting_data/train.

    Raises:
        UserError: no such folder, other classes, or files that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"--old: no such folder: {folder}")
    root, rows, notes = list_class_folders(folder)
    report_notes(notes)
    labels = sorted({row.label for row in rows})
    if labels != sorted(checkpoint.class_names):
        raise UserError(
            f"--old {folder} holds the classes {', '.join(labels)}, the model knows "
            f"{', '.join(checkpoint.class_names)}"
        )
    chosen = []
    for label in labels:
        own = [row for row in rows if row.label == label]
        some = np.linspace(0, len(own) - 1, min(EACH_CLASS, len(own))).round().astype(int)
        chosen += [own[index] for index in some]
    paths = [root / row.path for row in chosen]
    read = read_photographs(paths, checkpoint)
    return split_by_part(read, [row.label for row in chosen])


def split_by_part(photographs: Sequence[Photograph], labels: Sequence[str]) -> Earlier:
    """Every second part of each class goes into the lesson: the same ones at every run.

    Raises:
        UserError: none of the good or of the defective parts is left to test.
    """
    found = recognised_parts(photographs)
    parts = found or [f"photograph {number}" for number in range(len(labels))]
    taught: set[str] = set()
    for label in sorted(set(labels)):
        own = dict.fromkeys(part for part, name in zip(parts, labels, strict=True) if name == label)
        taught |= set(list(own)[::2])
    into = np.array([part in taught for part in parts])
    pixels = np.stack([one.pixels for one in photographs])
    chosen, others = np.flatnonzero(into).tolist(), np.flatnonzero(~into).tolist()
    lesson = Lesson(
        pixels[into],
        [labels[index] for index in chosen],
        [f"old {parts[index]}" for index in chosen],
        ["old"] * len(chosen),
    )
    defective = np.array([is_defect(label) for label in labels])
    if len(set(defective[~into].tolist())) < 2:
        raise UserError(
            "--old: good and defective parts are needed to learn and others to test; it shows "
            f"{count_of(len(set(parts)), 'part')}"
        )
    learned, frozen = ([photographs[index] for index in some] for some in (chosen, others))
    names = [parts[index] for index in others]
    return Earlier(lesson, learned, frozen, names, defective[~into], found is not None)
