"""Shortcut tests: does a model decide by light or background?

Held-out images are changed in ways that should not, or should, matter; the tests report what that
does to the predictions.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common.errors import UserError
from common.files import write_csv
from common.labels import is_defect
from common.progress import ProgressBar
from common.text import count_of
from dataset.listing import ImageRow
from evaluation.held_out import Model, checkpoint_hashes
from evaluation.perturbations import PROBES, RING_GONE, UNMODIFIED, versions
from imaging.reading import (
    UnreadableImageError,
    in_threads,
    read_grey_image,
    refuse_unreadable,
)
from inspection.options import BATCH_SIZE
from inspection.predictor import Predictor
from metrics.decisions import INTERVALS, CastingTable, Parts
from model import Checkpoint

FEW_CASTINGS = 10  # of one class: so few resample to intervals that are too narrow

Predict = Callable[[list[np.ndarray]], np.ndarray]  # resized images to P(defect) (N,)


# --- predicting ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Perturbed:
    """Held-out images (N,) and their predictions under each perturbation."""

    rows: list[ImageRow]
    seen: list[bool]  # whether the model was trained on other images of the casting
    folds: list[int]  # which model predicted the image
    thresholds: list[float]  # of that model
    prob_defect: dict[str, np.ndarray]  # (N,) for each of PROBES, NaN where it was skipped

    @property
    def castings_known(self) -> bool:
        return all(row.casting for row in self.rows)

    def chosen(self, mask: np.ndarray) -> "Perturbed":
        """The images that a bool mask (N,) picks."""
        lists = (
            [value for value, keep in zip(values, mask, strict=True) if keep]
            for values in (self.rows, self.seen, self.folds, self.thresholds)
        )
        return Perturbed(*lists, {name: prob[mask] for name, prob in self.prob_defect.items()})

    def parts(self, name: str) -> Parts:
        """The predictions under one perturbation as arrays, images that it skipped included."""
        return Parts(
            is_defect=np.array([is_defect(row.label) for row in self.rows]),
            prob_defect=self.prob_defect[name],
            threshold=np.array(self.thresholds),
            castings=np.array([row.casting or row.path for row in self.rows]),
            folds=np.array(self.folds),
            sessions=np.array([row.session for row in self.rows]),
        )


def perturbed_predictions(
    predict: Predict,
    root: Path,
    rows: Sequence[ImageRow],
    checkpoint: Checkpoint,
    description: str = "",
) -> dict[str, np.ndarray]:
    """P(defect) (N,) of each row under each perturbation, NaN where skipped; a file is read once.

    Images are changed at their own size, then framed as the checkpoint's network takes them.

    Raises:
        UserError: unreadable images.
    """

    def prepare(row: ImageRow) -> dict[str, np.ndarray] | str:
        try:
            image = np.asarray(read_grey_image(root / row.path))
        except UnreadableImageError as error:
            return str(error)
        return {k: checkpoint.framed(Image.fromarray(v)) for k, v in versions(image).items()}

    prob_defect = {name: np.full(len(rows), np.nan) for name in PROBES}
    with ProgressBar(total=len(rows), desc=description, unit="img", disable=not description) as bar:
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            prepared = in_threads(prepare, batch)
            problems = zip(batch, prepared, strict=True)
            refuse_unreadable(((r.path, p) for r, p in problems if isinstance(p, str)), root)
            keys = [(name, start + i) for i, each in enumerate(prepared) for name in each]
            predicted = predict([image for each in prepared for image in each.values()])
            for (name, index), value in zip(keys, predicted, strict=True):
                prob_defect[name][index] = value
            bar.update(len(batch))
    return prob_defect


def predict_with(predictor: Predictor) -> Predict:
    """The model as a plain function of images."""

    def predict(images: list[np.ndarray]) -> np.ndarray:
        grey = torch.from_numpy(np.stack(images))
        predicted = (
            one for part in grey.split(BATCH_SIZE) for one in predictor.predict_batch(part)
        )
        return np.array([one.prob_defect for one in predicted])

    return predict


def held_out_rows(
    models: Sequence[Model], split: str, most: int | None = None
) -> list[tuple[Model, list[ImageRow]]]:
    """What each model is tested on: at most `most` images a class, all models together, at random.

    Raises:
        UserError: there is none.
    """
    pairs = [(model, row) for model in models for row in model.rows if row.split == split]
    if not pairs:
        raise UserError(f"{models[0].path} holds no image out as '{split}'; use another --split")
    order = np.random.default_rng(0).permutation(len(pairs))
    labels = [row.label for _, row in pairs]
    chosen = {i for label in set(labels) for i in [j for j in order if labels[j] == label][:most]}
    picked = [pairs[i] for i in sorted(chosen)]
    return [(model, [row for owner, row in picked if owner is model]) for model in models]


def run_shortcut_tests(
    models: Sequence[Model], root: Path, split: str, most: int | None = None
) -> Perturbed:
    """Test each model on its own held-out images."""
    rows, seen, folds, thresholds, parts = [], [], [], [], []
    for model, own in held_out_rows(models, split, most):
        checkpoint, known = model.checkpoint, model.castings_in_training
        what = f"probing fold {checkpoint.fold}" if len(models) > 1 else f"probing {split}"
        parts.append(
            perturbed_predictions(predict_with(model.predictor), root, own, checkpoint, what)
        )
        rows += own
        seen += [row.casting in known for row in own]
        folds += [checkpoint.fold or 0] * len(own)
        thresholds += [checkpoint.threshold] * len(own)
    prob_defect = {name: np.concatenate([part[name] for part in parts]) for name in PROBES}
    return Perturbed(rows, seen, folds, thresholds, prob_defect)


# --- the report ----------------------------------------------------------------------------------


def figures(result: Perturbed, name: str) -> dict | None:
    """What one perturbation did, compared with the same images unmodified; skipped ones left out.

    None where it skipped all.
    """
    there = ~np.isnan(result.prob_defect[name])
    if not there.any():
        return None
    before, after = (result.parts(key).chosen(there) for key in (UNMODIFIED, name))
    changed, count = int((before.rejected != after.rejected).sum()), int(there.sum())
    return {
        "images": count,
        "skipped": len(there) - count,
        "roc_auc": CastingTable(after).auc(after),
        "counts": asdict(after.counts),
        "decisions_changed": {"count": changed, "of": count, "rate": changed / count},
        "mean_change": float(np.abs(after.prob_defect - before.prob_defect).mean()),
        "prob_5_to_95": np.quantile(after.prob_defect, (0.05, 0.95)).tolist(),
    }


def all_figures(result: Perturbed) -> dict[str, dict | None]:
    """Those of every perturbation."""
    return {name: figures(result, name) for name in PROBES}


def conclusion(result: Perturbed, probes: dict[str, dict | None]) -> tuple[bool | None, str]:
    """Whether the model takes a shortcut (None: cannot be told), and why, in a sentence.

    An AUC tells that the background orders the images, not how much it moves them; so the sentence
    also gives the range that P(defect) has left.
    """
    gone, whole = probes[RING_GONE], probes[UNMODIFIED]
    if gone is None or gone["roc_auc"]["mean"] is None:
        return None, f"no conclusion: no good and defective images with the {RING_GONE}"
    mean, low, high = (gone["roc_auc"][key] for key in ("mean", "low", "high"))
    what = f"with the {RING_GONE} the AUC is {mean:.2f} ({low:.2f} to {high:.2f})"
    if not result.castings_known:
        return None, f"no conclusion: {what}; it needs images of known castings, all unseen"
    if any(result.seen):
        seen = f"{sum(result.seen)} of {count_of(len(result.seen), 'image')} show castings seen in "
        why = "this may be memory as well as a shortcut"
        if low <= 0.5 <= high:
            why = "memory may hide a shortcut, and chance alone explains this AUC"
        return None, (
            f"no conclusion: {what}, but {seen}training, so that {why}; it needs unseen castings "
            "(--protocol casting)"
        )
    ranges = ["{:.3f} to {:.3f}".format(*each["prob_5_to_95"]) for each in (gone, whole)]
    more = f"; P(defect) is then {ranges[0]} (5 % to 95 % of images), unmodified {ranges[1]}"
    defective = CastingTable(result.parts(UNMODIFIED), draws=1).defective
    fewest = int(min(defective.sum(), (~defective).sum()))
    if fewest < FEW_CASTINGS:
        more += f"; weak evidence: one class has only {count_of(fewest, 'casting')}"
    if low > 0.5 or high < 0.5:
        why = "which excludes 0.5: the model decides by the background"
        return True, f"shortcut: {what}, {why}{more}"
    return False, f"no shortcut found: {what}, which includes 0.5{more}"


def shortcut_report(result: Perturbed, models: Sequence[Model]) -> dict:
    """The content of probes.json."""
    probes = all_figures(result)
    sessions = {
        name: all_figures(result.chosen(mask))
        for name, mask in result.parts(UNMODIFIED).by_session.items()
    }
    shortcut, text = conclusion(result, probes)
    checkpoint = models[0].checkpoint
    return {
        "data": checkpoint.data,
        "protocol": checkpoint.protocol,
        "images": len(result.rows),
        "without_hub": int(np.isnan(result.prob_defect[RING_GONE]).sum()),
        "castings": len({row.casting for row in result.rows}) if result.castings_known else None,
        "show_castings_in_training": sum(result.seen) if result.castings_known else None,
        "intervals": INTERVALS,
        "checkpoints": checkpoint_hashes(models),
        "probes": probes,
        **({"by_session": sessions} if sessions else {}),
        "verdict": {"shortcut": shortcut, "text": text},
    }


def table(probes: dict[str, dict | None]) -> str:
    """One line a perturbation."""
    columns = ("ROC-AUC (95 %)", "missed", "false alarms", "decisions changed", "mean change")
    lines = [f"{'':22}" + "".join(f"{column:<23}" for column in columns)]
    for name, probe in probes.items():
        if probe is None:
            continue
        counts, changed, auc = probe["counts"], probe["decisions_changed"], probe["roc_auc"]
        known = auc["mean"] is not None
        cells = (
            f"{auc['mean']:.3f} ({auc['low']:.2f} to {auc['high']:.2f})" if known else "",
            f"{counts['missed']}/{counts['defects']}",
            f"{counts['false_alarms']}/{counts['good']}",
            f"{changed['count']}/{changed['of']} = {100 * changed['rate']:.1f} %",
            f"{probe['mean_change']:.3f}",
        )
        lines.append((f"{name:22}" + "".join(f"{cell:<23}" for cell in cells)).rstrip())
    return "\n".join(lines)


def write_probes(path: Path, result: Perturbed) -> None:
    """One line an image and perturbation; all figures of probe.py follow from this file."""
    columns = ["path", "casting", "session", "fold", "probe", "prob_defect", "decision"]
    rejected = {name: result.parts(name).rejected for name in PROBES}
    lines = (  # nine digits bring a float32 back exactly, ties and all
        [
            *(row.path, row.casting, row.session, fold, name, f"{prob:.9g}"),
            "defect" if rejected[name][i] else "ok",
        ]
        for i, (row, fold) in enumerate(zip(result.rows, result.folds, strict=True))
        for name in PROBES
        if not np.isnan(prob := result.prob_defect[name][i])
    )
    write_csv(path, columns, lines)
