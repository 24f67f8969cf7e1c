"""HEIC photographs, as tablets and phones take them: turned into PNG, which all else here reads."""

import io

from imaging.limits import refuse_large
from imaging.unreadable import UnreadableImageError

HEIC_TYPES = ("heic", "heif")  # suffixes
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")


def is_heic(data: bytes) -> bool:
    """Whether a file is one, by its first bytes."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS


def readable(data: bytes) -> bytes:
    """A photograph as all else here reads it: of a HEIC its PNG, any other as it is.

    Raises:
        UnreadableImageError: as `png_of_heic`.
    """
    return png_of_heic(data) if is_heic(data) else data


def png_of_heic(data: bytes) -> bytes:
    """The photograph, upright and in grey, as PNG.

    Raises:
        UnreadableImageError: damaged or too large; or what reads it is not installed.
    """
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise UnreadableImageError(
            "HEIC needs pip install -r requirements-deploy.txt; or save it as JPEG"
        ) from None
    try:
        found = open_heif(io.BytesIO(data))
        refuse_large(found.size)
        grey = found.to_pillow().convert("L")
    except UnreadableImageError:
        raise
    except Exception as error:  # libheif's many reasons
        raise UnreadableImageError(f"a damaged HEIC; save it as JPEG ({error})") from error
    png = io.BytesIO()
    grey.save(png, "png", compress_level=1)
    return png.getvalue()
