"""The predictions on a checkpoint's validation images, beside it: best_validation.csv.

From them a threshold can be chosen without looking at test images.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import read_csv, sha256_of_file, write_csv
from common.labels import is_defect

COLUMNS = ["label", "casting", "prob_defect", "model"]


def validation_path(checkpoint: Path) -> Path:
    """The file that belongs to a checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}_validation.csv")


def write_validation(
    checkpoint: Path, labels: Sequence[str], castings: Sequence[str], prob_defect: Iterable[float]
) -> None:
    """Write a line an image: class folder, casting ('' when unknown), defect probability, model.

    Which model: the first 12 digits of the checkpoint's SHA-256, for a file may outlive it.
    """
    model = sha256_of_file(checkpoint)[:12]
    rows = zip(labels, castings, (f"{p:.6f}" for p in prob_defect), strict=True)
    write_csv(validation_path(checkpoint), COLUMNS, ([*row, model] for row in rows))


def read_validation(checkpoint: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Whether each image is defective bool (N,), its casting, its defect probability (N,).

    Raises:
        UserError: there is no such file, or it is another one or another model's.
    """
    path = validation_path(checkpoint)
    if not path.exists():
        raise UserError(f"no {path}; train.py writes it beside its checkpoint")
    rows = read_csv(path, COLUMNS)
    labels, castings, _, models = ([row[name] for row in rows] for name in COLUMNS)
    try:
        prob_defect = np.array([float(row["prob_defect"]) for row in rows])
    except ValueError as error:
        raise UserError(f"{path} is no file of validation predictions: {error}") from error
    # Written so that no number at all is none from 0 to 1
    if not (rows and all(labels) and ((prob_defect >= 0) & (prob_defect <= 1)).all()):
        raise UserError(f"{path} is no file of validation predictions: labels, or probabilities")
    try:
        model = sha256_of_file(checkpoint)[:12]
    except OSError as error:
        raise UserError(f"cannot read {checkpoint}: {error.strerror}") from error
    if set(models) != {model}:
        raise UserError(f"{path} belongs to another model than {checkpoint}")
    return np.array([is_defect(label) for label in labels], bool), castings, prob_defect
