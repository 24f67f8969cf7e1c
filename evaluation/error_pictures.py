"""Pictures of held-out parts: those worth a look, and every error with its heatmap."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.progress import ProgressBar
from common.text import chance
from evaluation import figures as plots
from evaluation.errors import (
    COLOURS,
    MISSED,
    RIGHT,
    WRONG_KIND,
    Errors,
    decided_wrongly,
    errors_of,
    most_telling,
    sort_of,
)
from evaluation.held_out import EvaluatedImage, Evaluation, Model
from imaging.overlays import TILE_PX, write_sheets
from imaging.reading import read_grey_image
from inspection.explanation import Explained, maps_of
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE


def draw_parts(evaluation: Evaluation, path: Path, origin: str) -> None:
    """The parts worth a look, as images."""
    parts = []
    for index in most_telling(evaluation):
        one = evaluation.images[index]
        image = np.asarray(read_grey_image(evaluation.root / one.row.path))
        sort, text = told(one)
        name, probability = Path(one.row.path).name, probability_text(one)
        parts.append((image, f"{text}\n{name}\n{probability}", sort))
    title = f"{evaluation.name}: {title_of_parts(errors_of(evaluation), len(parts))}"
    plots.plot_parts(path, parts, title, origin)


def title_of_parts(errors: Errors, shown: int) -> str:
    """What so many parts are, the worst errors first."""
    if not errors.count:
        return "no errors; what is least certain first"
    text = f"{errors.describe()}; the worst first"
    if errors.count > shown:
        return f"{text}, {shown} of them"
    return text if errors.count == shown else f"{text}, then what is right, the least certain first"


def told(one: EvaluatedImage) -> tuple[str, str]:
    """Which sort of prediction it is, and in words: 'missed: crack', 'crack taken for hole'."""
    label, predicted = one.row.label, one.prediction.predicted_class
    sort = sort_of(label, predicted)
    words = {
        MISSED: f"missed: {label}",
        WRONG_KIND: f"{label} taken for {predicted}",
        RIGHT: f"right: {label}",
    }
    return sort, words.get(sort, sort)


def probability_text(one: EvaluatedImage) -> str:
    """'p(defect) 0.497', with as many digits as tell it from the threshold."""
    found = one.prediction
    return f"p(defect) {chance(found.prob_defect, found.threshold)}"


def draw_errors(evaluation: Evaluation, models: Sequence[Model], path: Path, origin: str) -> int:
    """Sheets errors.png, errors_2.png, ...: all missed defects and false alarms; how many sheets.

    The worst first, each with its heatmap.
    """
    wrong = decided_wrongly(evaluation)
    errors = errors_of(evaluation)
    title = f"{evaluation.name}: {errors.describe()}; {threshold_text(evaluation)}"
    title += "; hot: what speaks for a defect"
    title += "; wrong kinds are not shown" if errors.wrong_kinds else ""
    return write_sheets(path, error_tiles(evaluation, models, wrong), title, origin)


def threshold_text(evaluation: Evaluation) -> str:
    """'threshold 0.5', or 'thresholds 0.3 to 0.5' of several folds."""
    low, high = evaluation.parts.threshold.min(), evaluation.parts.threshold.max()
    return f"threshold {low:.3g}" if low == high else f"thresholds {low:.3g} to {high:.3g}"


def error_tiles(
    evaluation: Evaluation, models: Sequence[Model], wrong: Sequence[int]
) -> Iterator[tuple[Image.Image, str, str]]:
    """Overlays of the errors with these indices, and what kind of error each is."""
    for index, picture in overlays(evaluation, models, wrong):
        one = evaluation.images[index]
        sort, text = told(one)
        caption = f"{Path(one.row.path).stem}\n{text}, {probability_text(one)}"
        yield picture, caption, COLOURS[sort]


def overlays(
    evaluation: Evaluation, models: Sequence[Model], indices: Sequence[int]
) -> Iterator[tuple[int, Image.Image]]:
    """Index and overlay of these parts in turn, each explained by the model that predicted it."""
    explainers = {
        model.checkpoint.fold or 0: Explainer(model.checkpoint, model.predictor.device)
        for model in (models if indices else ())
    }
    for start in ProgressBar(
        range(0, len(indices), BATCH_SIZE), "explaining errors", unit="batches"
    ):
        batch = indices[start : start + BATCH_SIZE]
        found: dict[int, Explained] = {}
        for fold, explainer in explainers.items():
            own = [index for index in batch if evaluation.images[index].fold == fold]
            found |= explained(evaluation, explainer, own)
        yield from ((index, found[index].overlay(TILE_PX)) for index in batch)


def explained(
    evaluation: Evaluation, explainer: Explainer, indices: Sequence[int]
) -> dict[int, Explained]:
    """These parts with their maps."""
    if not indices:
        return {}
    chosen = [evaluation.images[index] for index in indices]
    images = [read_grey_image(evaluation.root / one.row.path) for one in chosen]
    every = zip(indices, images, chosen, maps_of(explainer, images), strict=True)
    return {index: Explained(image, one.prediction, heat) for index, image, one, heat in every}
