"""Synthetic defects on photographs of good castings, in training: holes, dents, scratches, burrs.

Good castings with defects on them leave a network nothing but the defects to tell the classes
apart: part, light and background are the same. After CutPaste (Li et al., 2021), with shapes that
resemble casting defects, or, for other products, cracks and patches too (defect_shapes.py). They
are made for whole batches, on their device.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from dataset.defect_shapes import Draw, anywhere, drawing, on_ring

AT_MOST = 3  # defects on one part
VISIBLE = 0.06  # change in grey from which a pixel counts as part of a defect
LEAST_PIXELS = 3
TEXTURE_PX = 9  # window over which a patch's grey is taken apart from its texture


def with_synthetic_defects(
    images: Tensor, chosen: Tensor, generator: torch.Generator, where: str = "ring"
) -> tuple[Tensor, Tensor]:
    """Draw one to three defects on each of the chosen images.

    Args:
        images: (B, 1, S, S) in 0..1, for 'ring' impellers, roughly in the middle.
        chosen: bool (B,).
        where: 'ring', or 'anywhere' on the photograph, whatever it shows: then of any size, and
            with cracks and patches.

    Returns:
        `(images, marks)`: marks, float (B, 1, S, S), are 1 where a defect is to be seen. An image
        on which too little is to be seen is given back as it was, without marks.
    """
    images, marks = images.clone(), torch.zeros_like(images)
    # A GPU draws on all and drops the others: it is faster than waiting for how many are chosen.
    which = chosen.nonzero().flatten() if chosen.device.type == "cpu" else slice(None)
    plain = drawn = images[which]
    if len(plain) == 0:
        return images, marks
    if where == "ring":
        for number in range(AT_MOST):
            drawn = _with_one_on_ring(drawn, plain, number, generator)
    else:
        grey, part = _smoothed(plain), shown(plain)
        for number in range(AT_MOST):
            drawn = _with_one_anywhere(drawn, plain, grey, number, generator)
        drawn = torch.where(part, drawn, plain)
    visible = (drawn - plain).abs() > VISIBLE
    visible &= (visible.sum(dim=(1, 2, 3)) >= LEAST_PIXELS).view(-1, 1, 1, 1)
    visible &= chosen[which].view(-1, 1, 1, 1)
    touched = visible.flatten(1).any(1).view(-1, 1, 1, 1)
    images[which] = torch.where(touched, drawn, plain)
    marks[which] = visible.float()
    return images, marks


def _with_one_on_ring(
    images: Tensor, originals: Tensor, number: int, generator: torch.Generator
) -> Tensor:
    """One more defect on each image; from the second on only on every third."""
    n, side = len(images), images.shape[-1]
    draw, depth = drawing(n, generator), on_ring(n, side, generator)
    if number:
        depth = depth * (draw(0, 1) < 0.35)
    kind, strength = draw(0, 1), draw(0.35, 0.95)
    elsewhere = _moved(originals.roll(1 + number, 0), number)
    filled = _filled(images, elsewhere, depth, kind, strength, draw)
    return _with_lip(filled, depth, draw).clamp(0, 1)


def _with_one_anywhere(
    images: Tensor, originals: Tensor, grey: Tensor, number: int, generator: torch.Generator
) -> Tensor:
    """The same anywhere; `grey` are the originals without their texture."""
    n, side = len(images), images.shape[-1]
    draw, (depth, is_patch) = drawing(n, generator), anywhere(n, side, generator)
    if number:
        depth = depth * (draw(0, 1) < 0.35)
    kind, strength = draw(0, 1), draw(0.25, 0.95)
    of_itself = draw(0, 1) < 0.5

    def another(place: Tensor) -> Tensor:
        return torch.where(of_itself, _moved(place, 2), _moved(place.roll(1 + number, 0), number))

    elsewhere = another(originals)
    filled = _filled(images, elsewhere, depth, kind, strength, draw)
    lip = _with_lip(filled, depth, draw)
    texture = originals - grey, elsewhere - another(grey)
    surface = _other_surface(originals, elsewhere, grey, texture, draw)
    patched = images + (surface - images) * depth
    return torch.where(is_patch, patched, lip).clamp(0, 1)


def shown(images: Tensor) -> Tensor:
    """Bool (B, 1, S, S): pixels of the photograph; rows and columns of one grey are bars."""
    rows = images.amax(3, keepdim=True) > images.amin(3, keepdim=True)
    columns = images.amax(2, keepdim=True) > images.amin(2, keepdim=True)
    return rows & columns


def _moved(images: Tensor, number: int) -> Tensor:
    side = images.shape[-1]
    return images.roll((side // 7 * (number + 1), side // 5), (2, 3))


def _filled(
    images: Tensor, elsewhere: Tensor, depth: Tensor, kind: Tensor, strength: Tensor, draw: Draw
) -> Tensor:
    """Dark, bright, or another surface, where the depth is."""
    dark = images * (1 - strength * depth)  # a hole, dirt
    bright = images + (draw(0.8, 1.0) - images) * strength * depth  # bare or molten metal
    foreign = images + (elsewhere - images) * depth  # another surface
    return torch.where(kind < 0.62, dark, torch.where(kind < 0.8, bright, foreign))


def _with_lip(images: Tensor, depth: Tensor, draw: Draw) -> Tensor:
    """Bright on the side of a defect that faces the lamp, dark on the other."""
    lamp = draw(-math.pi, math.pi)
    slope_x = pad(depth[..., 1:] - depth[..., :-1], (0, 1))
    slope_y = pad(depth[..., 1:, :] - depth[..., :-1, :], (0, 0, 0, 1))
    lip = slope_x * torch.cos(lamp) + slope_y * torch.sin(lamp)
    return images + lip * draw(0, 0.6)


def _other_surface(
    originals: Tensor, elsewhere: Tensor, grey: Tensor, texture: tuple[Tensor, Tensor], draw: Draw
) -> Tensor:
    """What a patch shows: another place, other grey, other texture, or more or less of its own."""
    kind, (own, other) = draw(0, 1), texture
    brighter = originals * draw(-0.6, 0.6).exp()
    rougher = grey + own * draw(-1.2, 0.8).exp()
    textured = grey + other * draw(-0.5, 0.7).exp()
    found = torch.where(kind < 0.8, rougher, textured)
    return torch.where(kind < 0.35, elsewhere, torch.where(kind < 0.6, brighter, found))


def _smoothed(images: Tensor) -> Tensor:
    margin = TEXTURE_PX // 2
    wide = pad(images, (margin, margin, margin, margin), mode="replicate")
    # Along one side and then the other: 18 sums a pixel instead of 81
    return avg_pool2d(avg_pool2d(wide, (1, TEXTURE_PX), stride=1), (TEXTURE_PX, 1), stride=1)
