"""Labels that a person has corrected: a table `path,label` in the place of the class folders.

Models remember the table itself, as text, so that they can be continued and tested without the
file. Images without a line keep the label of their folder.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import UserError
from common.files import read_csv
from common.labels import label_of
from common.text import count_of, table_path
from dataset.listing import ImageRow

NAMED = 8  # castings in a message


def published_label(path: str) -> str:
    """The label that the folders give to an image, by its path as in split.csv."""
    return path.rpartition("/")[0].rpartition("/")[2]


def read_corrections(path: Path | None) -> str | None:
    """The table of a CSV file with the columns path and label; others, as a rank, are ignored.

    Returns:
        JSON from path to label, sorted: the same for every file that says the same. None for None.

    Raises:
        UserError: no such table, no lines in it, or two lines contradict each other.
    """
    if path is None:
        return None
    labels: dict[str, str] = {}
    for line in read_csv(path, ("path", "label")):
        name, label = table_path(line["path"]), line["label"].strip()
        if labels.setdefault(name, label) != label:
            raise UserError(f"{path} gives {name} two labels; keep one line an image")
    if not labels:
        raise UserError(f"{path} holds no lines below its header path,label")
    return json.dumps(labels, sort_keys=True, ensure_ascii=False)


def labels_of(corrections: str) -> dict[str, str]:
    """What `read_corrections` has read, from path to label.

    Raises:
        UserError: a checkpoint holds something else in its place.
    """
    try:
        labels = json.loads(corrections)
    except ValueError as error:
        raise UserError(f"corrected labels are damaged: {error}") from error
    if not isinstance(labels, dict) or not all(isinstance(one, str) for one in labels.values()):
        raise UserError("corrected labels are damaged: no table of labels")
    return labels


def described(corrections: str | None) -> str | None:
    """'12 images (sha256 0123456789ab)', where the whole table would be too much to print."""
    if corrections is None:
        return None
    digest = hashlib.sha256(corrections.encode()).hexdigest()[:12]
    return f"{count_of(len(labels_of(corrections)), 'image')} (sha256 {digest})"


def with_corrected_labels(
    rows: Sequence[ImageRow], corrections: str, good: str | None = None, good_only: bool = False
) -> tuple[list[ImageRow], str]:
    """The rows with corrected labels, and in one line what that has changed.

    The table's labels are names of folders; `good` and `good_only` as of `label_of`.

    Raises:
        UserError: an image or a class that the data do not have, or no image is left of a class.
    """
    labels = {k: label_of(v, good, good_only) for k, v in labels_of(corrections).items()}
    refuse_unknown(rows, labels)
    corrected = relabelled(rows, labels)
    emptied = sorted({row.label for row in rows} - {row.label for row in corrected})
    if emptied:
        raise UserError(f"corrected labels: they leave no image in class {emptied[0]}")
    return corrected, f"corrected labels: {changes(rows, corrected)}"


def relabelled(rows: Sequence[ImageRow], labels: Mapping[str, str]) -> list[ImageRow]:
    """The rows with labels by path; those without one keep theirs."""
    return [replace(row, label=labels.get(row.path, row.label)) for row in rows]


def as_published(
    rows: Sequence[ImageRow], good: str | None = None, good_only: bool = False
) -> list[ImageRow]:
    """The rows with the labels that their folders give; arguments as of `label_of`."""
    return [
        replace(row, label=label_of(published_label(row.path), good, good_only)) for row in rows
    ]


def refuse_unknown(rows: Sequence[ImageRow], labels: Mapping[str, str]) -> None:
    """Raise UserError for a path or a class that no row has."""
    missing = sorted(labels.keys() - {row.path for row in rows})
    if missing:
        raise UserError(
            f"corrected labels: {count_of(len(missing), 'path')} not among the images, "
            f"'{missing[0]}' first; paths are those of split.csv"
        )
    classes = sorted({row.label for row in rows})
    wrong = [path for path in sorted(labels) if labels[path] not in classes]
    if wrong:
        raise UserError(
            f"corrected labels: {wrong[0]} has the label '{labels[wrong[0]]}', which is no class "
            f"of the data: {', '.join(classes)}"
        )


def changes(before: Sequence[ImageRow], after: Sequence[ImageRow]) -> str:
    """'5 images of 2 castings changed: a (4), b (1)'; without castings, the first path."""
    pairs = zip(before, after, strict=True)
    changed = [new for old, new in pairs if old.label != new.label]
    if not changed:
        return "no image changed"
    if not all(row.casting for row in changed):
        return f"{count_of(len(changed), 'image')} changed, {changed[0].path} first"
    castings = Counter(row.casting for row in changed)
    shown = [f"{name} ({images})" for name, images in sorted(castings.items())[:NAMED]]
    shown += [f"and {len(castings) - NAMED} more"] if len(castings) > NAMED else []
    what = f"{count_of(len(changed), 'image')} of {count_of(len(castings), 'casting')}"
    return f"{what} changed: {', '.join(shown)}"
