"""Parts to try the page with: rendered castings, good ones and one of each kind of defect."""

import io
import zlib

import numpy as np
from PIL import Image

from rendering.casting import Casting, render_casting
from rendering.data_set import copy_photo, widen
from rendering.options import DEFECT_TYPES

GOOD = "good part"
KINDS = (GOOD, *(name.replace("_", " ") for name in DEFECT_TYPES))
SIZE_PX = 300


def sample_part(kind: str, number: int) -> bytes:
    """The PNG of a rendered part, 300 x 300 px, always the same one for a kind and number."""
    types = () if kind == GOOD else (kind.replace(" ", "_"),)
    casting = Casting(f"sample {number}", (zlib.crc32(kind.encode()), number), types, ("large",))
    photo, _ = render_casting(casting, 0, SIZE_PX)
    grey, _ = copy_photo(widen(photo), None, SIZE_PX, np.random.default_rng([number, 1]))
    data = io.BytesIO()
    Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).save(data, "png")
    return data.getvalue()
