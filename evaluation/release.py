"""Make the released model: half the bytes, the same decisions, and a card that says what it is.

    python train.py --recipe robust --protocol casting --fold none --out checkpoints/for_release
    python release.py checkpoints/for_release/best.pth

Writes checkpoints/released.pth (weights in half precision, computed with in single precision),
released.json, released_validation.csv and MODEL_CARD.md. Every validation image must be decided as
before, else nothing is written and the exit code is 3. The card's figures come from released.json
and docs/results.json; without an argument only the card is renewed.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from string import Template

from common.files import (
    CHECKPOINTS,
    EXIT_GATE,
    ROOT,
    UserError,
    count_of,
    run_script,
    script_parser,
    write_atomic,
)
from data_split import NO_TEST_PART
from dataset.listing import find_data
from evaluation.held_out import Judged, judge, load_models
from metrics.decisions import format_rate, summarise
from model import Checkpoint, load_checkpoint, save_checkpoint
from evaluation.published import RESULTS, probe_text, read_json
from dataset.validation_scores import write_validation

RELEASED = CHECKPOINTS / "released.pth"
CARD = CHECKPOINTS / "MODEL_CARD.md"
NETWORK_NAMES = {
    "resnet18": "ResNet-18",
    "local": "Two stages of a narrow ResNet, judging cell by cell in four turns of the picture",
}
TEMPLATE = ROOT / "docs" / "MODEL_CARD.template.md"


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with matrices in half precision; vectors (BatchNorm's) stay as they are."""
    weights = {
        name: tensor.half() if tensor.ndim > 1 else tensor
        for name, tensor in checkpoint.weights.items()
    }
    return replace(checkpoint, weights=weights)


def validated(path: Path, root: Path) -> Judged:
    """Verdicts on the validation images of a checkpoint's own split."""
    return judge(load_models(path, root, None)[0], root, "val")


def refuse_other_decisions(before: Judged, after: Judged) -> None:
    """Raise UserError (exit code 3) unless both decide every image alike."""
    pairs = zip(before.rows, before.predictions, after.predictions, strict=True)
    changed = [row.path for row, old, new in pairs if old.decision != new.decision]
    if changed:
        raise UserError(
            f"half precision changes the decision on {count_of(len(changed), 'validation image')}, "
            f"{changed[0]} first; nothing is released",
            EXIT_GATE,
        )


def release(path: Path, root: Path) -> None:
    """Write released.pth and released.json from a finished checkpoint.

    Raises:
        UserError: a model that held test castings out, an unfinished one, a recipe without
            published figures, or changed decisions.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.fold != NO_TEST_PART or not checkpoint.operating_point:
        raise UserError(
            f"{path} is no finished model for use; train one with --protocol casting --fold none"
        )
    folds_of(checkpoint.training["recipe"], read_json(RESULTS))
    small = halved(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "released.pth"
        save_checkpoint(trial, small)
        after = validated(trial, root)
    refuse_other_decisions(validated(path, root), after)
    figures = summarise(after.parts)
    small.validation = {
        "images": figures["images"],
        "castings": figures["castings"],
        "castings_good": figures["castings_good"],
        **figures["counts"],
    }
    save_checkpoint(RELEASED, small)
    labels, castings = ([getattr(row, key) for row in after.rows] for key in ("label", "casting"))
    write_validation(RELEASED, labels, castings, [p.prob_defect for p in after.predictions])


def folds_of(recipe: str, results: dict) -> dict:
    """The published figures of a recipe's folds, those of the last publication.

    Raises:
        UserError: there are none, so that nothing could be said about the model.
    """
    wanted = {"protocol": "casting", "recipe": recipe}
    runs = [run for run in results["runs"].values() if wanted.items() <= run.items()]
    if not runs:
        raise UserError(f"{RESULTS} has no figures of the folds of --recipe {recipe}")
    return runs[-1]


def model_card(released: dict, results: dict) -> str:
    """The card's text, from released.json and docs/results.json.

    Raises:
        UserError: no figures of the recipe's folds have been published.
    """
    recipe = released["training"]["recipe"]
    run = folds_of(recipe, results)
    (tier,) = run["tiers"].values()
    point, val = released["operating_point"], released["validation"]
    by_image, by_casting, auc = tier["rates"], tier["per_casting"], tier["roc_auc"]
    alarms = by_casting["false_alarms"]
    values = {
        **{key: released[key] for key in ("head", "image_size_px", "epoch", "sha256")},
        "network": NETWORK_NAMES[released["architecture"]],
        "weights": released["training"]["weights"],
        "recipe": recipe,
        "folds": len(auc["folds"]),
        "images": f"{tier['images']:,}",
        "castings": tier["castings"],
        "good": tier["castings_good"],
        "image_missed": format_rate(by_image["missed_defects"]),
        "image_alarms": format_rate(by_image["false_alarms"]),
        "image_right": format_rate(by_image["accuracy"]),
        "casting_missed": format_rate(by_casting["missed_defects"]),
        "casting_alarms": format_rate(alarms),
        "casting_right": format_rate(by_casting["accuracy"]),
        "auc": f"{auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
        "each_auc": ", ".join(f"{value:.3f}" for value in auc["folds"]),
        "both": ", ".join(tier["both_labels"]) or "none",
        "intervals": run["intervals"],
        "single_good": alarms["of"],
        "alarms_low": f"{100 * alarms['low']:.0f}",
        "alarms_high": f"{100 * alarms['high']:.0f}",
        **{key: f"{point[key]:.4f}" for key in ("threshold", "threshold_low", "threshold_high")},
        "temperature": f"{point['temperature']:.2f}",
        "aim": aim_text(point["min_recall"]),
        "probe": probe_text(results).replace("\n", " ").strip(),
        "val_castings": val["castings"],
        "val_good": val["castings_good"],
        "val_images": f"{val['images']:,}",
        "val_missed": f"{val['missed']} of {val['defects']}",
        "val_alarms": f"{val['false_alarms']} of {val['good']}",
    }
    return Template(TEMPLATE.read_text()).substitute(values)


def aim_text(min_recall: float | None) -> str:
    """How the threshold was placed, in the card's words."""
    if min_recall is None:
        return (
            "where the odds are even by a logistic curve through the scores of the validation "
            "parts, good parts and defects, and in either each casting, weighing alike"
        )
    return (
        f"the largest threshold that catches {100 * min_recall:g} % of the defects, castings "
        "weighted alike"
    )


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("checkpoint", nargs="?", type=Path, help="best.pth of a finished training")
    parser.add_argument("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    args = parser.parse_args(argv)
    if args.checkpoint is not None:
        release(args.checkpoint, find_data(args.data, download=False))
        print(f"written: {RELEASED} ({RELEASED.stat().st_size / 1e6:.1f} MB)")
    released = read_json(RELEASED.with_suffix(".json"))
    write_atomic(CARD, model_card(released, read_json(RESULTS)))
    print(f"written: {CARD}")
    return 0


if __name__ == "__main__":
    run_script(main)
