"""The settings of a run: all that its result depends on, besides the images."""

import argparse
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from common.arguments import FITS, IMAGE_SIZES_PX
from common.errors import UserError
from dataset.arguments import PROTOCOLS, split_options
from dataset.corrections import described
from dataset.folds import NO_TEST_PART, SplitOptions
from networks import devices
from networks.description import (
    HEADS,
    NETWORKS,
    TEXT,
    YES_OR_NO,
    Check,
    check_values,
    choice,
    is_number,
    number,
    or_none,
    whole,
)
from training.combinations import BY_CLASS, refuse_combinations
from training.options import AUGMENTATIONS, DRAWN_WHERE, SAMPLERS
from training.recipes import RECIPES
from training.schedule import SCHEDULES
from training.state import refuse_differences

# A run that goes on may only change these.
CHANGEABLE_ON_RESUME = ("epochs", "patience")


@dataclass(frozen=True)
class Settings:
    """One run's settings, as checkpoints store them; train.py's options explain each."""

    recipe: str
    weights: str
    network: str
    head: str
    image_size: int  # px
    epochs: int
    patience: int
    batch_size: int
    lr: float
    schedule: str
    weight_decay: float
    augment: str
    drawn_defects: float | None  # share of the good parts
    real_defects: float | None  # share of an epoch, for the samplers 'class' and 'kind'
    label_smoothing: float
    sampler: str
    epoch_size: int | None  # images; None: all
    operating_point: float | str
    seed: int
    fit: str = "stretch"
    drawn_where: str = "ring"
    protocol: str = "kaggle"
    folds: int | None = None  # these three are None but with protocol casting
    fold: int | None = None
    fold_seed: int | None = None
    castings: str | None = None
    releases: int | None = None  # of the archive, in the split; None: protocol kaggle
    hold_out_session: str | None = None
    corrected_labels: str | None = None  # as read_corrections gives them
    good: str | None = None  # names of the good class folders, '/' in between; None: 'ok...'
    good_only: bool = False  # learns from good parts and drawn defects
    parts: int | None = None  # of either class, to learn from; None: all
    amp: bool = False

    def as_dict(self) -> dict:
        """Plain values, for checkpoints and JSON."""
        return asdict(self)

    @property
    def split(self) -> SplitOptions:
        """Which split."""
        return split_options(self.as_dict())


NAMES = [field.name for field in fields(Settings)]
# Where there are no other defects: drawn ones on half of the good parts
FOR_GOOD_ONLY = {"drawn_defects": 0.5, "real_defects": 0.0}
SHARE = number(0, 1)


def is_operating_point(value: object) -> bool:
    """Whether --operating-point may come to this."""
    return value in ("none", "balanced") or is_number(value, 0, 1)


STORED: dict[str, Check] = {
    **dict.fromkeys(("recipe", "weights"), TEXT),
    "network": choice(NETWORKS),
    "head": choice(HEADS),
    "image_size": whole(*IMAGE_SIZES_PX),
    **dict.fromkeys(("epochs", "batch_size"), whole(1)),
    **dict.fromkeys(("patience", "seed"), whole(0)),
    "lr": number(0, math.inf),
    "schedule": choice(SCHEDULES),
    "weight_decay": number(0, math.inf),
    "augment": choice(AUGMENTATIONS),
    **dict.fromkeys(("drawn_defects", "real_defects"), or_none(SHARE)),
    "fit": choice(FITS),
    "drawn_where": choice(DRAWN_WHERE),
    "label_smoothing": SHARE,
    "sampler": choice(SAMPLERS),
    "epoch_size": or_none(whole(1)),
    "operating_point": (is_operating_point, "none, balanced or a share"),
    "protocol": choice(PROTOCOLS),
    "folds": or_none(whole(2)),
    "fold": or_none(whole(0)),
    "fold_seed": or_none(whole(0, 2**32 - 1)),
    **dict.fromkeys(("castings", "corrected_labels", "hold_out_session", "good"), or_none(TEXT)),
    "parts": or_none(whole(3)),
    "releases": or_none(whole(1, 2)),
    **dict.fromkeys(("good_only", "amp"), YES_OR_NO),
}


def resolve_settings(args: argparse.Namespace, stored: dict | None) -> Settings:
    """Explicit options, over those of the run that goes on, over the recipe's.

    Args:
        stored: the settings of a run that goes on, as its checkpoint has them.

    Raises:
        UserError: options that exclude each other, or contradict the run that goes on.
    """
    stored = checked(renamed(stored or {}), args.out)
    recipe = args.recipe or stored.get("recipe", "reference")
    explicit = {k: v for k, v in vars(args).items() if k in NAMES and v is not None}
    if stored:
        fixed = {k: v for k, v in explicit.items() if k not in CHANGEABLE_ON_RESUME}
        refuse_differences(args.out, readable(fixed), readable(stored))
    # A run of a recipe that is no more goes on with what it has stored
    defaults = {"recipe": recipe} | RECIPES.get(recipe, RECIPES["reference"])
    if explicit.get("good_only", stored.get("good_only")):
        defaults |= FOR_GOOD_ONLY
    defaults["amp"] = devices.multiplies_bfloat16(devices.choose_device(args.device))
    values = defaults | {k: v for k, v in stored.items() if k in NAMES} | explicit
    split = split_options(values)
    if split.protocol == "casting":
        values |= {"folds": split.folds, "fold": split.fold, "fold_seed": split.fold_seed}
    refuse_combinations(values, explicit)
    settings = Settings(**values)
    if settings.sampler not in BY_CLASS:
        settings = replace(settings, real_defects=None)
    if settings.network == "resnet18":  # a recipe's: it does not learn from them
        settings = replace(settings, drawn_defects=None)
    return settings


def readable(values: dict) -> dict:
    """Settings to print: fold 0 is none; how many labels are corrected, and the hash of them."""
    changed = {}
    if values.get("fold") == NO_TEST_PART:
        changed["fold"] = "none"
    if "corrected_labels" in values:
        changed["corrected_labels"] = described(values["corrected_labels"])
    return values | changed


def checked(stored: dict, out: Path) -> dict:
    """The stored settings, of a run in a folder.

    Raises:
        UserError: the command line would not take one of them.
    """
    try:
        check_values(stored, STORED, "setting ")
    except ValueError as error:
        raise UserError(f"cannot go on with the run in {out}: {error}; start anew") from error
    return stored


def renamed(stored: dict) -> dict:
    """Stored settings under their present names, with what earlier versions did unasked."""
    if stored.get("protocol") == "casting":
        stored = {"releases": 1} | stored
    if stored:
        stored = {"real_defects": None} | stored
    if "min_recall" not in stored:
        return stored
    rest = {name: value for name, value in stored.items() if name != "min_recall"}
    return rest | {"operating_point": stored["min_recall"] or "none"}
