"""What the gate says of held-out photographs, of pictures of nothing, of spoiled photographs."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.progress import ProgressBar
from evaluation.gate_views import broken_views, pictures_of_nothing
from evaluation.held_out import Model, checkpoint_hashes
from imaging.finding import find_images
from imaging.reading import read_grey_image
from inspection.options import BATCH_SIZE, OUTCOMES
from inspection.predictor import ImageLike, Predictor
from metrics.castings import equally

PHOTOGRAPHS = 20  # to spoil: each in twenty ways
SOUND = "held-out photographs"
OTHERS = "photographs in "


def run_gate_tests(
    model: Model, root: Path, split: str, photographs: int, others: Sequence[Path] = ()
) -> dict:
    """How many pictures of each kind are refused, for a person, or decided.

    Args:
        photographs: how many of the held-out ones are spoiled.
        others: folders of other photographs of parts.

    Raises:
        UserError: the model has no gate, or no image is held out as `split`.
    """
    if model.predictor.limits is None:
        raise UserError(f"{model.path} has no gate; train it again")
    rows = [row for row in model.rows if row.split == split]
    if not rows:
        raise UserError(f"{model.path} holds no image out as '{split}'; try --split val")
    castings = [row.casting or row.path for row in rows]
    photos = [read_grey_image(root / rows[i].path) for i in equally(castings, photographs)]
    kinds: dict[str, list] = {SOUND: [root / row.path for row in rows]}
    kinds |= {f"{OTHERS}{folder}": find_images([folder]) for folder in others}
    kinds |= pictures_of_nothing()
    for photo in photos:
        for name, views in broken_views(photo).items():
            kinds.setdefault(name, []).extend(views)
    return {
        "data": model.checkpoint.data,
        "split": split,
        "photographs_spoiled": len(photos),
        "castings": len(set(castings)),
        "protocol": model.checkpoint.protocol,
        "recipe": model.checkpoint.training.get("recipe"),
        "limits": model.checkpoint.gate["limits"],
        "checkpoints": checkpoint_hashes([model]),
        "gate": {name: outcomes(model.predictor, each, name) for name, each in kinds.items()},
    }


def outcomes(predictor: Predictor, pictures: Sequence[ImageLike], name: str) -> dict[str, int]:
    """How many pictures there are, and what becomes of them."""
    found = []
    with ProgressBar(total=len(pictures), desc=name, unit="img", leave=False) as bar:
        for start in range(0, len(pictures), BATCH_SIZE):
            batch = pictures[start : start + BATCH_SIZE]
            found += [one.outcome for one in predictor.predict(batch)]
            bar.update(len(batch))
    return {"pictures": len(found)} | {name: found.count(name) for name in OUTCOMES}


def table(gate: dict[str, dict[str, int]]) -> str:
    """One line a kind of picture."""
    width = max(map(len, gate))
    lines = [f"{'':{width}}  pictures  not judged  review  ok  defect"]
    for name, n in gate.items():
        lines.append(
            f"{name:{width}}  {n['pictures']:8d}  {n['not_judged']:10d}  {n['review']:6d}  "
            f"{n['ok']:2d}  {n['defect']:6d}"
        )
    return "\n".join(lines)


def passed(gate: dict[str, dict[str, int]]) -> int:
    """Pictures that are decided although they show no part as the model knows it."""
    wrong = [n for name, n in gate.items() if name != SOUND and not name.startswith(OTHERS)]
    return sum(n["ok"] + n["defect"] for n in wrong)
