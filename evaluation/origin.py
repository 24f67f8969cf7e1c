"""Where figures of held-out images come from, and how many show castings that are in training."""

from collections.abc import Sequence
from typing import Protocol

from common.origin import PARTS, for_product, origin, seen_text
from common.text import count_of
from evaluation.held_out import Model


class Seen(Protocol):
    """Held-out images (N,), of each of which is known whether its casting is in training."""

    castings_known: bool
    seen: list[bool]


def leak_text(images: Seen) -> str:
    """How many of the images show a casting that the model was trained on."""
    if not images.castings_known:
        return "unknown: the castings of these images are not known"
    return seen_text(sum(images.seen), len(images.seen))


def leak_line(images: Seen) -> str:
    """The same as a line of a report."""
    return f"leak     {leak_text(images)}"


def models_text(models: Sequence[Model]) -> str:
    """'model: demo/best.pth (0123456789ab)', or the models of all folds."""
    ids = ", ".join(model.predictor.model_id for model in models)
    path = models[0].path.resolve()
    if len(models) == 1:
        return f"model: {path.parent.name}/{path.name} ({ids})"
    return f"models: {len(models)} in {path.parent.parent.name} ({ids})"


def folds_text(models: Sequence[Model]) -> str:
    """'5 folds pooled', 'fold 2 of 5', or nothing."""
    first = models[0].checkpoint
    if len(models) > 1:
        return f"{len(models)} folds pooled"
    return f"fold {first.fold} of {first.training.get('folds')}" if first.fold else ""


def facts_of(images: Seen, data: str, part: str) -> list[str]:
    """Which images these are, and how many of them show castings in training.

    Args:
        data: its name.
        part: of it, as 'test'.
    """
    known = leak_text(images) if images.castings_known else "castings unknown"
    return [f"data: {data}, {PARTS.get(part, part)}, {count_of(len(images.seen), 'image')}", known]


def origin_of(models: Sequence[Model], facts: Sequence[str]) -> str:
    """What stands below a figure of images with these facts."""
    first = models[0].checkpoint
    text = origin(
        models_text(models),
        *facts,
        protocol=first.protocol,
        split_sha256=first.split_sha256,
        folds=folds_text(models),
    )
    return for_product(text, first.data)
