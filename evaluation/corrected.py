"""Figures of the same predictions with labels that a person has corrected."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import UserError
from common.files import sha256_of_file
from dataset.corrections import (
    changes,
    described,
    labels_of,
    read_corrections,
    refuse_unknown,
    relabelled,
)
from evaluation.held_out import Evaluation, Model
from evaluation.options import UNSEEN
from evaluation.report import summary, tier_table


def corrections_for(models: Sequence[Model], path: Path | None) -> dict[str, str] | None:
    """The labels of a table by path; None without one.

    Raises:
        UserError: an unusable table, or one of other images than those of the models.
    """
    text = read_corrections(path)
    if text is None:
        return None
    rows = models[0].rows
    if not rows:
        raise UserError("--labels corrects the model's own images; name them with --data")
    refuse_unknown(rows, labels_of(text))
    return labels_of(text)


def labels_in_training(models: Sequence[Model]) -> dict[str, str]:
    """The corrected labels that the models were trained on, by path; all folds have the same."""
    return labels_of(models[0].checkpoint.training.get("corrected_labels") or "{}")


def with_labels(evaluation: Evaluation, labels: dict[str, str]) -> Evaluation:
    """The same predictions of images whose labels are replaced by those for their paths."""
    rows = relabelled(evaluation.rows, labels)
    pairs = zip(evaluation.images, rows, strict=True)
    return replace(evaluation, images=[replace(image, row=row) for image, row in pairs])


def corrected_tiers(
    tiers: Sequence[Evaluation], labels: dict[str, str] | None, split: str
) -> list[Evaluation] | None:
    """The tiers, that of the models' own images with corrected labels; None where there are none.

    Other tiers' images are not in split.csv, even where their paths look alike.
    """
    if labels is None:
        return None
    own = (split, UNSEEN)
    return [with_labels(tier, labels) if tier.name in own else tier for tier in tiers]


def corrected_report(
    tiers: Sequence[Evaluation], corrected: Sequence[Evaluation] | None, path: Path | None
) -> dict:
    """What metrics.json holds more: `corrected_labels`; nothing where none are.

    Args:
        tiers, corrected: the same images, with published and with corrected labels.
        path: of the table.
    """
    if corrected is None:
        return {}
    before = [row for tier in tiers for row in tier.rows]
    after = [row for tier in corrected for row in tier.rows]
    pairs = zip(before, after, strict=True)
    found = {
        "file_sha256": sha256_of_file(path),
        "images_changed": sum(old.label != new.label for old, new in pairs),
        "changes": changes(before, after),
        "tiers": {tier.name: summary(tier) for tier in corrected},
    }
    return {"corrected_labels": found}


def corrected_lines(result: dict, models: Sequence[Model]) -> list[str]:
    """What test.py says of corrected labels, those of the training and those it was given."""
    lines = []
    if corrections := models[0].checkpoint.training.get("corrected_labels"):
        of = described(corrections)
        lines.append(f"above: labels of the folders; the training has used corrected ones, {of}")
    if corrected := result.get("corrected_labels"):
        lines += [f"with corrected labels: {corrected['changes']}", tier_table(result | corrected)]
    return lines
