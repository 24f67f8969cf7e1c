"""What a figure was drawn from, in words: model, data, protocol, what was seen, and when."""

import re
from datetime import date

from common.text import count_of

PUBLISHED_SPLIT = "4364e014605828d1c26dc69b9d4dbbc73228469842774410393e5594070fcb76"  # SHA-256
PROTOCOL_WORDS = {
    "kaggle": "the folders train and test as they are",
    "casting": "unseen castings",
    "folders": "folders as they are",
}
CASTINGS = ("castings", "synthetic castings")  # what dataset/sources.py calls data of castings
CASTING_WORD = re.compile(r"(?<![\w/.-])casting(s?)(?![\w/-])")  # in a sentence, not in a path
NO_BREAK_SPACE, KEPT_TOGETHER = "\u00a0", 75
PARTS = {"train": "training part", "val": "validation part", "test": "test part"}


def today() -> str:
    """The date here, as '2026-11-27'."""
    return date.today().isoformat()


def for_product(text: str, data: str) -> str:
    """The text, speaking of parts instead of castings where the data's name is another product's.

    >>> for_product("5 images of 2 castings", "magnetic_tiles")
    '5 images of 2 parts'
    """
    return text if data in CASTINGS else CASTING_WORD.sub(r"part\1", text)


def seen_text(seen: int, of: int, noun: str = "image") -> str:
    """'2 of 8 images (25.0 %) show a casting that is also in training'."""
    share = f"{100 * seen / max(of, 1):.1f} %"
    return f"{seen} of {count_of(of, noun)} ({share}) show a casting that is also in training"


def protocol_words(protocol: str, split_sha256: str) -> str:
    """A protocol in words; the published split is Kaggle's own alone, told by its hash."""
    if protocol == "kaggle" and split_sha256 == PUBLISHED_SPLIT:
        return "published split"
    return PROTOCOL_WORDS.get(protocol, protocol)


def origin(*facts: str, protocol: str = "", split_sha256: str = "", folds: str = "") -> str:
    """One line for below a figure: its facts, those that are empty left out, and today's date.

    Args:
        facts: as 'model: best.pth (0123456789ab)', 'data: castings, test part, 358 images'.
        protocol: its name, which is put into words.
        split_sha256: the split's hash, which tells the published one.
        folds: as '5 folds pooled', 'fold 2 of 5'.
    """
    words = ", ".join(filter(None, (protocol_words(protocol, split_sha256), folds)))
    told = [f"protocol: {words}"] if words else []
    whole = [*filter(None, facts), *told, f"drawn: {today()}"]
    return " · ".join(_kept_together(fact) for fact in whole)


def _kept_together(fact: str) -> str:
    """Short facts are not broken where a line ends."""
    return fact.replace(" ", NO_BREAK_SPACE) if len(fact) <= KEPT_TOGETHER else fact
