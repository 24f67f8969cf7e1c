"""Synthetic defects on photographs of good castings, in training: holes, dents, scratches, burrs.

Good castings with defects on them leave a network nothing but the defects to tell the classes
apart: part, light and background are the same. After CutPaste (Li et al., 2021), with shapes that
resemble casting defects. They are made for whole batches, on their device.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from dataset.augmentation import coordinates, smooth_noise, uniform

AT_MOST = 3  # defects on one part
VISIBLE = 0.06  # change in grey from which a pixel counts as part of a defect
LEAST_PIXELS = 3
RAGGED = 32  # bumps of an outline along a side of the image


def with_synthetic_defects(images: Tensor, chosen: Tensor, generator: torch.Generator) -> tuple:
    """Draw one to three defects on each of the chosen images.

    Args:
        images: (B, 1, S, S) in 0..1, parts roughly in the middle.
        chosen: bool (B,).

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
    for number in range(AT_MOST):
        drawn = _with_one(drawn, plain, number, generator)
    visible = (drawn - plain).abs() > VISIBLE
    visible &= (visible.sum(dim=(1, 2, 3)) >= LEAST_PIXELS).view(-1, 1, 1, 1)
    visible &= chosen[which].view(-1, 1, 1, 1)
    touched = visible.flatten(1).any(1).view(-1, 1, 1, 1)
    images[which] = torch.where(touched, drawn, plain)
    marks[which] = visible.float()
    return images, marks


def _with_one(images: Tensor, originals: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """One more defect on each image; from the second on only on every third."""
    n, side = len(images), images.shape[-1]

    def draw(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    depth = _shape(n, side, generator)  # (B, 1, S, S), 0..1
    if number:
        depth = depth * (draw(0, 1) < 0.35)
    kind, strength = draw(0, 1), draw(0.35, 0.95)
    elsewhere = originals.roll(1 + number, 0).roll((side // 7 * (number + 1), side // 5), (2, 3))
    dark = images * (1 - strength * depth)  # a hole, dirt
    bright = images + (draw(0.8, 1.0) - images) * strength * depth  # bare or molten metal
    foreign = images + (elsewhere - images) * depth  # another surface
    filled = torch.where(kind < 0.62, dark, torch.where(kind < 0.8, bright, foreign))

    # A lip: bright on the side that faces the lamp, dark on the other
    lamp = draw(-math.pi, math.pi)
    slope_x = pad(depth[..., 1:] - depth[..., :-1], (0, 1))
    slope_y = pad(depth[..., 1:, :] - depth[..., :-1, :], (0, 0, 0, 1))
    lip = slope_x * torch.cos(lamp) + slope_y * torch.sin(lamp)
    return (filled + lip * draw(0, 0.6)).clamp(0, 1)


def _shape(n: int, side: int, generator: torch.Generator) -> Tensor:
    """Depth maps (n, 1, S, S) in 0..1 of spots of any direction and length with ragged edges.

    Three in four lie on the ring or in the hub, one at the rim and along it. Lengths are in half
    sides of the image: radii from 0.018 to 0.08, which is 3 to 12 px of 300.
    """

    def draw(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    x, y = coordinates(side, generator.device)
    around, at_rim = draw(-math.pi, math.pi), draw(0, 1) < 0.25
    radius = torch.where(at_rim, draw(0.78, 0.97), draw(0.45, 0.86))
    x, y = x - radius * torch.cos(around), y - radius * torch.sin(around)
    along_rim = around + math.pi / 2 + draw(-0.4, 0.4)
    angle = torch.where(at_rim, along_rim, draw(-math.pi, math.pi))
    along = x * torch.cos(angle) + y * torch.sin(angle)
    across = y * torch.cos(angle) - x * torch.sin(angle)

    size = draw(math.log(0.018), math.log(0.08)).exp()
    longish, scratch = draw(0, 1).exp(), draw(1, 2.2).exp()
    ratio = torch.where(draw(0, 1) < 0.15, scratch, longish)  # length to width
    distance = (along**2 / ratio + across**2 * ratio) / size**2  # 1 on the outline
    ragged = smooth_noise(n, RAGGED, side, generator) * draw(0, 0.6)
    inside = torch.sigmoid((1 - distance + ragged) * draw(1.5, 5))
    return inside * (distance < 6)
