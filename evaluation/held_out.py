"""Which images a model may be measured on, and its predictions on them, one each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from common.errors import UserError, tell
from common.files import CHECKPOINTS, sha256_of_file
from common.labels import is_defect
from common.progress import ProgressBar
from data_split import load_split, split_sha256
from dataset.arguments import split_options
from dataset.casting_table import (
    UnknownCastingsError,
    castings_beside,
    known_castings,
    with_castings,
)
from dataset.corrections import as_published
from dataset.listing import ImageRow, hashed, list_class_folders
from dataset.manifest import warn_of_changed_contents
from dataset.releases import DataFolder
from dataset.store import open_store
from evaluation.options import UNSEEN
from gate.limits import Limits
from gate.measures import measure
from inspection.options import BATCH_SIZE
from inspection.predictor import Prediction, Predictor, load_predictor
from metrics.decisions import Parts
from model import Checkpoint, find_checkpoint


@dataclass(frozen=True)
class Model:
    """A checkpoint ready to predict, and the split that it was trained with."""

    path: Path
    predictor: Predictor
    rows: list[ImageRow]  # of all images, with this model's split

    @property
    def checkpoint(self) -> Checkpoint:
        return self.predictor.checkpoint

    @property
    def castings_in_training(self) -> set[str]:
        """Names of the castings that its training images show; empty when castings are unknown."""
        return {row.casting for row in self.rows if row.split == "train"} - {""}


@dataclass(frozen=True)
class EvaluatedImage:
    """A held-out image, and what a model that was not trained on it predicts."""

    row: ImageRow
    prediction: Prediction
    fold: int  # of the model; 0 without folds
    seen: bool  # whether the model was trained on other images of the casting
    temperature: float  # of the model
    gate: str | None = None  # NOT_JUDGED, REVIEW, '' for neither; None without a gate


@dataclass(frozen=True)
class Evaluation:
    """Held-out images (N,) with their predictions."""

    name: str  # the tier, e.g. 'test'
    root: Path
    images: list[EvaluatedImage]
    class_names: list[str]

    @property
    def rows(self) -> list[ImageRow]:
        return [image.row for image in self.images]

    @property
    def predictions(self) -> list[Prediction]:
        return [image.prediction for image in self.images]

    @property
    def seen(self) -> list[bool]:
        return [image.seen for image in self.images]

    @property
    def parts(self) -> Parts:
        """The predictions as arrays."""
        return Parts(
            is_defect=np.array([is_defect(row.label) for row in self.rows]),
            prob_defect=np.array([p.prob_defect for p in self.predictions]),
            threshold=np.array([p.threshold for p in self.predictions]),
            castings=np.array([row.casting or row.path for row in self.rows]),
            folds=np.array([image.fold for image in self.images]),
            sessions=np.array([row.session for row in self.rows]),
        )

    @property
    def confusion(self) -> np.ndarray:
        """Counts (C, C): rows true, columns predicted, in the order of the class names."""
        from sklearn.metrics import confusion_matrix

        labels = [row.label for row in self.rows]
        predicted = [p.predicted_class for p in self.predictions]
        return confusion_matrix(labels, predicted, labels=self.class_names)

    @property
    def castings_known(self) -> bool:
        return all(row.casting for row in self.rows)

    def chosen(self, wanted: Sequence[bool], name: str) -> "Evaluation":
        """The images that `wanted` (N,) picks."""
        pairs = zip(self.images, wanted, strict=True)
        return replace(self, name=name, images=[image for image, keep in pairs if keep])


def checkpoint_hashes(models: Sequence[Model]) -> dict[str, str]:
    """SHA-256 of each model's file, by its fold, else by the file's name."""
    return {
        str(model.checkpoint.fold or model.path.name): sha256_of_file(model.path)
        for model in models
    }


def load_models(
    checkpoint: Path | None, root: DataFolder | None, device: str | None, *, folds: bool = False
) -> list[Model]:
    """The model of a checkpoint, or those of all folds in a folder, with their splits of `root`.

    Without `root` they know no images, and can be measured on other folders only.

    Raises:
        UserError: no checkpoint, folds missing or of different runs, or other images in `root`.
    """
    if not folds:
        return [_load_model(find_checkpoint(checkpoint), root, device)]
    paths = find_folds(checkpoint or CHECKPOINTS)
    models = [_load_model(path, root, device) for path in paths]
    _refuse_mixture(models)
    return models


def find_folds(folder: Path) -> list[Path]:
    """The checkpoints of `python train.py --fold all`: folder/fold1/best.pth and so on.

    Raises:
        UserError: there is none.
    """
    found = sorted(folder.glob("fold*/best.pth"), key=lambda path: (len(path.parts[-2]), path))
    if not found:
        raise UserError(
            f"{folder} holds no folds; make them with: python train.py --recipe robust "
            f"--protocol casting --fold all --out {folder}"
        )
    return found


def _load_model(path: Path, root: DataFolder | None, device: str | None) -> Model:
    predictor = load_predictor(path, device)
    if found := predictor.checkpoint.adaptation:
        learned = (
            f"; {len(found['old'])} photographs of it were learned again" if found["old"] else ""
        )
        tell(f"note: {path} was adapted to another line than the split's{learned}")
    rows = rebuild_split(root, predictor.checkpoint, path) if root else []
    return Model(path, predictor, rows)


def rebuild_split(root: DataFolder, checkpoint: Checkpoint, path: Path) -> list[ImageRow]:
    """The split that a model was trained with, castings filled in where they can be known.

    Its labels are those of the folders, also where the model was trained on corrected ones.

    Raises:
        UserError: the images in `root` give another split.
    """
    # Versions that stored no releases knew of one only
    options = split_options({"releases": 1} | checkpoint.training)
    try:
        rows, _ = load_split(root, options, need_castings=True)
    except UnknownCastingsError as error:
        if options.protocol == "casting":
            raise
        tell(f"note: {error}; intervals take images for independent")
        rows, _ = load_split(root, options)
    if split_sha256(rows) != checkpoint.split_sha256:
        raise UserError(
            f"{root} is not the data that {path} was trained on: its split is "
            f"{split_sha256(rows)[:12]}, the checkpoint's {checkpoint.split_sha256[:12]}; "
            "images were added, removed or renamed, or --data names another set"
        )
    warn_of_changed_contents(rows, path.with_name("split.csv"))
    if not options.corrected_labels:
        return rows
    return as_published(rows, options.good, options.good_only)


def _refuse_mixture(models: Sequence[Model]) -> None:
    """Raise UserError unless the folds complete each other: every image in one test part."""
    first = models[0].checkpoint
    count = first.training.get("folds")
    present = [model.checkpoint.fold for model in models]
    folder = models[0].path.parent.parent
    if first.protocol != "casting" or present != list(range(1, (count or 0) + 1)):
        raise UserError(
            f"{folder} holds the folds {present} of {count}; train the others with the same "
            "options and --fold all"
        )
    for model in models:
        same = [k for k in first.training if k != "fold"]
        other = [k for k in same if model.checkpoint.training.get(k) != first.training[k]]
        if other or model.checkpoint.operating_point is None:
            what = f"was trained with another {other[0]}" if other else "has not been finished"
            raise UserError(f"{model.path} {what}; run train.py with --fold all again")


# --- predicting ----------------------------------------------------------------------------------


def predict_split(model: Model, root: DataFolder, split: str, *, cache: bool = True) -> Evaluation:
    """Predict the images of one split once.

    Raises:
        UserError: the split is empty, as the test part of a model meant for use is.
    """
    chosen = [i for i, row in enumerate(model.rows) if row.split == split]
    if not chosen:
        raise UserError(
            f"{model.path} holds no image out as '{split}': it was trained on all castings but the "
            "validation ones; use --split val or --external FOLDER (the card tells what its "
            "recipe reaches on unseen castings)"
        )
    rows = model.rows
    if not cache:  # decode no more than is predicted
        rows, chosen = [rows[i] for i in chosen], list(range(len(chosen)))
    return predict_rows(model, split, root, rows, chosen, cache=cache)


def predict_folds(models: Sequence[Model], root: DataFolder, *, cache: bool = True) -> Evaluation:
    """Every image once, by the model that was not trained on its casting."""
    parts = [predict_split(model, root, "test", cache=cache) for model in models]
    paths = [row.path for part in parts for row in part.rows]
    assert sorted(paths) == sorted(row.path for row in models[0].rows), "not every image once"
    return replace(parts[0], name=UNSEEN, images=[image for part in parts for image in part.images])


def predict_folder(
    model: Model, folder: Path, name: str, root: DataFolder | None, *, cache: bool
) -> Evaluation:
    """Images of another folder with class subfolders, compared with the castings in training.

    Without `root`, the folder of the training images, the castings stay unknown.

    Raises:
        UserError: missing or empty class folders, or classes that the model does not know.
    """
    learned = split_options({"releases": 1} | model.checkpoint.training)
    root_of_rows, rows, _ = list_class_folders(
        folder, both_kinds=False, good=learned.good, good_only=learned.good_only
    )
    unknown = sorted({row.label for row in rows} - set(model.checkpoint.class_names))
    if unknown:
        raise UserError(
            f"{folder} has a class that the model does not know: {unknown[0]}; name its folders "
            f"{' and '.join(model.checkpoint.class_names)}"
        )
    rows = [replace(row, split=name) for row in hashed(root_of_rows, rows)]
    if root:
        rows = _castings_beside_training(model, root_of_rows, rows, root)
    return predict_rows(model, name, root_of_rows, rows, range(len(rows)), cache=cache)


def _castings_beside_training(
    model: Model, root: Path, rows: list[ImageRow], training_root: Path
) -> list[ImageRow]:
    """The rows with castings, named alike where they are those of the training images."""
    training = [row for row in model.rows if row.split == "train"]
    rendered = known_castings(root) and not model.checkpoint.training.get("castings")
    try:
        if rendered and root.resolve() == (training_root / ".").resolve():
            return with_castings(root, rows)  # truth.csv tells the castings of all images
        return castings_beside(root, rows, training_root, training)
    except UnknownCastingsError as error:
        tell(f"note: {error}")
        return rows


def predict_rows(
    model: Model,
    name: str,
    root: Path,
    rows: Sequence[ImageRow],
    chosen: Sequence[int],
    *,
    cache: bool,
) -> Evaluation:
    """Predict the chosen rows once."""
    predictor, checkpoint = model.predictor, model.checkpoint
    store = open_store(root, rows, checkpoint.image_size_px, checkpoint.fit, cache=cache)
    predictions, opinions, limits = [], [], checkpoint.limits
    with ProgressBar(total=len(chosen), desc=f"predicting {name}", unit="img") as bar:
        for start in range(0, len(chosen), BATCH_SIZE):
            indices = list(chosen[start : start + BATCH_SIZE])
            predictions += predictor.predict_batch(torch.from_numpy(store[indices]))
            opinions += [
                gate_opinion(limits, store[i], prediction.distance)
                for i, prediction in zip(indices, predictions[start:], strict=True)
            ]
            bar.update(len(indices))
    trained_on = model.castings_in_training
    images = [
        EvaluatedImage(
            rows[i], prediction, checkpoint.fold or 0, rows[i].casting in trained_on,
            checkpoint.temperature, opinion,
        )
        for i, prediction, opinion in zip(chosen, predictions, opinions, strict=True)
    ]  # fmt: skip
    return Evaluation(name, root, images, checkpoint.class_names)


def gate_opinion(limits: Limits | None, grey: np.ndarray, distance: float | None) -> str | None:
    """What the gate says of a resized image uint8 (S, S) whose prediction has this distance."""
    if limits is None:
        return None
    return limits.opinion(measure(grey, None, limits.with_hub), distance)[0]
