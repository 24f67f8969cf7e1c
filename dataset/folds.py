"""Protocol `casting`: folds over the castings, so that none is on two sides of a split."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from common.errors import EXIT_GATE, UserError
from common.labels import is_defect
from common.text import count_of
from dataset.listing import ImageRow
from dataset.manifest import UNUSED
from dataset.sessions import casting_sessions
from metrics.castings import mostly_defective

FOLDS = 5
FOLD_SEED = 42
LEAST_CASTINGS = {"test": 3, "val": 2}  # of either class: fewer tell nothing about new castings
NO_TEST_PART = 0  # the fold that holds no casting out for testing


@dataclass(frozen=True)
class SplitOptions:
    """Which split; `fold` counts from 1, or is NO_TEST_PART."""

    protocol: str = "kaggle"
    folds: int = FOLDS
    fold: int = 1
    castings: str | None = None  # the user's table, else castings are recognised
    fold_seed: int = FOLD_SEED
    releases: int | None = None  # 1: casting_data alone; 2: both; None: what there is
    hold_out_session: str | None = None  # is tested on, and not trained on
    corrected_labels: str | None = None  # the user's, as read_corrections gives them
    good: str | None = None  # names of the good class folders, '/' in between; None: 'ok...'
    good_only: bool = False  # no photograph of a defect in training and validation
    parts: int | None = None  # good and defective ones to learn from, at most so many of either


@dataclass(frozen=True)
class Casting:
    """What folds mind of a casting."""

    defective: bool
    session: str  # empty where nobody knows
    kind: str = ""  # of its defect, where there are several


def assign_castings(rows: Sequence[ImageRow], options: SplitOptions) -> list[ImageRow]:
    """Whole castings to train, validation and test, by stratified folds over the castings.

    Strata are good and defective castings, of each kind of defect where there are several, of each
    session where sessions are known. Every fold of `options.folds` has other test castings;
    validation castings are drawn from the rest in the same way. The folders train/ and test/ on
    disk play no part.

    Raises:
        UserError: too few castings; no such session; or (exit code 3) a casting or a file is on
            two sides.
    """
    classes, sessions = casting_classes(rows), casting_sessions(rows)
    kinds = casting_kinds(rows)
    castings = {
        name: Casting(classes[name], sessions[name], kinds[name]) for name in sorted(classes)
    }
    held_out: set[str] = set()
    if options.hold_out_session:
        held_out = castings_of_session(options.hold_out_session, castings)
    elif options.fold != NO_TEST_PART:
        held_out = _fold(castings, options, options.fold)
    rest = {name: casting for name, casting in castings.items() if name not in held_out}
    validation = _fold(rest, options, 1)
    part = {name: "test" if name in held_out else "train" for name in castings}
    part |= dict.fromkeys(validation, "val")
    assigned = [replace(row, split=part[row.casting]) for row in rows]
    refuse_shared_castings(assigned)
    assigned = learned_from(assigned, castings, options)
    refuse_small_parts(assigned, castings, options)
    return sorted(assigned, key=lambda row: row.path)


def learned_from(
    rows: Sequence[ImageRow], castings: dict[str, Casting], options: SplitOptions
) -> list[ImageRow]:
    """The rows with those set aside that training and validation are not to use."""
    rows = without_defects(rows) if options.good_only else list(rows)
    if options.parts is None:
        return rows
    kept = few_parts(rows, castings, options)
    return [
        replace(row, split=UNUSED) if row.split in kept and row.casting not in kept[row.split]
        else row
        for row in rows
    ]  # fmt: skip


def few_parts(
    rows: Sequence[ImageRow], castings: dict[str, Casting], options: SplitOptions
) -> dict[str, set[str]]:
    """`options.parts` good and as many defective ones, of each kind in turn, by split.

    One in five is for validation, at least two. More parts are the same and others.
    """
    validated = max(LEAST_CASTINGS["val"], round(options.parts / 5))
    counts = {"train": max(1, options.parts - validated), "val": validated}
    random = np.random.default_rng(options.fold_seed)
    kept = {}
    for split, count in counts.items():
        there = sorted({row.casting for row in rows if row.split == split})
        groups = defaultdict(list)
        for name in random.permutation(there).tolist():
            groups[castings[name].defective, castings[name].kind].append(name)
        kept[split] = set()
        for defective in (False, True):
            kinds = [names for (bad, _), names in sorted(groups.items()) if bad == defective]
            in_turn = [name for some in zip_longest(*kinds) for name in some if name]
            kept[split] |= set(in_turn[:count])
    return kept


def without_defects(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The rows with the defective ones of training and validation set aside."""
    return [
        replace(row, split=UNUSED) if row.split != "test" and is_defect(row.label) else row
        for row in rows
    ]


def assign_folders(rows: Sequence[ImageRow], options: SplitOptions) -> list[ImageRow]:
    """The split that the folders train/, val/ and test/ are; without val/, parts of train/.

    Raises:
        UserError: too few parts to validate on.
    """
    learned = [row for row in rows if row.split != "test"]
    classes, kinds = casting_classes(learned), casting_kinds(learned)
    castings = {name: Casting(classes[name], "", kinds[name]) for name in sorted(classes)}
    if not any(row.split == "val" for row in rows):
        validation = _fold(castings, options, 1)
        rows = [
            replace(row, split="val") if row.split == "train" and row.casting in validation else row
            for row in rows
        ]
    return learned_from(rows, castings, options)


def casting_classes(rows: Iterable[ImageRow]) -> dict[str, bool]:
    """Whether each casting is defective, by the majority of its images' labels."""
    votes = defaultdict(list)
    for row in rows:
        votes[row.casting].append(is_defect(row.label))
    return {name: mostly_defective(sum(votes[name]), len(votes[name])) for name in votes}


def casting_kinds(rows: Iterable[ImageRow]) -> dict[str, str]:
    """The class of most images of each casting, where there are several classes of defects."""
    votes = defaultdict(Counter)
    for row in rows:
        votes[row.casting][row.label] += 1
    several = len({row.label for row in rows if is_defect(row.label)}) > 1
    return {
        name: min(found, key=lambda label: (-found[label], label)) if several else ""
        for name, found in votes.items()
    }


def _fold(castings: dict[str, Casting], options: SplitOptions, number: int) -> set[str]:
    from sklearn.model_selection import StratifiedKFold

    names, classes = list(castings), [casting.defective for casting in castings.values()]
    fewest = min(classes.count(kind) for kind in {False, *classes})
    if options.good_only and True in classes:  # defects are tested on alone: any number will do
        fewest = classes.count(False)
    if fewest < options.folds:
        raise UserError(
            f"{count_of(fewest, 'casting')} of one class, test castings apart, cannot be cut into "
            f"{options.folds} folds; use a smaller --folds, or photograph more castings"
        )
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=options.fold_seed)
    strata = _strata(castings, options)
    with warnings.catch_warnings():  # a small stratum is in some folds only, as it has to be
        warnings.filterwarnings("ignore", "The least populated class in y", UserWarning)
        parts = [held_out for _, held_out in folds.split(names, strata)]
    return {names[i] for i in parts[number - 1]}


def _strata(castings: dict[str, Casting], options: SplitOptions) -> list[str]:
    """Class, session and kind of each casting; such of fewer castings than folds are one."""
    counts = Counter(castings.values())
    return [
        f"{casting.defective} {casting.session} {casting.kind}"
        if counts[casting] >= options.folds
        else str(casting.defective)
        for casting in castings.values()
    ]


def castings_of_session(wanted: str, castings: dict[str, Casting]) -> set[str]:
    """The castings photographed in a session.

    Raises:
        UserError: none was, or all.
    """
    found = {name for name, casting in castings.items() if casting.session == wanted}
    known = sorted({casting.session for casting in castings.values()} - {""})
    if not found or len(found) == len(castings):
        there = f"there are {', '.join(known)}" if known else "no sessions are known"
        raise UserError(
            f"--hold-out-session {wanted}: it has to be one of several sessions; {there} "
            "(a table sessions.csv with the columns path,session in the data folder names them)"
        )
    return found


def refuse_small_parts(
    rows: Sequence[ImageRow], castings: dict[str, Casting], options: SplitOptions
) -> None:
    """Raise UserError unless each held-out part has enough castings of either class."""
    parts = {(row.split, row.casting) for row in rows}
    for split, least in LEAST_CASTINGS.items():
        if split == "test" and options.fold == NO_TEST_PART and not options.hold_out_session:
            continue
        kinds = (("good", False), ("defective", True))
        for kind, wanted in kinds[:1] if options.good_only else kinds:
            count = sum(s == split and castings[name].defective == wanted for s, name in parts)
            if count < least:
                which = f"fold {options.fold or 'none'} of {options.folds}"
                remedy = "use a smaller --folds"
                if options.hold_out_session and split == "test":
                    which = f"session {options.hold_out_session} held out"
                    remedy = "hold out another session"
                raise UserError(
                    f"{which}: the {split} part has {count_of(count, f'{kind} casting')}, at least "
                    f"{least} are needed; {remedy}"
                )


def refuse_shared_castings(rows: Iterable[ImageRow]) -> None:
    """Raise UserError (exit code 3) when a casting, or the bytes of a file, are on two sides."""
    for kind, key in (("casting", "casting"), ("byte-identical file", "sha256")):
        first: dict[str, ImageRow] = {}
        for row in rows:
            other = first.setdefault(getattr(row, key), row)
            if other.split != row.split:
                raise UserError(
                    f"a {kind} is on two sides of the split: {other.path} in {other.split}, "
                    f"{row.path} in {row.split}; correct the table of castings",
                    EXIT_GATE,
                )
