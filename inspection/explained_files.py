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
from common.html_page import (
    html_facts,
    html_figure,
    html_page,
    html_table,
    made_by,
    paragraph,
    section,
)
from common.progress import ProgressBar
from common.text import chance, count_of, printable
from imaging.overlays import TILE_PX, captioned, png
from imaging.reading import UnreadableImageError, read_grey_image
from inspection.explanation import CONTACT_SHEET, Explained, decision_text, explain_images
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE, OUTCOMES
from inspection.predictor import Prediction, Predictor

REPORT, MOST_SHEETS = "report.html", 10


@dataclass
class Outcome:
    """What became of the files."""

    told: list[tuple[str, str, str, str]] = field(default_factory=list)  # a line a heatmap
    unreadable: list[Path] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)  # by the gate


def told(prediction: Prediction) -> tuple[str, str]:
    """Decision and probability in words."""
    if prediction.decision:
        return prediction.decision, chance(prediction.prob_defect)
    return OUTCOMES[prediction.outcome], prediction.error


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
                outcome.told.append((printable(path), names[path], *told(p)))
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


def write_report(out: Path, outcome: Outcome, facts: dict[str, str], sheets: int) -> None:
    """report.html: the heatmaps in one file, with what was decided of each part.

    Args:
        sheets: how many contact sheets there are; without any the one heatmap is shown.
    """
    pictures = [out / f"{name}.png" for _, name, *_ in outcome.told[:1]]
    if sheets:
        numbered = (f"_{number}" for number in range(2, min(sheets, MOST_SHEETS) + 1))
        pictures = [out / f"{CONTACT_SHEET}{number}.png" for number in ("", *numbered)]
    left_out = sheets - len(pictures) if sheets else 0
    body = [
        html_facts(facts),
        *(html_figure(path, path.name) for path in pictures),
        paragraph(f"{count_of(left_out, 'more sheet')} in the folder." if left_out else ""),
        html_table(("photograph", "heatmap", "decision", "defect probability"), outcome.told),
        section("Unreadable", *(paragraph(printable(path)) for path in outcome.unreadable)),
        made_by("explain.py"),
    ]
    write_atomic(out / REPORT, html_page("Where decisions come from", "\n".join(body)))
