"""8-bit grey of images in any mode, where it is certain which values are black and white."""

from functools import lru_cache

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from imaging.limits import png_chunks
from imaging.tiff import BITS, refuse_doubtful_tiff, tiff_white, white_is_zero
from imaging.unreadable import UnreadableImageError

PNG_PALETTE = 3  # the colour type
FULL_16_BITS = (1 << 16) - 1
# Cameras of 10, 12 and 14 bits are read out into 16; what exceeds that range uses all 16
CAMERA_BITS = (8, 10, 12, 14)
WAYS_OUT = "save it with 8 bits"
TIFF_WAYS_OUT = f"{WAYS_OUT}, or with its range in the tag MaxSampleValue"


def file_to_grey(image: Image.Image, data: bytes) -> Image.Image:
    """8-bit grey of a decoded file, by what its header says of its values.

    Args:
        data: the file's bytes.

    Raises:
        UnreadableImageError: the range of the values is not known; as of `to_grey`.
    """
    white, bits, inverted = None, 8, False
    if isinstance(image, TiffImageFile):
        refuse_doubtful_tiff(image)
        bits, white, inverted = (
            max(image.tag_v2.get(BITS, (1,))),
            tiff_white(image),
            white_is_zero(image),
        )
    elif image.format == "PNG":
        chunks = png_chunks(data)
        bits, kind = chunks[b"IHDR"][8:10]
        if b"tRNS" in chunks and kind != PNG_PALETTE:
            raise UnreadableImageError("transparent pixels; save it without transparency")
        if b"sBIT" in chunks:
            white = (1 << min(chunks[b"sBIT"][:1] or b"\x10")) - 1
    elif image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise UnreadableImageError("CMYK without a word on what is white; save it as grey")
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), white, inverted, image.format == "PNG")
    if bits == 16 and image.mode in ("RGB", "RGBA", "CMYK"):
        _refuse_dark_colours(image, white)
    return to_grey(image)


def to_grey(image: Image.Image) -> Image.Image:
    """8-bit grey of an image in any mode whose grey values are certain.

    Raises:
        UnreadableImageError: floating-point, signed, 32-bit or transparent pixels, or 16 bits of
            which not all seem to be used.
    """
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode == "I":
        raise UnreadableImageError("signed or 32-bit pixels; save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), None, False, False)
    if image.mode == "P" and image.getextrema()[1] >= len(image.getpalette()) // 3:
        raise UnreadableImageError("damaged: colours beyond its palette")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise UnreadableImageError("transparent pixels; save it without transparency")
    return image.convert("L")


def _scaled(values: np.ndarray, white: int | None, inverted: bool, png: bool) -> Image.Image:
    """16-bit values (H, W) as an 8-bit image.

    A PNG of fewer significant bits is scaled up to 16, says the standard: then the lowest bits
    are zero, or repeat the highest. Many cameras' programs leave the values as they are.
    """
    top = int(values.max())
    if png and white and (top > white or not (values % ((FULL_16_BITS + 1) // (white + 1))).any()):
        white = FULL_16_BITS
    if white is None:
        _refuse_unknown_range(top, WAYS_OUT if png else TIFF_WAYS_OUT)
        white = FULL_16_BITS
    if top > white:
        raise UnreadableImageError(f"values up to {top}, but its tag says up to {white}")
    grey = _eight_bits(white)[values]
    return Image.fromarray(255 - grey if inverted else grey)


@lru_cache(4)
def _eight_bits(white: int) -> np.ndarray:
    """The grey value 0 to 255 of each 16-bit value."""
    return np.minimum((np.arange(1 << 16) * 255 + white // 2) // white, 255).astype(np.uint8)


def _refuse_unknown_range(top: int, ways_out: str) -> None:
    bits = next((bits for bits in CAMERA_BITS if top < 1 << bits), None)
    if bits:
        raise UnreadableImageError(f"values up to {top} in a 16-bit file: {bits} bits? {ways_out}")


def _refuse_dark_colours(image: Image.Image, white: int | None) -> None:
    """Pillow keeps the upper 8 of 16 bits of a colour: of 14 bits or fewer too little is left."""
    if white == FULL_16_BITS:
        return
    colours = image.getextrema()[: 4 if image.mode == "CMYK" else 3]
    _refuse_unknown_range(max(high for _, high in colours) << 8 | 0xFF, WAYS_OUT)
