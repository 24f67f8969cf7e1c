"""TIFF files, and the EXIF blocks built like them: what their tags say about work and pixels.

The directory is read here before Pillow reads it, which takes every tag at its word: thousands
of tags that all name the same megabytes would fill the memory.
"""

from dataclasses import dataclass

from PIL import TiffImagePlugin

from imaging.unreadable import UnreadableImageError

ORDERS = {b"II*\0": "little", b"MM\0*": "big", b"II+\0": "little"}  # the last with 8-byte offsets
TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
MAX_TAGS = 1000
MAX_TILES = 1 << 16  # strips or tiles; Pillow takes them one by one
IMAGE_WIDTH, IMAGE_LENGTH, SAMPLES = 256, 257, 277
BITS, COMPRESSION, PHOTOMETRIC, STRIPS, TILES = 258, 259, 262, 273, 324
TILE_WIDTH, TILE_LENGTH, ROWS_PER_STRIP, PLANAR, SAMPLE_FORMAT, COLOUR_MAP = (
    322,
    323,
    278,
    284,
    339,
    320,
)
MAX_SAMPLE, LARGEST_SAMPLE, SUBSAMPLING = 281, 341, 530  # MaxSampleValue, SMaxSampleValue
JPEG_COMPRESSIONS = (6, 7)
WHITE_IS_ZERO, YCBCR = 0, 6

# What Pillow knows of one byte order or polarity alone; the samples are unpacked alike
for _prefix, _mode in ((b"II", "I;16"), (b"MM", "I;16B")):
    for _photometric in (0, 1):
        _kind = (_prefix, _photometric, (1,), 1)
        TiffImagePlugin.OPEN_INFO.setdefault((*_kind, (16,), ()), (_mode, _mode))
        TiffImagePlugin.OPEN_INFO.setdefault((*_kind, (12,), ()), ("I;16", "I;12"))


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF file."""

    counts: dict[int, int]  # how many values each tag has
    values: dict[int, int]  # the first value of each, where it stands in the directory itself
    next: int  # where the next directory begins; 0: there is none


def read_directory(data: bytes) -> Directory:
    """The first directory of a TIFF file or an EXIF block.

    Raises:
        UnreadableImageError: it is none, or its tags claim more than the file holds.
    """
    order = ORDERS.get(data[:4])
    if order is None:
        raise UnreadableImageError("no TIFF header")
    big = data[2] == ord("+")
    width, count_bytes = (8, 8) if big else (4, 2)  # of offsets, and of the number of tags

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    start = number(8 if big else 4, width)
    tags = number(start, count_bytes)
    if tags > MAX_TAGS:
        raise UnreadableImageError(f"{tags:,} tags are too many")
    first, step = start + count_bytes, 4 + 2 * width
    end = first + tags * step
    counts, values, claimed = {}, {}, 0
    for at in range(first, end, step):
        tag, kind, count = number(at, 2), number(at + 2, 2), number(at + 4, width)
        size = TYPE_BYTES.get(kind, 0)
        claimed += size * count if size * count > width else 0
        counts[tag], values[tag] = count, number(at + 4 + width, min(size, width))
    if claimed > len(data):
        raise UnreadableImageError("its tags claim more than the file holds")
    return Directory(counts, values, number(end, width))


def refuse_costly_tiff(data: bytes, max_pixels: int) -> None:
    """Raise UnreadableImageError for a TIFF file that would take too much work, or several images.

    Looks at the first directory only.
    """
    first = read_directory(data)
    if first.next:
        raise UnreadableImageError("holds several images, one expected")
    tiles = first.counts.get(STRIPS, 0) + first.counts.get(TILES, 0)
    if tiles > MAX_TILES:
        raise UnreadableImageError(f"{tiles:,} strips or tiles are too many")
    if first.values.get(TILE_WIDTH, 0) * first.values.get(TILE_LENGTH, 0) > max_pixels:
        raise UnreadableImageError("its tiles are too large")
    if first.values.get(COMPRESSION) in JPEG_COMPRESSIONS:
        if data.count(b"\xff\xda") > 3 * tiles:  # one scan a tile, or one for each colour
            raise UnreadableImageError("too many scans in its JPEG data; save it as PNG")


def refuse_doubtful_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Raise UnreadableImageError for a layout that Pillow would take for another one."""
    tags = image.tag_v2
    photometric = tags.get(PHOTOMETRIC)
    if photometric is None:
        raise UnreadableImageError("no tag PhotometricInterpretation says which value is black")
    if set(tags.get(SAMPLE_FORMAT, (1,))) != {1} and image.mode not in ("F", "I"):
        raise UnreadableImageError("signed pixels; save it with 8 bits without a sign")
    if tags.get(PLANAR, 1) == 2 and max(tags.get(BITS, (1,))) > 8:
        raise UnreadableImageError("16-bit colours in separate planes; save it with 8 bits")
    if image.mode == "P" and max(tags.get(COLOUR_MAP, (0,))) < 256:
        raise UnreadableImageError("a palette of 8 bits where 16 belong; save it without palette")
    if _tiles_missing(image):
        raise UnreadableImageError("damaged: strips or tiles are missing")
    if photometric == YCBCR and tags.get(COMPRESSION, 1) == 1:
        if tuple(tags.get(SUBSAMPLING, (2, 2))) != (1, 1):
            raise UnreadableImageError("uncompressed subsampled colours; save it as grey")


def _tiles_missing(image: TiffImagePlugin.TiffImageFile) -> bool:
    tags = image.tag_v2
    width, height = tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]
    if TILES in tags:
        across, down = -(-width // tags[TILE_WIDTH]), -(-height // tags[TILE_LENGTH])
    else:
        across, down = 1, -(-height // tags.get(ROWS_PER_STRIP, height))
    planes = tags.get(SAMPLES, 1) if tags.get(PLANAR, 1) == 2 else 1
    return len(tags.get(TILES, tags.get(STRIPS, ()))) < across * down * planes


def tiff_white(image: TiffImagePlugin.TiffImageFile) -> int | None:
    """The value of white in a file of 12 or 16 bits, as far as its tags say so.

    MaxSampleValue may also be the largest value that occurs: only a full range counts.
    """
    tags = image.tag_v2
    if tags.get(BITS, (1,))[0] < 16:
        return (1 << tags[BITS][0]) - 1
    for tag in (LARGEST_SAMPLE, MAX_SAMPLE):
        value = tags.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int) and 255 < value < 1 << 16 and value & (value + 1) == 0:
            return value
    return None


def white_is_zero(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether the smallest value is white."""
    return image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
