"""Read one photograph: a complete 8-bit grey image, or a reason why it must not be inspected."""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import BoundedSemaphore

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from common.errors import UserError
from common.text import count_of
from common.threads import thread_count
from imaging.framing import framed
from imaging.grey import file_to_grey, to_grey
from imaging.jpeg import parse_jpeg
from imaging.jpeg_data import refuse_damaged
from imaging.limits import (
    MAX_PIXELS,
    MAX_WEBP_PIXELS,
    refuse_costly,
    refuse_costly_exif,
    refuse_large,
)
from imaging.unreadable import UnreadableImageError

PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")  # nothing else is tried
MAX_BYTES = 1 << 29  # of a file: 64 megapixels of 16-bit colour are 384 MB
LARGE_PIXELS = 24_000_000
LARGE_AT_ONCE = BoundedSemaphore(2)  # in all threads: each takes up to 700 MB
JPEG_START = b"\xff\xd8\xff"
TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
NO_MEMORY = "too large for this machine's memory"
SIDEWAYS = (5, 6, 7, 8)  # of these: width and height change places


def read_grey_image(path: Path) -> Image.Image:
    """A file as an 8-bit grey image (PIL mode 'L'); see `decode_grey`.

    Raises:
        UnreadableImageError: with the reason.
    """
    return decode_grey(read_file(path))


def read_file(path: Path) -> bytes:
    """The bytes of a photograph.

    Raises:
        UnreadableImageError: missing, not a file, or too large to be a photograph.
    """
    try:
        with open(path, "rb", opener=open_regular) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    except ValueError as error:  # a name with a zero byte
        raise UnreadableImageError(str(error)) from error
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(f"over {MAX_BYTES >> 20} MB")
    return data


def open_regular(path: str, flags: int) -> int:
    """Opens a file for `open`; a pipe or a device, which would keep its reader waiting, is none."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "Is a directory" if stat.S_ISDIR(mode) else "not a regular file")
    return descriptor


def decode_grey(data: bytes) -> Image.Image:
    """A file's bytes completely decoded to 8-bit grey (PIL mode 'L'), upright by its EXIF tag.

    Images of 10 to 16 bits are scaled by the range that the file states. Refused, because a
    decision on them would be a guess: damaged files, an unknown range, floating-point pixels,
    transparency, several images in one; and what would take too much memory or time.

    Raises:
        UnreadableImageError: with the reason.
    """
    try:
        jpeg = parse_jpeg(data) if data.startswith(JPEG_START) else None
        refuse_costly(data)
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            _refuse_by_header(image)
            with turn_of(image):
                image.load()
                if jpeg:
                    refuse_damaged(data, jpeg, image)
                refuse_costly_exif(_exif_block(image))
                return upright(file_to_grey(image, data), image.getexif())
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(_unknown(data)) from None
    except MemoryError:
        raise UnreadableImageError(NO_MEMORY) from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def read_framed(path: Path, size_px: int, fit: str = "stretch") -> np.ndarray:
    """A file as the network's input before normalisation: uint8 (S, S), S = `size_px`.

    Stretched, it is equal to torchvision's `Resize((S, S))` on a PIL image.

    Raises:
        UnreadableImageError: with the reason.
    """
    return framed(read_grey_image(path), size_px, fit)


def upright_image(image: object) -> Image.Image:
    """A PIL image or a uint8 array (H, W) or (H, W, 3) as an upright 8-bit grey PIL image.

    Raises:
        UnreadableImageError: it is neither, cannot be decoded, or as of `to_grey`.
    """
    if isinstance(image, np.ndarray):
        grey_or_colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not grey_or_colour or not image.size:
            raise UnreadableImageError(f"{image.dtype} array {image.shape}: not an 8-bit image")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise UnreadableImageError(f"not an image: {type(image).__name__}")
    refuse_large(image.size)
    try:
        image.load()
        # Of an open PNG the depth is not known any more; a TIFF still has its tags
        grey = to_grey(image) if image.format == "PNG" else file_to_grey(image, b"")
        return upright(grey, image.getexif())
    except UnreadableImageError:
        raise
    except MemoryError:
        raise UnreadableImageError(NO_MEMORY) from None
    except Exception as error:  # a damaged image that Pillow has not decoded yet
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def upright_size_px(path: Path) -> tuple[int, int]:
    """Width and height of a photograph as it is looked at; reads its header only."""
    with Image.open(path, formats=PILLOW_FORMATS) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS
        return image.size[::-1] if turned else image.size


def upright(image: Image.Image, exif: Image.Exif) -> Image.Image:
    """An image turned as its camera noted; itself where that is upright."""
    turn = TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _refuse_by_header(image: Image.Image) -> None:
    refuse_large(image.size, MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS)
    if image.format in ("PNG", "WEBP") and image.n_frames > 1:
        raise UnreadableImageError(f"holds {image.n_frames} images, one expected")
    whole = (0, 0, *image.size)
    if image.format == "GIF" and [tuple(tile.extents) for tile in image.tile] != [whole]:
        raise UnreadableImageError("an image that does not fill its frame; save it as PNG")


def turn_of(image: Image.Image) -> AbstractContextManager:
    """Waits until an image may be decoded: at once, unless it and others are large."""
    return LARGE_AT_ONCE if image.width * image.height > LARGE_PIXELS else nullcontext()


def _exif_block(image: Image.Image) -> bytes:
    """What `getexif` will read: as it is or, in a PNG of ImageMagick, in hexadecimal lines."""
    lines = str(image.info.get("Raw profile type exif", "")).split("\n")
    return image.info.get("exif") or bytes.fromhex("".join(lines[3:]))


def _unknown(data: bytes) -> str:
    if data.startswith((b"\x89PNG", JPEG_START, b"GIF8", b"BM", b"II*", b"MM\0*", b"RIFF")):
        return "damaged, or of a rare kind; save it as 8-bit PNG"
    return "not an image" if data else "empty file"


def in_threads(work: Callable, items: Sequence, description: str = "") -> list:
    """`[work(item) for item in items]` on all cores, with a progress bar if it has a description.

    Threads do, because Pillow's decoders and hashlib release the interpreter lock.
    """
    from common.progress import ProgressBar

    with ThreadPoolExecutor(thread_count()) as pool:
        results = pool.map(work, items)
        return list(
            ProgressBar(
                results, desc=description, total=len(items), unit="img", disable=not description
            )
        )


def refuse_unreadable(problems: Iterable[tuple[str, str]], root: Path) -> None:
    """Report all `(path, reason)` at once; silent when there are none.

    Raises:
        UserError: names every bad file.
    """
    bad = [f"  {path}: {reason}" for path, reason in problems]
    if bad:
        head = f"{count_of(len(bad), 'unreadable image')} in {root}; repair or remove:"
        raise UserError("\n".join([head, *bad]))
