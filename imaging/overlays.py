"""Images with heatmaps over them, captions below them, and sheets of many."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.files import write_atomic
from common.marks import own_mark
from common.origin import NO_BREAK_SPACE
from common.text import count_of

INK, PAPER = "#202020", "#ffffff"
OUTLINE = (0, 255, 255)  # stands out from grey metal and from every colour of the heatmap
COLUMNS, LINES = 4, 4  # of a contact sheet: as wide as a page, its captions can be read
TILE_PX = 220
# From 0 to 1 dark red over orange to pale yellow: brighter is hotter in black and white too
HEAT_COLOURS = np.array(
    [[60, 0, 60], [150, 10, 60], [220, 50, 30], [250, 140, 10], [255, 220, 60], [255, 255, 200]]
)


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """Colours float (H, W, 3) of values in 0..1."""
    places = np.linspace(0, 1, len(HEAT_COLOURS))
    return np.stack([np.interp(heat, places, HEAT_COLOURS[:, c]) for c in range(3)], axis=-1)


def overlay(
    image: Image.Image, heat: np.ndarray, region: np.ndarray | None, strength: float = 0.5
) -> Image.Image:
    """A grey image with a heatmap (S, S) laid over it, and the outline of a region (S, S).

    The map is stretched to the image, corner to corner; what is cold stays as photographed.
    """
    size = image.size
    hot = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    hot = np.clip(hot, 0, 1)[..., None]
    grey = np.asarray(image.convert("RGB"), np.float32)
    # The square root shows what is lukewarm, without hiding the metal below
    share = strength * np.sqrt(hot)
    mixed = (1 - share) * grey + share * heat_colours(hot[..., 0])
    if region is not None and region.any():
        mixed[outline(region, size)] = OUTLINE
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def outline(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bool (H, W) of an image of `size` (W, H): a line around a region (S, S), outside it."""
    from scipy import ndimage

    mask = Image.fromarray(region.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    inside = np.asarray(mask) >= 128
    width = max(1, round(max(size) / 220))
    return ndimage.binary_dilation(inside, iterations=width + 1) & ~ndimage.binary_dilation(inside)


def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font."""
    return ImageFont.load_default(size_px)


def captioned(image: Image.Image, lines: Sequence[str], colour: str) -> Image.Image:
    """An image with lines of text below it, under a bar of this colour."""
    size_px = max(10, image.width // 20)
    step = round(1.35 * size_px)
    canvas = Image.new("RGB", (image.width, image.height + step * len(lines) + size_px), PAPER)
    canvas.paste(image, (0, 0))
    draw = ImageDraw.Draw(canvas)
    bar = [0, image.height, image.width, image.height + max(3, size_px // 3)]
    draw.rectangle(bar, fill=colour)
    top = image.height + size_px // 2
    for number, line in enumerate(lines):
        text = "".join(letter if letter.isprintable() else " " for letter in line)
        text = shortened(draw, text, font(size_px), image.width - 8)
        draw.text((4, top + number * step), text, INK, font(size_px))
    return canvas


def shortened(
    draw: ImageDraw.ImageDraw, text: str, face: ImageFont.FreeTypeFont, width: int
) -> str:
    """The text, its middle left out when it is too wide."""
    if draw.textlength(text, face) <= width:
        return text
    for keep in range(len(text) // 2, 0, -1):
        short = f"{text[:keep]}…{text[-keep:]}"
        if draw.textlength(short, face) <= width:
            return short
    return ""


def wrapped(
    draw: ImageDraw.ImageDraw, text: str, face: ImageFont.FreeTypeFont, width: int
) -> list[str]:
    """A text in lines, broken at its spaces, none of them wider."""
    lines: list[str] = []
    for unit in text.split(" "):
        word = unit.replace(NO_BREAK_SPACE, " ")
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, face) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(draw, word, face, width))
    return lines


def contact_sheets(
    tiles: Iterable[tuple[Image.Image, str, str]],
    tile_px: int,
    title: str,
    origin: str = "",
    of: int = 0,
) -> Iterator[Image.Image]:
    """Sheets of square tiles `(image, caption, colour)`, at least one; holds one at a time.

    Args:
        title: what they show.
        origin: what they were drawn from (common/origin.py).
        of: of how many photographs they show some; each title says how many it shows.
    """
    tiles = iter(tiles)
    for number in count(1):
        chosen = list(islice(tiles, COLUMNS * LINES))
        if not chosen and number > 1:
            return
        shown = f", {len(chosen):,} of {count_of(of, 'photograph')}" if of else ""
        sheet = f", sheet {number}" if number > 1 else ""
        yield _sheet(chosen, tile_px, f"{title}{shown}{sheet}", origin)


def columns_of(tiles: int) -> int:
    """How many beside each other: a sheet is about twice as wide as high, to be read on a page."""
    lines = max(1, round(math.sqrt(tiles / 2)))
    return min(COLUMNS, max(3, math.ceil(tiles / lines)))


def _sheet(
    tiles: Sequence[tuple[Image.Image, str, str]], tile_px: int, title: str, origin: str
) -> Image.Image:
    cells = [captioned(image, caption.split("\n"), colour) for image, caption, colour in tiles]
    gap = 6
    columns = columns_of(len(cells))
    height = max((cell.height for cell in cells), default=0) + gap
    head = _head(title, origin, columns * (tile_px + gap) + gap, gap)
    sheet = Image.new("RGB", (head.width, head.height + -(-len(cells) // columns) * height), PAPER)
    sheet.paste(head, (0, 0))
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (gap + column * (tile_px + gap), head.height + row * height))
    return sheet


def _head(title: str, origin: str, width: int, gap: int) -> Image.Image:
    """Title and origin on paper of this width, as high as they need."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    texts = [(line, size) for text, size in ((title, 18), (origin, 12)) if text
             for line in wrapped(draw, text, font(size), width - 2 * gap)]  # fmt: skip
    canvas = Image.new("RGB", (width, 14 + sum(round(1.35 * size) for _, size in texts)), PAPER)
    draw, top = ImageDraw.Draw(canvas), 6
    for line, size in texts:
        draw.text((gap, top), line, INK, font(size))
        top += round(1.35 * size)
    return canvas


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file, marked as drawn by us."""
    data = io.BytesIO()
    image.save(data, "png", pnginfo=own_mark())
    return data.getvalue()


def write_sheets(
    path: Path,
    tiles: Iterable[tuple[Image.Image, str, str]],
    title: str,
    origin: str = "",
    of: int = 0,
) -> int:
    """Contact sheets of `(image, caption, colour)`: name.png, name_2.png, ...; how many.

    Title, origin and `of` as of `contact_sheets`. Those of an earlier run that has had more are
    removed.
    """

    def page(number: int) -> Path:
        return path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")

    number = 0
    for number, sheet in enumerate(contact_sheets(tiles, TILE_PX, title, origin, of), 1):
        write_atomic(page(number), png(sheet))
    old = number + 1
    while page(old).exists():
        page(old).unlink()
        old += 1
    return number
