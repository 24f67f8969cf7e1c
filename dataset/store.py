"""Every image decoded once, into a uint8 array on disk.

All images at 224 px are 369 MB as grey bytes, so they are decoded once, kept, and shared by every
split, fold and run with that size.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import numpy as np
import PIL

from common.errors import UserError
from common.files import cache_folder, write_json
from common.text import count_of
from dataset.listing import ImageRow
from imaging.reading import UnreadableImageError, in_threads, read_framed, refuse_unreadable

STORE_FORMAT = 1  # part of the cache key: raise it when decoding changes


def open_store(
    root: Path,
    rows: Sequence[ImageRow],
    size_px: int,
    fit: str = "stretch",
    *,
    cache: bool = True,
) -> np.ndarray:
    """All images of `rows` as one memory-mapped uint8 array (N, S, S), in the order of `rows`.

    The cache file's name is a hash of the files' contents, the size and the decoder's version, so
    a changed image or another Pillow makes a new store; a damaged one is noticed and made anew.
    Without `cache` the array lives in a temporary file that goes with the process.

    Raises:
        UserError: unreadable images, all of them listed.
    """
    shape = (len(rows), size_px, size_px)
    if not cache:
        try:
            with TemporaryFile() as file:
                store = _reserve(file, shape)
        except OSError as error:
            raise UserError(
                f"no room for decoded images in {gettempdir()}: {error.strerror}; set TMPDIR"
            ) from error
        _decode_into(store, root, rows, fit)
        return store
    path = cache_folder() / f"images_{size_px}px_{_store_key(rows, size_px, fit)}.u8"
    if not _is_sound(path, shape):
        _build_store(path, root, rows, shape, fit)
    return np.memmap(path, np.uint8, "r", shape=shape)


def _store_key(rows: Sequence[ImageRow], size_px: int, fit: str) -> str:
    assert all(row.sha256 for row in rows), "rows need hashes: two data sets would share a store"
    how = f"{size_px}" if fit == "stretch" else f"{size_px} {fit}"
    text = "\n".join([f"{STORE_FORMAT} {PIL.__version__} {how}", *(row.sha256 for row in rows)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build_store(path: Path, root: Path, rows: Sequence[ImageRow], shape: tuple, fit: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w+b") as file:
            store = _reserve(file, shape)
        _decode_into(store, root, rows, fit)
        store.flush()
        os.replace(temporary, path)
        write_json(_checksum_path(path), {"crc32": _crc32(path)})
    except OSError as error:
        raise UserError(
            f"cannot write the image cache {path}: {error.strerror}; "
            "point CASTING_CACHE elsewhere or use --no-cache"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _reserve(file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Map a file of this shape; written out first, since a disk that fills up later is a SIGBUS."""
    remaining = int(np.prod(shape))
    while remaining:
        remaining -= file.write(bytes(min(remaining, 1 << 24)))
    file.flush()
    return np.memmap(file, np.uint8, "r+", shape=shape)


def _decode_into(store: np.ndarray, root: Path, rows: Sequence[ImageRow], fit: str) -> None:
    def decode(index: int) -> tuple[str, str] | None:
        try:
            store[index] = read_framed(root / rows[index].path, store.shape[1], fit)
        except UnreadableImageError as error:
            return rows[index].path, str(error)
        return None

    problems = in_threads(decode, range(len(rows)), f"decoding to {store.shape[1]} px")
    refuse_unreadable(filter(None, problems), root)


def _is_sound(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        expected = json.loads(_checksum_path(path).read_text())["crc32"]
        return path.stat().st_size == int(np.prod(shape)) and _crc32(path) == expected
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _crc32(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value


def describe_store(store: np.ndarray) -> str:
    """'7,348 images at 112 px, 92 MB'."""
    return f"{count_of(len(store), 'image')} at {store.shape[1]} px, {store.nbytes / 1e6:.0f} MB"
