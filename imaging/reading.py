"""Read one photograph: a complete 8-bit grey image, or a reason why it must not be inspected."""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import UserError
from common.text import count_of

IMAGE_SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif"}
PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")  # nothing else is tried
MAX_PIXELS = 64_000_000
MAX_SIDE_PX = 20_000  # Pillow resizes a line of 64 million pixels through gigabytes
MAX_BYTES = 1 << 29  # of a file: 64 megapixels of 16-bit colour are 384 MB

# A disk or a transfer that lost a block leaves zeros in the middle of a JPEG, which libjpeg
# decodes to a grey smear without an error. Photographs compress to nothing like such a run.
JPEG_HOLE = b"\0" * 128
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
EIGHT_BITS = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)  # of each 16-bit grey value


class UnreadableImageError(ValueError):
    """A file that must not be inspected; the message says why in a few words."""


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
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    except ValueError as error:  # a name with a zero byte
        raise UnreadableImageError(str(error)) from error
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(f"over {MAX_BYTES >> 20} MB")
    return data


def decode_grey(data: bytes) -> Image.Image:
    """A file's bytes completely decoded to 8-bit grey (PIL mode 'L'), upright by its EXIF tag.

    16-bit images are scaled, not clipped. Refused, because a decision on them would be a guess:
    damaged files, floating-point pixels, transparency, several images in one; and, for memory's
    sake, over 64 megapixels or 20,000 pixels long.

    Raises:
        UnreadableImageError: with the reason.
    """
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            _refuse_by_header(data, image)
            image.load()
            return to_grey(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image" if data else "empty file") from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def read_resized(path: Path, size_px: int) -> np.ndarray:
    """A file as the network's input before normalisation: uint8 (S, S), S = `size_px`.

    Equal to torchvision's `Resize((S, S))` on a PIL image: bilinear with antialiasing.

    Raises:
        UnreadableImageError: with the reason.
    """
    return resized(read_grey_image(path), size_px)


def resized(image: Image.Image, size_px: int) -> np.ndarray:
    """An image of any size and mode as uint8 (S, S)."""
    return np.asarray(to_grey(image).resize((size_px, size_px), Image.Resampling.BILINEAR))


def to_grey(image: Image.Image) -> Image.Image:
    """8-bit grey of an image in any mode whose grey values are certain.

    Raises:
        UnreadableImageError: floating-point, 32-bit or transparent pixels.
    """
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode == "I":
        raise UnreadableImageError("32-bit pixels; save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Image.fromarray(EIGHT_BITS[np.asarray(image)])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise UnreadableImageError("transparent pixels; save it without transparency")
    return image.convert("L")


def upright_image(image: object) -> Image.Image:
    """A PIL image or a uint8 array (H, W) or (H, W, 3) as an upright PIL image.

    Raises:
        UnreadableImageError: it is neither, or cannot be decoded.
    """
    if isinstance(image, np.ndarray):
        grey_or_colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not grey_or_colour or not image.size:
            raise UnreadableImageError(f"{image.dtype} array {image.shape}: not an 8-bit image")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise UnreadableImageError(f"not an image: {type(image).__name__}")
    refuse_large(image)
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged image that Pillow has not decoded yet
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def refuse_large(image: Image.Image) -> None:
    """Raise UnreadableImageError for an image that would take too much memory."""
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE_PX:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels are too many")


def _refuse_by_header(data: bytes, image: Image.Image) -> None:
    refuse_large(image)
    if image.format in ("JPEG", "MPO"):  # an MPO is a phone's JPEG with a preview behind it
        if JPEG_HOLE in _compressed_part(data):
            raise UnreadableImageError(
                "damaged: a run of zero bytes in the compressed data (whole? then save it as PNG)"
            )
    elif getattr(image, "n_frames", 1) > 1:
        raise UnreadableImageError(f"holds {image.n_frames} images, one expected")


def _compressed_part(data: bytes) -> bytes:
    # From the first start of scan behind the header segments (a preview in one has its own) to the
    # end marker; behind that, cameras pad with zeros or append further images.
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != JPEG_START_OF_SCAN[1]:
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    if at >= len(data):
        return data  # a broken header must not hide a hole
    end = data.find(JPEG_END, at)
    return data[at : end if end >= 0 else None]


def in_threads(work: Callable, items: Sequence, description: str = "") -> list:
    """`[work(item) for item in items]` on all cores, with a progress bar if it has a description.

    Threads do, because Pillow's decoders and hashlib release the interpreter lock.
    """
    from tqdm import tqdm

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(work, items)
        quiet = None if description else True
        return list(tqdm(results, desc=description, total=len(items), unit="img", disable=quiet))


def refuse_unreadable(problems: Iterable[tuple[str, str]], root: Path) -> None:
    """Report all `(path, reason)` at once; silent when there are none.

    Raises:
        UserError: names every bad file.
    """
    bad = [f"  {path}: {reason}" for path, reason in problems]
    if bad:
        head = f"{count_of(len(bad), 'unreadable image')} in {root}; repair or remove:"
        raise UserError("\n".join([head, *bad]))
