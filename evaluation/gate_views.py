"""Pictures that no gate should let pass: of nothing, of other things, and of parts gone wrong."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 300
SEED = 0
Views = dict[str, list[Image.Image]]  # by kind


def grey_image(values: np.ndarray) -> Image.Image:
    """An array of grey values of any range, rounded and clipped."""
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def pictures_of_nothing() -> Views:
    """What a camera sees without a part, and what is no photograph."""
    steps = np.linspace(0, 1, SIDE_PX)
    across, around = np.tile(steps, (SIDE_PX, 1)), np.hypot(steps[:, None] - 0.5, steps - 0.5)
    random = np.random.default_rng(SEED)
    noise = random.standard_normal((SIDE_PX, SIDE_PX))
    ramps = [(0, 255), (40, 200), (110, 140), (200, 255), (0, 60)]
    clouds = [grey_image(128 + 60 * noise).filter(ImageFilter.GaussianBlur(r)) for r in (2, 8, 25)]
    return {
        "plain grey": [
            grey_image(np.full((SIDE_PX, SIDE_PX), g)) for g in (0, 1, 5, *range(20, 255, 20), 255)
        ],
        "smooth gradients": [
            *(grey_image(a + (b - a) * across) for a, b in ramps),
            *(grey_image(a + (b - a) * (across + across.T) / 2) for a, b in ramps),
            *(grey_image(b - (b - a) * around) for a, b in ramps),
        ],
        "noise": [*(grey_image(128 + s * noise) for s in (2, 5, 15, 40, 90)), *clouds],
        "drawn objects": [drawn(one) for one in (ball, nut, ring, star, grid)],
        "pages and screens": [drawn(page_of_text, 255), drawn(page_of_text, 40), drawn(window)],
    }


def broken_views(photo: Image.Image) -> Views:
    """A photograph of a part (grey), spoiled in ways that leave nothing to judge."""
    width, height = photo.size
    third, half = (width // 3, height // 3), (width // 2, height // 2)
    corners = [(0, 0), (half[0], 0), (0, half[1]), half]
    fifths = [(x * width // 5, y * height // 5) for x in range(5) for y in range(5)]
    return {
        "a third or three times the size": [
            pasted(photo, [third], 1 / 3),
            pasted(photo, [(0, 0)], 1 / 3),
            photo.crop((*third, 2 * third[0], 2 * third[1])).resize(photo.size),
            photo.crop((0, third[1], third[0], 2 * third[1])).resize(photo.size),
        ],
        "two or more parts": [
            pasted(photo, [(0, 0), (width, 0)], 1, (2 * width, height)),
            pasted(photo, [(0, height // 4), (half[0], height // 4)], 1 / 2),
            pasted(photo, corners, 1 / 2),
            pasted(photo, fifths, 1 / 5),
        ],
        "half a part": [
            pasted(photo, [(half[0], 0)], 1),
            pasted(photo, [(0, -half[1])], 1),
            photo.crop((0, 0, half[0], height)),
        ],
        "blurred beyond use": [
            photo.filter(ImageFilter.GaussianBlur(share * width)) for share in (0.02, 0.03, 0.06)
        ],
        "150 grey values off": [brighter(photo, by) for by in (150, -150)],
        "nine tenths covered": [covered(photo, grey) for grey in (0, 128, 255)],
        "in a corner of a strip": [pasted(photo, [(0, 0)], 1, (12 * width, height))],
    }


def brighter(photo: Image.Image, by: int) -> Image.Image:
    """All grey values so much larger, clipped."""
    return photo.point(lambda value: value + by)


def covered(photo: Image.Image, grey: int) -> Image.Image:
    """All but a frame of a tenth of the area in one grey."""
    photo = photo.copy()
    edge = [round(0.5 * (1 - 0.9**0.5) * side) for side in photo.size]
    photo.paste(grey, (*edge, photo.width - edge[0], photo.height - edge[1]))
    return photo


def pasted(
    photo: Image.Image,
    places: list[tuple[int, int]],
    factor: float,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """The part, larger or smaller, at these places of ground as grey as its corner."""
    canvas = Image.new("L", size or photo.size, photo.getpixel((2, 2)))
    part = photo.resize([round(factor * side) for side in photo.size])
    for place in places:
        canvas.paste(part, place)
    return canvas


def drawn(paint: Callable[[ImageDraw.ImageDraw], None], back: int = 200) -> Image.Image:
    """A picture of 300 x 300 px on plain ground."""
    image = Image.new("L", (SIDE_PX, SIDE_PX), back)
    paint(ImageDraw.Draw(image))
    return image


def ball(draw: ImageDraw.ImageDraw) -> None:
    for radius in range(110, 0, -1):
        draw.circle((150, 150), radius, fill=220 - radius)


def nut(draw: ImageDraw.ImageDraw) -> None:
    draw.regular_polygon((150, 150, 120), 6, fill=110)
    draw.circle((150, 150), 50, fill=30)


def ring(draw: ImageDraw.ImageDraw) -> None:
    draw.circle((150, 150), 125, fill=150)
    draw.circle((150, 150), 70, fill=30)


def star(draw: ImageDraw.ImageDraw) -> None:
    angles = np.pi * np.arange(10) / 5
    radii = np.where(np.arange(10) % 2, 50, 130)
    points = zip(150 + radii * np.sin(angles), 150 - radii * np.cos(angles), strict=True)
    draw.polygon([tuple(point) for point in points], fill=60)


def grid(draw: ImageDraw.ImageDraw) -> None:
    for place in range(0, SIDE_PX, 20):
        draw.line((0, place, SIDE_PX, place), fill=60, width=4)
        draw.line((place, 0, place, SIDE_PX), fill=90, width=3)


def page_of_text(draw: ImageDraw.ImageDraw) -> None:
    for line in range(18):
        draw.text((8, 4 + 16 * line), "the quick brown fox jumps over the lazy dog", fill=130)


def window(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle([0, 0, SIDE_PX, 24], fill=70)
    for line in range(8):
        box = [90, 40 + 30 * line, 280, 60 + 30 * line]
        draw.rectangle(box, fill=250 - 20 * line, outline=90)
