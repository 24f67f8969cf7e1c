"""The figures of test.py: curves, images worth a look, every error with its heatmap."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.colours import WRONG_COLOUR
from common.labels import is_defect
from common.progress import ProgressBar
from common.text import count_of
from evaluation import figures as plots
from evaluation.held_out import (
    Evaluation,
    Model,
)
from evaluation.report import calibration_inputs
from imaging.overlays import TILE_PX, write_sheets
from imaging.reading import read_grey_image
from inspection.explanation import Explained, maps_of
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE
from metrics.calibration import calibration_errors, reliability


def most_telling(evaluation: Evaluation, count: int = 12) -> list[int]:
    """Indices of the parts worth a look: errors first, then those nearest to the threshold."""
    parts = evaluation.parts
    labels = np.array([row.label for row in evaluation.rows])
    found = np.array([p.predicted_class for p in evaluation.predictions])
    doubt = np.abs(parts.prob_defect - parts.threshold)
    return np.lexsort((doubt, labels == found))[:count].tolist()


def draw_figures(evaluation: Evaluation, out: Path, title: str) -> None:
    """All figures of one tier."""
    parts = evaluation.parts
    scores = (parts.is_defect, parts.prob_defect)
    thresholds = parts.threshold.tolist()
    typical = float(np.median(parts.threshold))
    plots.plot_confusion(
        out / "confusion_matrix.png", evaluation.confusion, evaluation.class_names, title
    )
    plots.plot_roc_pr(out / "roc_pr.png", *scores, typical, title)
    plots.plot_score_histogram(out / "score_histogram.png", *scores, typical, title)
    plots.plot_threshold(out / "threshold.png", *scores, thresholds, title)
    curves = []
    for name, prob in zip(("before", "after"), calibration_inputs(evaluation), strict=True):
        errors = calibration_errors(parts.is_defect, prob)
        label = f"{name} calibration: " + ", ".join(
            f"{key} {errors[key]:.3f}" for key in ("brier", "nll", "ece")
        )
        curves.append((label, *reliability(parts.is_defect, prob)))
    plots.plot_reliability(
        out / "reliability.png", curves, f"{title}\n{errors['bins']} bins of equal width"
    )
    draw_parts(evaluation, out / "predictions.png", title)


def draw_parts(evaluation: Evaluation, path: Path, title: str) -> None:
    """The parts worth a look, as images."""
    parts = []
    for index in most_telling(evaluation):
        row, prediction = evaluation.images[index].row, evaluation.images[index].prediction
        image = np.asarray(read_grey_image(evaluation.root / row.path))
        right = prediction.predicted_class == row.label
        predicted_as = "" if right else f", predicted {prediction.predicted_class}"
        caption = f"{row.label}{predicted_as}\np(defect) = {prediction.prob_defect:.3f}"
        parts.append((image, caption, right))
    plots.plot_parts(path, parts, f"{title}\nerrors, then the least certain")


def draw_errors(
    tiers: Sequence[Evaluation], models: Sequence[Model], path: Path, title: str
) -> None:
    """errors.png and, beyond one sheet, errors_2.png and so on: every error with its heatmap."""
    wrong = []
    for tier in tiers:
        parts = tier.parts
        rejected = parts.prob_defect >= parts.threshold
        wrong.append(np.flatnonzero(parts.is_defect != rejected).tolist())
    counts = ", ".join(
        f"{tier.name}: {count_of(len(indices), 'error') if indices else 'no errors'}"
        for tier, indices in zip(tiers, wrong, strict=True)
    )
    pairs = zip(tiers, wrong, strict=True)
    tiles = (tile for tier, indices in pairs for tile in error_tiles(tier, models, indices))
    write_sheets(path, tiles, f"{title}; {counts}")


def error_tiles(
    evaluation: Evaluation, models: Sequence[Model], wrong: Sequence[int]
) -> Iterator[tuple[Image.Image, str, str]]:
    """Overlays of the errors with these indices, and what kind of error each is."""
    for index, picture in overlays(evaluation, models, wrong):
        one = evaluation.images[index]
        kind = "missed" if is_defect(one.row.label) else "false alarm"
        text = f"{evaluation.name}: {kind}, {one.prediction.prob_defect:.3f}"
        yield picture, f"{Path(one.row.path).stem}\n{text}", WRONG_COLOUR


def overlays(
    evaluation: Evaluation, models: Sequence[Model], indices: Sequence[int]
) -> Iterator[tuple[int, Image.Image]]:
    """Index and overlay of these parts, each explained by the model that predicted it, in turn."""
    for model in models:
        fold = model.checkpoint.fold or 0
        own = [index for index in indices if evaluation.images[index].fold == fold]
        explainer = Explainer(model.checkpoint, model.predictor.device)
        for start in ProgressBar(
            range(0, len(own), BATCH_SIZE), "explaining errors", unit="batches"
        ):
            batch = own[start : start + BATCH_SIZE]
            found = [evaluation.images[index] for index in batch]
            images = [read_grey_image(evaluation.root / one.row.path) for one in found]
            maps = maps_of(explainer, images)
            for index, one, image, heat in zip(batch, found, images, maps, strict=True):
                yield index, Explained(image, one.prediction, heat).overlay(TILE_PX)
