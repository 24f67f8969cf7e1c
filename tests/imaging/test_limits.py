"""Small files that would cost minutes or gigabytes are refused or read within a moment."""

import struct
import time
import zlib

import numpy as np
import pytest
from builders import encoded, tiff_file
from PIL import Image

from imaging.reading import UnreadableImageError, decode_grey

NOISE = np.random.default_rng(0).integers(40, 216, (96, 96)).astype(np.uint8)
JPEG, PNG, GIF = encoded(NOISE, "JPEG"), encoded(NOISE, "PNG"), encoded(NOISE, "GIF")
PROGRESSIVE = encoded(NOISE, "JPEG", progressive=True)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
GIF_BLOCKS = 13 + 768  # behind its palette
SMALL_FRAME = b"," + bytes(4) + b"\1\0\1\0\0\2\2D\1\0"


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks):
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def greedy_exif(tags, size):
    """Tags that all claim the same bytes."""
    entries = (struct.pack("<HHII", number, 1, size, 0) for number in range(tags))
    return b"II*\0" + struct.pack("<IH", 8, tags) + b"".join(entries) + bytes(size)


def exif_segments(exif):
    pieces = (exif[at : at + 65_000] for at in range(0, len(exif), 65_000))
    return b"".join(
        b"\xff\xe1" + struct.pack(">H", len(one) + 8) + b"Exif\0\0" + one for one in pieces
    )


def tiff_with_directories(count):
    """Each directory is the first one again."""
    data = tiff_file(NOISE)
    tags = int.from_bytes(data[8:10], "little")
    directory = data[8 : 10 + 12 * tags]
    first, step = len(data), len(directory) + 4
    chain = (directory + struct.pack("<I", first + n * step) for n in range(1, count))
    data = data[: 10 + 12 * tags] + struct.pack("<I", first) + data[14 + 12 * tags :]
    return data + b"".join(chain) + directory + bytes(4)


EXIF = greedy_exif(900, 500_000)
RLE_BMP = b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078)
RLE_BMP += struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 0)
BOMBS = {
    "tags.tif": lambda: EXIF,
    "directories.tif": lambda: tiff_with_directories(50_000),
    "strips.tif": lambda: tiff_file(NOISE, tags={273: [8] * 100_000}),
    "tiles.tif": lambda: tiff_file(NOISE, tags={322: 30_000, 323: 30_000, 324: 8}),
    "frames.gif": lambda: GIF[:-1] + SMALL_FRAME * 300_000 + b";",
    "remarks.gif": lambda: GIF[:GIF_BLOCKS] + b"!\xfe\0" * 2_000_000 + GIF[GIF_BLOCKS:],
    "blocks.gif": lambda: GIF[:GIF_BLOCKS] + b"!\xfe" + b"\1 " * 2_000_000 + b"\0;",
    "rubbish.gif": lambda: GIF[:GIF_BLOCKS] + b"x" * 9_000_000 + GIF[GIF_BLOCKS:],
    "scans.jpg": lambda: PROGRESSIVE[:-2] + LAST_SCAN * 4000 + b"\xff\xd9",
    "restarts.jpg": lambda: JPEG[:-2] + b"\xff\xd0\xff\xd1\xff\xd2" * 2_000_000 + b"\xff\xd9",
    "more restarts.jpg": lambda: (
        JPEG[:-2] + b"".join(b"\xff%c" % n for n in range(0xD0, 0xD8)) * 500_000 + b"\xff\xd9"
    ),
    "comments.jpg": lambda: JPEG[:2] + b"\xff\xfe\0\2" * 2_000_000 + JPEG[2:],
    "rubbish.jpg": lambda: JPEG[:20] + bytes(9_000_000) + JPEG[20:],
    "fill.jpg": lambda: JPEG[:2] + b"\xff" * 9_000_000 + JPEG[2:],
    "fill in the data.jpg": lambda: JPEG[:-2] + b"\xff" * 2_000_000 + b"\0" + JPEG[-2:],
    "exif.jpg": lambda: JPEG[:2] + exif_segments(EXIF) + JPEG[2:],
    "exif.png": lambda: png_with(chunk(b"eXIf", EXIF)),
    "exif in text.png": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9\n" + (
            greedy_exif(900, 300_000).hex().encode()
        )))
    ),
    "texts.png": lambda: png_with(chunk(b"tEXt", b"a\0b") * 300_000),
    "pixels.png": lambda: png_with(chunk(b"IDAT", b"") * 1_000_000),
    "rle.bmp": lambda: RLE_BMP + bytes(1024) + b"\1\5" * 4_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_within_a_moment(name):
    data = BOMBS[name]()
    started = time.process_time()
    with pytest.raises(UnreadableImageError) as caught:
        decode_grey(data)
    assert time.process_time() - started < 2.0
    assert len(str(caught.value)) < 150


def test_large_progressive_photograph_is_refused_by_its_scans():
    height_at = PROGRESSIVE.index(b"\xff\xc2") + 5
    data = PROGRESSIVE[:height_at] + struct.pack(">HH", 6000, 8000) + PROGRESSIVE[height_at + 4 :]
    with pytest.raises(UnreadableImageError, match="scans of 8000 x 6000 pixels are too many"):
        decode_grey(data)


def test_repeated_scans_of_a_small_picture_are_read():
    few = PROGRESSIVE[:-2] + LAST_SCAN * 3 + b"\xff\xd9"
    assert decode_grey(few).size == (96, 96)


def test_changed_pixels_of_a_png_do_not_fit_its_checksum():
    data = encoded(NOISE, "PNG", compress_level=0)
    middle = len(data) // 2
    with pytest.raises(UnreadableImageError, match="checksum"):
        decode_grey(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def test_image_that_does_not_fill_its_frame_is_refused():
    wider = GIF[:6] + struct.pack("<HH", 200, 96) + GIF[10:]
    with pytest.raises(UnreadableImageError, match="fill"):
        decode_grey(wider)


def test_orientation_in_hexadecimal_text_is_heeded():
    exif = Image.Exif()
    exif[0x0112] = 3
    lines = b"\nexif\n" + b"%8d\n" % len(exif.tobytes()) + exif.tobytes().hex().encode()
    text = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(lines))
    assert np.array_equal(decode_grey(png_with(text)), np.rot90(NOISE, 2))
