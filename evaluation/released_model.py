"""What is published of the model that inspects: figures on unseen castings, and its use."""

from dataclasses import dataclass

from common.files import ROOT, read_json
from evaluation.published import RESULTS, folds_of, well_formed
from metrics.review import review_text
from model import Checkpoint

RELEASED = ROOT / "checkpoints" / "released.json"
SAME = ("training", "epoch", "split_sha256", "architecture", "operating_point")


@dataclass(frozen=True)
class Unseen:
    """Published figures on unseen castings: of the folds of a recipe."""

    recipe: str
    figures: dict
    bands: list[dict]  # what review bands would change

    @property
    def sessions(self) -> list[str]:
        """The photo sessions that the figures tell apart."""
        return sorted(self.figures.get("by_session", {}))

    def band_text(self, low: float, high: float) -> str:
        """What a review band leaves wrong; empty where that was not measured."""
        found = [band for band in self.bands if (band["low"], band["high"]) == (low, high)]
        return review_text(found[0]) if found else ""


def unseen_figures(checkpoint: Checkpoint) -> Unseen | None:
    """The figures of the released model's recipe; None for any other model.

    They are of the folds, as the card says: the released model has seen nearly all castings.

    Raises:
        UserError: the published figures are damaged.
    """
    if checkpoint.adaptation is not None or not RELEASED.is_file():
        return None
    with well_formed(RELEASED):
        released = read_json(RELEASED)
        same = all(getattr(checkpoint, name) == released[name] for name in SAME)
    if not same:
        return None
    recipe, results = str(checkpoint.training["recipe"]), read_json(RESULTS)
    with well_formed(RESULTS):
        run = folds_of(recipe, results)
        (figures,) = run["tiers"].values()
        return Unseen(recipe, figures, list(run.get("review", {}).values()))
