"""Shapes of synthetic defects: depth maps (n, 1, S, S) in 0..1 for a batch, on its device.

Lengths are in half sides of the image, as `coordinates` has them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dataset.augmentation import coordinates, smooth_noise, uniform

RAGGED = 32  # bumps of an outline along a side of the image
SPOTS, CRACKS = 0.4, 0.3  # shares, of defects anywhere; the rest are patches
EDGES = 4  # of a patch, at most


def on_ring(n: int, side: int, generator: torch.Generator) -> Tensor:
    """Spots of any direction and length with ragged edges, where an impeller has metal.

    Three in four lie on the ring or in the hub, one at the rim and along it. Radii from 0.018 to
    0.08, which is 3 to 12 px of 300.
    """
    draw = drawing(n, generator)
    around, at_rim = draw(-math.pi, math.pi), draw(0, 1) < 0.25
    radius = torch.where(at_rim, draw(0.78, 0.97), draw(0.45, 0.86))
    x, y = coordinates(side, generator.device)
    x, y = x - radius * torch.cos(around), y - radius * torch.sin(around)
    along_rim = around + math.pi / 2 + draw(-0.4, 0.4)
    angle = torch.where(at_rim, along_rim, draw(-math.pi, math.pi))
    along, across = turned(x, y, angle)

    size = draw(math.log(0.018), math.log(0.08)).exp()
    longish, scratch = draw(0, 1).exp(), draw(1, 2.2).exp()
    ratio = torch.where(draw(0, 1) < 0.15, scratch, longish)  # length to width
    return spot(along, across, size, ratio, draw, generator)


def anywhere(n: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spots, cracks and patches of any size in any place; and which are patches, (n, 1, 1, 1)."""
    draw = drawing(n, generator)
    x, y = coordinates(side, generator.device)
    x, y = x - draw(-0.9, 0.9), y - draw(-0.9, 0.9)
    along, across = turned(x, y, draw(-math.pi, math.pi))
    size, ratio = draw(math.log(0.015), math.log(0.3)).exp(), draw(0, 1).exp()
    depth = spot(along, across, size, ratio, draw, generator)
    kind = draw(0, 1)
    depth = torch.where(kind < SPOTS, depth, crack(along, across, draw, generator))
    is_patch = kind >= SPOTS + CRACKS
    return torch.where(is_patch, patch(x, y, draw), depth), is_patch


Draw = Callable[[float, float], Tensor]


def drawing(n: int, generator: torch.Generator) -> Draw:
    """A function that draws numbers (n, 1, 1, 1) between two bounds."""
    return lambda low, high: uniform(n, low, high, generator)


def turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates along and across a direction."""
    along = x * torch.cos(angle) + y * torch.sin(angle)
    return along, y * torch.cos(angle) - x * torch.sin(angle)


def spot(
    along: Tensor,
    across: Tensor,
    size: Tensor,
    ratio: Tensor,
    draw: Draw,
    generator: torch.Generator,
) -> Tensor:
    """An ellipse of this size and ratio of length to width, its outline ragged."""
    distance = (along**2 / ratio + across**2 * ratio) / size**2  # 1 on the outline
    ragged = smooth_noise(len(size), RAGGED, along.shape[-1], generator) * draw(0, 0.6)
    return torch.sigmoid((1 - distance + ragged) * draw(1.5, 5)) * (distance < 6)


def crack(along: Tensor, across: Tensor, draw: Draw, generator: torch.Generator) -> Tensor:
    """A thin line, bent and winding, of limited length."""
    length, width = draw(math.log(0.08), math.log(0.9)).exp(), draw(math.log(0.008), -3.5).exp()
    winding = draw(-0.12, 0.12) * length * torch.sin(along / length * draw(2, 9) + draw(-3, 3))
    rough = 0.01 * smooth_noise(len(length), RAGGED, along.shape[-1], generator)
    off = (across - draw(-0.5, 0.5) * along**2 / length - winding - rough).abs()
    return torch.sigmoid((width - off) * draw(80, 300)) * torch.sigmoid((length - along.abs()) * 40)


def patch(x: Tensor, y: Tensor, draw: Draw) -> Tensor:
    """A region with two to four straight edges, sharp or soft, else as far as the image goes."""
    depth = torch.ones_like(x)
    for number in range(EDGES):
        off = draw(0, 0.3) if number == 0 else draw(0.1, 0.7)
        direction = draw(-math.pi, math.pi)
        beyond = x * torch.cos(direction) + y * torch.sin(direction) - off
        edge = torch.sigmoid(-beyond * draw(30, 150))
        there = draw(0, 1) < (1 if number < 2 else 0.35)
        depth = torch.where(there, depth * edge, depth)
    return depth
