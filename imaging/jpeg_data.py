"""Whether all of a JPEG's compressed data was there, and decoded.

libjpeg decodes damaged data to a smear, or grey, without an error that Pillow would pass on. But
it tells by what it decodes: at the end of whole data the decoder needs the last bytes, and none
beyond. So a file is damaged when further bytes before the end of its data change the picture (it
wanted more: data is missing), or when changing the last bytes does not (it was done before).
"""

import io
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops

from imaging.jpeg import Jpeg, Scan, damaged

# Beyond the end of the data: anything that decodes to some picture
FURTHER_BYTES = bytes((7 * n * n + 89 * n + 53) % 251 for n in range(64))
LAST_BYTES = 16  # so many that to change them shows in the picture
ZERO_RUN = bytes(64)  # a lost block of a disk or a transfer, or very plain ground
ROWS = 1024  # of two pictures, compared at a time


def refuse_damaged(data: bytes, jpeg: Jpeg, image: Image.Image) -> None:
    """Raise UnreadableImageError when not all data was decoded, or data was missing.

    Args:
        image: the file decoded, as it came: not turned, in its own mode.
    """
    data = data[: jpeg.end]
    pieces = [piece for scan in jpeg.scans for piece in scan.pieces]
    zeros = [any(ZERO_RUN in data[a:b] for a, b in scan.pieces) for scan in jpeg.scans]
    if any(has and not scan.plain_zeros for has, scan in zip(zeros, jpeg.scans, strict=True)):
        raise damaged("a run of zero bytes in the compressed data")
    # libjpeg leaves what is missing at the end of a single piece in medium grey
    corner = image.getpixel((jpeg.width - 1, jpeg.height - 1))
    may_lack = len(pieces) > 1 or image.mode == "CMYK" or corner in (128, (128, 128, 128))
    if may_lack or any(zeros):
        if _differs(image, _decoded(_lengthened(data, pieces))):
            raise damaged("some of the compressed data is missing or wrong")
    for scan, has_zeros in zip(jpeg.scans, zeros, strict=True):
        # One more decoding for each scan: of several only for those in which zeros stand, unless
        # each bit is for a block of its own and cannot shift the others
        refines = scan.first == 0 and scan.bits_before > 0
        if len(jpeg.scans) > 1 and (refines or not has_zeros):
            continue
        if not _shows_everywhere(jpeg, scan, image, _decoded(_changed(data, scan.pieces))):
            raise damaged("some of the compressed data is wrong")


def _decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.load()
        return image


def _lengthened(data: bytes, pieces: Sequence[tuple[int, int]]) -> bytes:
    """The file with further bytes behind each piece of its compressed data."""
    ends = [0, *(end for _, end in pieces), len(data)]
    return FURTHER_BYTES.join(data[a:b] for a, b in itertools.pairwise(ends))


def _changed(data: bytes, pieces: Sequence[tuple[int, int]]) -> bytes:
    """The file with the last bytes of each piece changed."""
    parts, at = [], 0
    for begin, end in pieces:
        start = max(begin, end - LAST_BYTES)
        start -= start > begin and data[start - 1] == 0xFF  # with its stuffed zero
        parts += [data[at:start], bytes(0x5A if one != 0x5A else 0xA5 for one in data[start:end])]
        at = end
    return b"".join([*parts, data[at:]])


def _differs(one: Image.Image, other: Image.Image) -> bool:
    """Whether a pixel differs; looks at some rows at a time, for the memory's sake."""
    if one.height <= ROWS:
        return ImageChops.difference(one, other).getbbox() is not None
    boxes = [(0, top, one.width, min(top + ROWS, one.height)) for top in range(0, one.height, ROWS)]
    return any(ImageChops.difference(one.crop(b), other.crop(b)).getbbox() for b in boxes)


def _shows_everywhere(jpeg: Jpeg, scan: Scan, one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ, and if need be between each two restart markers.

    Pieces of a few bytes, of plain ground, need not show: they are too short to tell.
    """
    short = np.array([end - begin < 2 * LAST_BYTES for begin, end in scan.pieces])
    if not scan.interval or len(jpeg.scans) > 1:
        return bool(short.all()) or _differs(one, other)
    (across, down), (wide, high) = jpeg.mcus(scan), jpeg.sampling_of_all
    width, height = (8 * wide, 8 * high) if len(scan.components) > 1 else (8, 8)
    difference = np.asarray(ImageChops.difference(one, other))
    whole = np.zeros((down * height, across * width), bool)
    whole[: jpeg.height, : jpeg.width] = difference.reshape(*difference.shape[:2], -1).any(axis=2)
    differs = whole.reshape(down, height, across, width).any(axis=(1, 3)).ravel()
    begins = range(0, len(differs), scan.interval)
    return bool((np.logical_or.reduceat(differs, begins) | short).all())
