"""Which sets of held-out images test.py measures, and their predictions."""

import argparse
from collections.abc import Sequence

from common.errors import UserError, tell
from dataset.releases import DataFolder
from dataset.sources import find_data
from evaluation.held_out import (
    Evaluation,
    Model,
    predict_folder,
    predict_folds,
    predict_split,
)


def training_data(args: argparse.Namespace) -> DataFolder | None:
    """Where the model's own images are; None where there are none, which others do without.

    Raises:
        UserError: there are none, but they are to be measured.
    """
    try:
        return find_data(args.data, args.second_release, download=False)
    except UserError as error:
        if args.data or not args.external:
            raise
        tell(f"note: whether the model has seen these castings is unknown: {error}")
        return None


def predict_tiers(
    args: argparse.Namespace, models: Sequence[Model], root: DataFolder | None
) -> list[Evaluation]:
    """The tiers: held-out images first, then unseen castings and other photographs."""
    cache, model = not args.no_cache, models[0]
    if args.protocol == "casting":
        return [predict_folds(models, root, cache=cache)]
    tiers = []
    if any(row.split == args.split for row in model.rows) or not args.external:
        tiers.append(predict_split(model, root, args.split, cache=cache))
    if root and args.split == "test" and (root / "unseen").is_dir():
        tiers.append(predict_folder(model, root / "unseen", "unseen", root, cache=cache))
    if args.external:
        name = f"external {args.external.name}"
        outside = predict_folder(model, args.external.resolve(), name, root, cache=cache)
        if outside.castings_known and any(outside.seen):
            tiers.append(outside.chosen(outside.seen, f"{name}, castings in training"))
            outside = outside.chosen([not seen for seen in outside.seen], f"{name}, new castings")
        if outside.rows:
            tiers.append(outside)
    return tiers
