"""Make the released model: half the bytes, the same decisions, and a card that says what it is.

    python train.py --recipe robust --protocol casting --fold none --out checkpoints/for_release
    python -m evaluation.release checkpoints/for_release/best.pth

Writes checkpoints/released.pth (weights in half precision, computed with in single precision),
released.json, released_validation.csv and MODEL_CARD.md. Every validation image must be decided as
before, else nothing is written and the exit code is 3. The card's figures come from released.json
and docs/results.json; without an argument only the card is renewed.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from common.arguments import script_parser
from common.errors import EXIT_GATE, UserError, run_script
from common.files import CHECKPOINTS, read_json, write_atomic
from common.text import count_of
from dataset.folds import NO_TEST_PART
from dataset.releases import add_second_release
from dataset.sources import find_data
from dataset.validation_scores import write_validation
from evaluation.held_out import Evaluation, load_models, predict_split
from evaluation.model_card import model_card
from evaluation.published import RESULTS, folds_of, well_formed
from metrics.decisions import summarise
from model import Checkpoint, load_checkpoint, save_checkpoint

RELEASED = CHECKPOINTS / "released.pth"
CARD = CHECKPOINTS / "MODEL_CARD.md"


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with matrices in half precision; vectors (BatchNorm's) stay as they are."""
    weights = {
        name: tensor.half() if tensor.ndim > 1 else tensor
        for name, tensor in checkpoint.weights.items()
    }
    return replace(checkpoint, weights=weights)


def validated(path: Path, root: Path) -> Evaluation:
    """Predictions on the validation images of a checkpoint's own split."""
    return predict_split(load_models(path, root, None)[0], root, "val")


def refuse_other_decisions(before: Evaluation, after: Evaluation) -> None:
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
    held_out = checkpoint.fold != NO_TEST_PART or checkpoint.training.get("hold_out_session")
    if held_out or not checkpoint.operating_point:
        raise UserError(
            f"{path} is no finished model for use; train one with --protocol casting --fold none"
        )
    results = read_json(RESULTS)
    with well_formed(RESULTS):
        folds_of(str(checkpoint.training.get("recipe")), results)
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


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("checkpoint", nargs="?", type=Path, help="best.pth of a finished training")
    parser.add_argument("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    add_second_release(parser)
    args = parser.parse_args(argv)
    for option, value in (("--data", args.data), ("--second-release", args.second_release)):
        if args.checkpoint is None and value is not None:
            raise UserError(f"{option} belongs to a checkpoint that is to be released; name it too")
    if args.checkpoint is not None:
        release(args.checkpoint, find_data(args.data, args.second_release, download=False))
        print(f"written: {RELEASED} ({RELEASED.stat().st_size / 1e6:.1f} MB)")
    description = RELEASED.with_suffix(".json")
    released, results = read_json(description), read_json(RESULTS)
    with well_formed(f"{description} or {RESULTS}"):
        card = model_card(released, results)
    write_atomic(CARD, card)
    print(f"written: {CARD}")
    return 0


if __name__ == "__main__":
    run_script(main)
