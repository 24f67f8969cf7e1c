"""What a file would cost, from its bytes alone, before a decoder takes it at its word.

A few megabytes can hold millions of chunks, blocks or frames, through which Pillow walks in Python:
here each file is walked through once, and not beyond what a photograph needs.
"""

import struct
import zlib

from imaging.tiff import read_directory, refuse_costly_tiff
from imaging.unreadable import UnreadableImageError

MAX_PIXELS = 64_000_000
MAX_SIDE_PX = 20_000  # Pillow resizes a line of 64 million pixels through gigabytes
MAX_WEBP_PIXELS = 24_000_000  # it decodes slowly, and through four bytes a pixel
MAX_CHUNKS, MAX_OTHER_CHUNKS = 1 << 16, 500  # of a PNG: libpng writes 8 KB of pixels in each
MAX_GIF_BLOCKS = 500_000  # of up to 255 bytes
EXIF_START = b"Exif\0\0"


def refuse_large(size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """Raise UnreadableImageError for an image that would take too much memory."""
    width, height = size
    if width * height > max_pixels or max(size) > MAX_SIDE_PX:
        raise UnreadableImageError(f"{width} x {height} pixels are too many")


def refuse_costly(data: bytes) -> None:
    """Raise UnreadableImageError for what Pillow would spend too long on; JPEGs have their own."""
    if data.startswith(b"\x89PNG"):
        _refuse_bad_png(data)
    elif data.startswith(b"GIF8"):
        _refuse_costly_gif(data)
    elif data[:2] in (b"II", b"MM"):
        refuse_costly_tiff(data, MAX_PIXELS)
    elif data.startswith(b"BM") and _number(data[30:34], "little") not in (0, 3):
        if _number(data[14:18], "little") > 12:  # the oldest header has no compression
            raise UnreadableImageError("a compressed BMP; save it as PNG")


def refuse_costly_exif(exif: bytes) -> None:
    """Raise UnreadableImageError for an EXIF block with which Pillow would fill the memory."""
    block = exif.removeprefix(EXIF_START)
    if block[:2] in (b"II", b"MM"):  # else Pillow does not read it
        read_directory(block)


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The small chunks of a PNG before its pixels."""
    found, at = {}, 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            break
        if length <= 32:
            found[name] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def _refuse_bad_png(data: bytes) -> None:
    """Walks through the chunks; Pillow does not look at the checksums of the pixels."""
    at, chunks, others, view = 8, 0, 0, memoryview(data)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        chunks += 1
        others += name != b"IDAT"
        if chunks > MAX_CHUNKS or others > MAX_OTHER_CHUNKS:
            raise UnreadableImageError("too many chunks; save it anew")
        end = at + 8 + length
        if end + 4 <= len(data) and zlib.crc32(view[at + 4 : end]) != _number(
            data[end : end + 4], "big"
        ):
            raise UnreadableImageError("damaged: a checksum is wrong")
        if name == b"IEND":
            return
        at = end + 4


def _refuse_costly_gif(data: bytes) -> None:
    """Walks through blocks and their sub-blocks up to the trailer or a second image."""
    at = 13 + _palette_bytes(data[10:11])
    images = blocks = 0
    while at < len(data) and data[at] in b"!,":
        if data[at] == ord("!"):
            at += 2
        else:
            images += 1
            at += 11 + _palette_bytes(data[at + 9 : at + 10])
        while at < len(data) and data[at] and blocks <= MAX_GIF_BLOCKS:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
        if images > 1:
            raise UnreadableImageError("holds several images, one expected")
        if blocks > MAX_GIF_BLOCKS:
            raise UnreadableImageError("too many blocks; save it as PNG")
    if not images:
        raise UnreadableImageError("damaged: no image in it")


def _palette_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, order)
