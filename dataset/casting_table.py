"""The casting of every image: from a table that the user gives, else recognised from the images."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np
import PIL

from common.errors import UserError
from common.files import cache_folder, read_csv, write_atomic
from common.text import count_of, table_path
from dataset.cautions import ALIKE
from dataset.listing import ImageRow
from dataset.sessions import with_sessions
from imaging.reading import UnreadableImageError, in_threads, read_framed, refuse_unreadable

ARRAYS = ("partners", "scores", "elsewhere", "contrasts")  # of Castings, as the cache names them
RECOGNITION_FORMAT = 2  # part of the cache key: raise it when recognition.py or hubs.py changes
BATCH = 256
LOOKED_AT = 64  # images, to see whether they show castings
A_FEW = 0.25  # of them may be photographs of something else


class UnknownCastingsError(UserError):
    """The castings of these images cannot be recognised."""


def with_castings(
    root: Path, rows: Sequence[ImageRow], table: Path | None = None
) -> list[ImageRow]:
    """The rows with their castings: from `table`, else the data's own truth.csv, else recognised.

    Where more than a few images show no hub, the product is another one: those are joined that look
    alike (likeness.py). Their sessions, too, where they can be known.

    Raises:
        UserError: an unusable table, or images on which castings cannot be recognised.
    """
    known, contrasts = table or known_castings(root), None
    if known:
        names = read_table(known, root, rows)
    elif is_other_product(root, rows):
        names = [f"{ALIKE}{group + 1:04d}" for group in alike(root, rows)]
    else:
        recognised = recognise(root, rows)
        names = [f"casting_{group + 1:03d}" for group in recognised.groups().tolist()]
        contrasts = recognised.contrasts.tolist()
    rows = [replace(row, casting=name) for row, name in zip(rows, names, strict=True)]
    return with_sessions(root, rows, contrasts)


def castings_beside(
    root: Path, rows: Sequence[ImageRow], training_root: Path, training: Sequence[ImageRow]
) -> list[ImageRow]:
    """The rows with castings recognised beside training images, whose names they share.

    Castings that no training image shows are called new_001 and so on.

    Raises:
        UserError: unreadable images, or images that show no hub.
    """
    from dataset.recognition import components

    names = list(dict.fromkeys(row.casting for row in training))
    number = {name: place for place, name in enumerate(names)}
    # Nodes are the castings in training, then the images
    own = len(names) + np.arange(len(rows))
    nodes = np.append([number[row.casting] for row in training], own).astype(int)
    images, partners = links_beside(root, rows, training_root, training)
    labels = components(own[images], nodes[partners], len(names) + len(rows)).tolist()
    found = dict(zip(labels[len(names) - 1 :: -1], reversed(names), strict=False))
    new = count(1)
    for label in labels[len(names) :]:
        if label not in found:
            found[label] = f"new_{next(new):03d}"
    of_rows = zip(rows, labels[len(names) :], strict=True)
    return [replace(row, casting=found[label]) for row, label in of_rows]


def links_beside(
    root: Path, rows: Sequence[ImageRow], training_root: Path, training: Sequence[ImageRow]
) -> tuple[np.ndarray, np.ndarray]:
    """Which images, int (M,), show the casting of which others, of training and then `rows`.

    The rings of training are kept, for the next folder.
    """
    folders = [training_root] * len(training) + [root] * len(rows)
    everything = [
        replace(row, path=str((folder / row.path).resolve()))
        for folder, row in zip(folders, [*training, *rows], strict=True)
    ]
    if is_other_product(Path("/"), everything):
        groups, first = alike(Path("/"), everything), {}
        for place, group in enumerate(groups):
            first.setdefault(group, place)
        own = groups[len(training) :]
        return np.arange(len(rows)), np.array([first[group] for group in own])

    import torch

    from dataset.recognition import match

    known, (rings, _) = kept_rings(training_root, training), read_all_rings(root, rows)
    with recognising(root, rows) as progress:
        return match(torch.cat([known, rings]), progress, first=len(training)).matches()


def kept_rings(root: Path, rows: Sequence[ImageRow]):
    """The `ring_spectra` of all images, cached by the files' contents; 32 kB an image."""
    import torch

    path = cache_folder() / f"rings_{_key(rows)}.npy"
    try:
        kept = torch.from_numpy(np.load(path, allow_pickle=False))
        if len(kept) == len(rows) and kept.is_complex():
            return kept
    except (OSError, ValueError, EOFError, TypeError):  # none yet, or a damaged one
        pass
    rings, _ = read_all_rings(root, rows)
    content = io.BytesIO()
    np.save(content, rings.numpy())
    write_atomic(path, content.getvalue())
    return rings


def is_other_product(root: Path, rows: Sequence[ImageRow]) -> bool:
    """Whether more than a few of some images, evenly chosen, show no hub in the middle.

    On the texture of other products something round enough is often found: on magnetic tiles in
    some half of the images.
    """
    from dataset.hubs import SIZE_PX, find_hub

    def lacks_hub(row: ImageRow) -> bool:
        try:
            return find_hub(read_framed(root / row.path, SIZE_PX)) is None
        except UnreadableImageError:
            return False  # whoever reads all images will say so

    some = rows[:: -(-len(rows) // LOOKED_AT)]
    return sum(in_threads(lacks_hub, some)) > A_FEW * len(some)


def alike(root: Path, rows: Sequence[ImageRow]) -> list[int]:
    """The part of each image by its looks, numbered in order of first appearance.

    Raises:
        UserError: unreadable images.
    """
    from common.progress import announced
    from dataset.likeness import SIDE_PX, groups_alike

    with announced("comparing photographs, to see which show the same part"):
        return groups_alike(np.concatenate(list(_decoded(root, rows, SIDE_PX)))).tolist()


def known_castings(root: Path) -> Path | None:
    """The table that rendered data bring along."""
    truth = root / "truth.csv"
    return truth if truth.is_file() else None


def with_told_castings(root: Path, rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The rows with the castings that rendered data bring along; nothing is recognised."""
    truth = known_castings(root)
    if not truth or all(row.casting for row in rows):
        return list(rows)
    names = read_table(truth, root, rows)
    return [replace(row, casting=name) for row, name in zip(rows, names, strict=True)]


def read_table(path: Path, root: Path, rows: Sequence[ImageRow]) -> list[str]:
    """The castings of `rows` from a CSV file with the columns `path` and `casting`.

    Raises:
        UserError: no such table, or an image is not in it, or two lines contradict each other.
    """
    lines = read_csv(path, ("path", "casting"))
    if not lines:
        raise UserError(f"{path} holds no lines below its header path,casting")
    castings: dict[str, str] = {}
    for line in lines:
        name = (line["casting"] or "").strip()
        if not name.isprintable():
            raise UserError(f"{path} gives {line['path']} a casting that is no plain text")
        if name and castings.setdefault(table_path(line["path"]), name) != name:
            raise UserError(f"{path} gives {line['path']} two castings; keep one line an image")
    missing = [row.path for row in rows if table_path(row.path) not in castings]
    if missing:
        raise UserError(
            f"{path} names no casting for {count_of(len(missing), 'image')} of {root}, "
            f"{missing[0]} first; paths are relative to that folder"
        )
    return [castings[table_path(row.path)] for row in rows]


def recognise(root: Path, rows: Sequence[ImageRow]):
    """Compare all images with one another: a `recognition.Castings`, cached by the files' contents.

    About a minute for the 7,348 images of the real set on two cores; then at once.

    Raises:
        UserError: unreadable images, or images that show no hub.
    """
    from dataset.hubs import SIZE_PX
    from dataset.recognition import Castings, fingerprint

    path = cache_folder() / f"castings_{_key(rows)}.npz"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            castings = Castings(**{name: kept[name] for name in ARRAYS})
        if all(len(getattr(castings, name)) == len(rows) for name in ARRAYS):
            return castings
    except Exception:  # none yet, or a damaged one: zipfile, zlib and NumPy raise many types
        pass
    if len(rows) < 2:
        raise UserError(f"{root} holds one image; castings are recognised by comparing images")
    with recognising(root, rows) as progress:
        castings = fingerprint(_decoded(root, rows, SIZE_PX), progress)
    content = io.BytesIO()
    np.savez_compressed(content, **asdict(castings))
    write_atomic(path, content.getvalue())
    return castings


@contextmanager
def recognising(root: Path, rows: Sequence[ImageRow]) -> Iterator[Callable[[int, str], None]]:
    """Gives what shows the progress of recognising castings, and says which images show no hub."""
    from common.progress import ProgressBar
    from dataset.hubs import NoHubError

    bars: dict[str, ProgressBar] = {}

    def progress(images: int, what: str) -> None:
        if what not in bars:
            bars[what] = ProgressBar(desc=what, total=len(rows), unit="images")
        bars[what].update(images)

    try:
        yield progress
    except NoHubError as error:
        first = rows[error.indices[0]].path
        raise UnknownCastingsError(
            f"{len(error.indices)} of {count_of(len(rows), 'image')} in {root} show no dark hub in "
            f"the middle, {first} first: castings are recognised by the ring around it; for other "
            "products give a table with the columns path,casting: --castings FILE"
        ) from error
    finally:
        for bar in bars.values():
            bar.close()


def read_all_rings(root: Path, rows: Sequence[ImageRow]):
    """`ring_spectra` and contrasts of all images."""
    from dataset.hubs import SIZE_PX
    from dataset.recognition import read_rings

    with recognising(root, rows) as progress:
        return read_rings(_decoded(root, rows, SIZE_PX), progress)


def _decoded(root: Path, rows: Sequence[ImageRow], size_px: int) -> Iterator[np.ndarray]:
    """Batches uint8 (B, S, S), so that the whole set is never in memory."""

    def decode(row: ImageRow) -> np.ndarray | str:
        try:
            return read_framed(root / row.path, size_px)
        except UnreadableImageError as error:
            return str(error)

    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = in_threads(decode, batch)
        problems = zip(batch, images, strict=True)
        refuse_unreadable(((r.path, p) for r, p in problems if isinstance(p, str)), root)
        yield np.stack(images)


def _key(rows: Sequence[ImageRow]) -> str:
    assert all(row.sha256 for row in rows), "rows need hashes: two data sets would share castings"
    text = "\n".join([f"{RECOGNITION_FORMAT} {PIL.__version__}", *(row.sha256 for row in rows)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
