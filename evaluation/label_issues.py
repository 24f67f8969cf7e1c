"""Labels that are likely wrong: from predictions on unseen castings to a table and a picture."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from common.colours import WRONG_COLOUR
from common.csv_dialects import PLAIN, CsvDialect
from common.errors import UserError
from common.files import write_csv
from common.labels import is_defect
from common.text import chance, count_of
from evaluation.corrected import labels_in_training, with_labels
from evaluation.error_pictures import overlays
from evaluation.held_out import Evaluation, Model, predict_folds, predict_split
from imaging.overlays import write_sheets
from metrics.label_issues import LabelIssues, SuspiciousCasting, find_label_issues

COLUMN_NAMES = ["path", "casting", "label", "probability", "rank"]
SHOWN = 48  # images


def refuse_seen_castings(models: Sequence[Model], split: str) -> None:
    """Raise UserError unless no model was trained on a casting that it is to judge."""
    for model in models:
        judged = [row for row in model.rows if row.split == split]
        known = model.castings_in_training
        what = f"of {count_of(len(judged), 'image')} in its {split} part"
        if unknown := sum(not row.casting for row in judged):
            problem = f"may have seen the castings, which are unknown of {unknown:,} {what}"
        elif seen := sum(row.casting in known for row in judged):
            problem = f"has seen the castings of {seen:,} {what}, and learned their labels"
        else:
            continue
        raise UserError(
            f"{model.path} {problem}; train with --protocol casting --fold all, and give the "
            "folder of the folds with --protocol casting"
        )


def judged_images(models: Sequence[Model], root: Path, split: str) -> Evaluation:
    """Each image by a model that never saw its casting, with the label that training has used.

    Raises:
        UserError: a model has seen the castings, or holds no image out.
    """
    refuse_seen_castings(models, split)
    folds = len(models) > 1
    found = predict_folds(models, root) if folds else predict_split(models[0], root, split)
    return with_labels(found, labels_in_training(models))


def label_issues(evaluation: Evaluation) -> LabelIssues:
    """The images whose label is likely wrong, and the suspicious castings."""
    probabilities = np.array([one.probabilities for one in evaluation.predictions])
    return find_label_issues(
        label_indices(evaluation),
        probabilities,
        [row.casting for row in evaluation.rows],
        [is_defect(name) for name in evaluation.class_names],
    )


def label_indices(evaluation: Evaluation) -> np.ndarray:
    """The class of each image as it is labelled, int (N,)."""
    return np.array([evaluation.class_names.index(row.label) for row in evaluation.rows])


def probability_of_label(evaluation: Evaluation, index: int) -> float:
    """Of the label as given."""
    label = evaluation.class_names.index(evaluation.rows[index].label)
    return evaluation.predictions[index].probabilities[label]


def write_label_issues(
    path: Path, evaluation: Evaluation, order: Sequence[int], dialect: CsvDialect = PLAIN
) -> None:
    """One line an image, rank 1 first; with its column label corrected it can be given back."""
    probabilities = {i: Decimal(f"{probability_of_label(evaluation, i):.8f}") for i in order}
    lines = (
        [row.path, row.casting, row.label, probabilities[i], rank]
        for rank, i in enumerate(order, 1)
        for row in [evaluation.rows[i]]
    )
    write_csv(path, COLUMN_NAMES, lines, dialect)


def draw_label_issues(
    path: Path, evaluation: Evaluation, models: Sequence[Model], order: Sequence[int], origin: str
) -> None:
    """A contact sheet of the first images with their heatmaps, by rank."""
    shown = order[:SHOWN]
    pictures = dict(overlays(evaluation, models, shown))
    tiles = []
    for rank, i in enumerate(shown, 1):
        row = evaluation.rows[i]
        text = f"{row.label}: {chance(probability_of_label(evaluation, i))}"
        tiles.append((pictures[i], f"{rank}. {row.path}\n{text}, {row.casting}", WRONG_COLOUR))
    title = f"{count_of(len(order), 'label')} likely wrong"
    if len(order) > SHOWN:
        title += f", the first {SHOWN}"
    write_sheets(path, tiles, title, origin)


def casting_line(casting: SuspiciousCasting) -> str:
    """'casting_003: 20 of 24 images contradicted; 4 labelled good, 20 defective'."""
    line = f"{casting.name}: {casting.contradicted} of {count_of(casting.images, 'image')}"
    labels = f"{casting.images - casting.defects} labelled good, {casting.defects} defective"
    return f"{line} contradicted; {labels}"
