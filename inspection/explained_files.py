"""Heatmaps of files, as files: overlays, arrays, and a tile each for the contact sheet."""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.colours import outcome_colour
from common.files import write_atomic
from common.labels import is_defect
from common.progress import ProgressBar
from common.text import chance, count_of, printable
from imaging.overlays import TILE_PX, captioned, png
from imaging.reading import UnreadableImageError, read_grey_image
from inspection.explanation import CONTACT_SHEET, Explained, decision_text, explain_images
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE, OUTCOMES
from inspection.predictor import Prediction, Predictor


@dataclass(frozen=True)
class Told:
    """What was decided of a photograph, in words."""

    path: str
    name: str  # of its heatmap, without suffix
    decision: str
    kind: str  # of the defect; empty for a good part
    probability: str  # of a defect, or why there is none


@dataclass
class Outcome:
    """What became of the files."""

    told: list[Told] = field(default_factory=list)  # one a photograph that could be read
    unreadable: list[Path] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)  # by the gate

    def text(self) -> str:
        """'10 heatmaps, 1 unreadable, 1 not judged'."""
        done = count_of(len(self.told) - len(self.refused), "heatmap")
        return f"{done}, {len(self.unreadable)} unreadable, {len(self.refused)} not judged"


def told(path: Path, name: str, prediction: Prediction) -> Told:
    """Decision, kind of defect and probability in words."""
    p = prediction
    if not p.decision:
        return Told(printable(path), name, OUTCOMES[p.outcome], "", p.error)
    kind = p.predicted_class if is_defect(p.predicted_class) else ""
    return Told(printable(path), name, p.decision, printable(kind), chance(p.prob_defect))


def tile_text(prediction: Prediction) -> str:
    """'defect: p(defect) >0.99' or 'not judged', as short as a tile is narrow."""
    p = prediction
    if not p.decision:
        return OUTCOMES[p.outcome]
    return f"{p.decision}: p(defect) {chance(p.prob_defect)}"


def output_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix: the stems, where they are equal with folder and number."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        plain = path.stem if stems[path.stem] == 1 else f"{path.resolve().parent.name}_{path.stem}"
        name, number = plain, 1
        while name in names or name.startswith(CONTACT_SHEET):
            number += 1
            start = f"part_{plain}" if plain.startswith(CONTACT_SHEET) else plain
            name = f"{start}_{number}"
        names[name] = None
    return list(names)


def explain_files(
    args: argparse.Namespace,
    predictor: Predictor,
    explainer: Explainer,
    paths: Sequence[Path],
    outcome: Outcome,
) -> Iterator[tuple[Image.Image, str, str]]:
    """Write what was asked for of each file; yields tiles, tells `outcome`."""
    names = dict(zip(paths, output_names(paths), strict=True))
    with ProgressBar(total=len(paths), desc="explaining", unit="parts") as bar:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            images = dict(readable(batch, outcome.unreadable))
            found = explain_images(predictor, explainer, list(images.values()), args.method)
            for path, one in zip(images, found, strict=True):
                write_explained(args.out / names[path], one, args.arrays)
                p = one.prediction
                outcome.told.append(told(path, names[path], p))
                if not p.decision:
                    outcome.refused.append(path)
                    tqdm.write(f"{OUTCOMES[p.outcome]}: {printable(path)}: {p.error}", sys.stderr)
                caption = f"{names[path]}\n{tile_text(p)}"
                yield one.overlay(TILE_PX), caption, outcome_colour(p.outcome)
            bar.update(len(batch))


def readable(paths: Sequence[Path], unreadable: list[Path]) -> Iterator[tuple[Path, Image.Image]]:
    """Files with their images; adds the others to `unreadable` and says why."""
    for path in paths:
        try:
            yield path, read_grey_image(path)
        except UnreadableImageError as error:
            unreadable.append(path)
            tqdm.write(printable(f"unreadable: {printable(path)}: {error}"), sys.stderr)


def write_explained(target: Path, one: Explained, arrays: bool) -> None:
    """The overlay with its decision as target.png and, if wanted, the map as target.npy."""
    lines = [target.name, decision_text(one.prediction)]
    image = captioned(one.overlay(), lines, outcome_colour(one.prediction.outcome))
    write_atomic(target.with_name(f"{target.name}.png"), png(image))
    if arrays and one.prediction.decision:
        data = io.BytesIO()
        np.save(data, one.heat)
        write_atomic(target.with_name(f"{target.name}.npy"), data.getvalue())
