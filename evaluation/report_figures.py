"""The figures of test.py: curves, images worth a look, every error with its heatmap."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.colours import WRONG_COLOUR
from common.labels import is_defect
from common.progress import ProgressBar
from common.text import chance, count_of
from evaluation import figures as plots
from evaluation.confusion_figure import plot_confusion
from evaluation.held_out import Evaluation, Model
from evaluation.report import calibration_inputs
from imaging.overlays import TILE_PX, write_sheets
from imaging.reading import read_grey_image
from inspection.explanation import Explained, maps_of
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE
from metrics.calibration import calibration_errors, reliability

INTERVALS = "95 % intervals that take images for independent"


def most_telling(evaluation: Evaluation, count: int = 12) -> list[int]:
    """Indices of the parts worth a look: the worst errors first, then the least certain."""
    parts = evaluation.parts
    labels = np.array([row.label for row in evaluation.rows])
    found = np.array([p.predicted_class for p in evaluation.predictions])
    doubt = np.abs(parts.prob_defect - parts.threshold)
    right = labels == found
    return np.lexsort((np.where(right, doubt, -doubt), right))[:count].tolist()


def draw_figures(evaluation: Evaluation, out: Path, origin: str) -> None:
    """All figures of one tier."""
    parts = evaluation.parts
    scores = (parts.is_defect, parts.prob_defect)
    thresholds = parts.threshold.tolist()
    plot_confusion(
        out / "confusion_matrix.png", evaluation.confusion, evaluation.class_names, origin
    )
    plots.plot_roc_pr(out / "roc_pr.png", *scores, parts.rejected, origin)
    plots.plot_score_histogram(out / "score_histogram.png", *scores, thresholds, origin)
    plots.plot_threshold(out / "threshold.png", *scores, thresholds, origin)
    plots.plot_reliability(out / "reliability.png", reliability_curves(evaluation), origin)
    draw_parts(evaluation, out / "predictions.png", origin)


def reliability_curves(evaluation: Evaluation) -> list[tuple]:
    """The probabilities as they are and, where a temperature was fitted, before that."""
    before, after = calibration_inputs(evaluation)
    named = {f"as predicted, {INTERVALS}": after}
    if any(image.temperature != 1 for image in evaluation.images):
        named = {"before calibration": before, f"calibrated, {INTERVALS}": after}
    curves = []
    for name, prob in named.items():
        errors = calibration_errors(evaluation.parts.is_defect, prob)
        figures = ", ".join(f"{key} {errors[key.lower()]:.3f}" for key in ("Brier", "NLL", "ECE"))
        curves.append((f"{name}\n{figures}", *reliability(evaluation.parts.is_defect, prob)))
    return curves


def draw_parts(evaluation: Evaluation, path: Path, origin: str) -> None:
    """The parts worth a look, as images."""
    parts = []
    for index in most_telling(evaluation):
        row, prediction = evaluation.images[index].row, evaluation.images[index].prediction
        image = np.asarray(read_grey_image(evaluation.root / row.path))
        right = prediction.predicted_class == row.label
        caption = f"{kind_of_prediction(row.label, prediction.predicted_class)}\n{row.label}, "
        parts.append((image, f"{caption}p(defect) {chance(prediction.prob_defect)}", right))
    pairs = zip(evaluation.rows, evaluation.predictions, strict=True)
    wrong = sum(prediction.predicted_class != row.label for row, prediction in pairs)
    plots.plot_parts(path, parts, title_of_parts(len(parts), wrong), origin)


def title_of_parts(shown: int, wrong: int) -> str:
    """What so many parts are that stand for the images, of which some are `wrong`."""
    if wrong > shown:
        return f"The worst {shown} of {wrong:,} errors, the worst first"
    errors = f"{count_of(wrong, 'error')}, the worst first" if wrong else "no errors"
    title = f"{count_of(shown, 'part')} worth a look: {errors}"
    return title if wrong == shown else f"{title}; then what is right, the least certain first"


def kind_of_prediction(label: str, predicted: str) -> str:
    """'missed', 'false alarm', 'taken for burr' or 'right'."""
    if label == predicted:
        return "right"
    if is_defect(label) == is_defect(predicted):
        return f"taken for {predicted}"
    return "missed defect" if is_defect(label) else "false alarm"


def draw_errors(
    tiers: Sequence[Evaluation], models: Sequence[Model], path: Path, origin: str
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
    write_sheets(
        path, tiles, f"What was decided wrongly, and where it looks defective; {counts}", origin
    )


def error_tiles(
    evaluation: Evaluation, models: Sequence[Model], wrong: Sequence[int]
) -> Iterator[tuple[Image.Image, str, str]]:
    """Overlays of the errors with these indices, and what kind of error each is."""
    for index, picture in overlays(evaluation, models, wrong):
        one = evaluation.images[index]
        kind = "missed" if is_defect(one.row.label) else "false alarm"
        text = f"{evaluation.name}: {kind}, {chance(one.prediction.prob_defect)}"
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
