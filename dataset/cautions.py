"""What a person should hear about the images and their split before a model learns from them."""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

from common.errors import tell
from common.labels import is_defect
from common.text import count_of
from dataset.listing import ImageRow
from dataset.releases import releases_line
from dataset.sessions import sessions_line

ALIKE = "part_"  # how the names of parts begin that were joined by their looks
LARGEST = 3  # of them are named
PARTS = {
    "val": "validation part holds no {kind}: the best epoch, and a threshold that is fitted, are "
    "chosen without one",
    "test": "test part holds no {kind}: half of what it measures is unknown",
}


def both_labels(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The images whose very bytes lie in the folder of another class too."""
    labels = defaultdict(set)
    for row in rows:
        labels[row.sha256].add(row.label)
    return [row for row in rows if len(labels[row.sha256]) > 1]


def one_sided(rows: Sequence[ImageRow], good_only: bool = False) -> list[str]:
    """What to say about held-out parts that hold images of one kind only.

    Args:
        good_only: whether validation is meant to hold good parts alone.
    """
    found = []
    for split, text in PARTS.items():
        kinds = {is_defect(row.label) for row in rows if row.split == split}
        if len(kinds) == 1 and not (good_only and split == "val"):
            found.append(text.format(kind="good part" if True in kinds else "defect"))
    return found


def kinds_line(rows: Sequence[ImageRow]) -> str:
    """'good: ok; defects: crack, hole', for people: whoever named a folder otherwise sees it."""
    labels = sorted({row.label for row in rows})
    good = ", ".join(label for label in labels if not is_defect(label))
    defects = ", ".join(label for label in labels if is_defect(label))
    return f"good: {good}; defects: {defects or 'none'} (--good NAME says otherwise)"


def alike_line(rows: Sequence[ImageRow]) -> str:
    """'parts: 363 by their looks, the largest part_0012 (24 images) ...'; '' where none was joined.

    What looks alike may be two parts, and one part may look twice: people should check.
    """
    images = Counter(row.casting for row in rows if row.casting.startswith(ALIKE))
    joined = [
        f"{name} ({count} images)" for name, count in images.most_common(LARGEST) if count > 1
    ]
    if not joined:
        return ""
    largest = ", ".join(joined)
    return f"parts: {len(images)} by their looks, the largest {largest}; all are in split.csv"


def about_images(rows: Sequence[ImageRow]) -> list[str]:
    """Which classes are good, which images show one part, which releases and sessions there are."""
    lines = (kinds_line(rows), alike_line(rows), releases_line(rows), sessions_line(rows))
    return [line for line in lines if line]


def known_parts(rows: Sequence[ImageRow]) -> int:
    """How many test images show a part that training images show, too."""
    trained = {row.casting for row in rows if row.split == "train"} - {""}
    return sum(row.split == "test" and row.casting in trained for row in rows)


def print_cautions(rows: Sequence[ImageRow], good_only: bool = False) -> None:
    """Warn on stderr of labels that contradict each other, and of one-sided parts."""
    contradicted = both_labels(rows)
    if contradicted:
        first = contradicted[0]
        other = next(
            row.path
            for row in contradicted
            if row.sha256 == first.sha256 and row.label != first.label
        )
        print(
            f"warning: {count_of(len(contradicted), 'image')} have a byte-identical copy under "
            f"another label, {first.path} and {other} first: one label of each pair is wrong",
            file=sys.stderr,
        )
    if known := known_parts(rows):
        tell(f"note: {count_of(known, 'test image')} show a part that is also in training")
    for text in one_sided(rows, good_only):
        tell(f"warning: the {text}; photograph more parts")
