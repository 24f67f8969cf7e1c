"""Augmentation of training batches: many images of a part from one, on the device, B at a time.

Geometric augmentation comes first, then, with a recipe that has them, synthetic defects
(synthetic_defects.py), then photometric augmentation: so that a synthetic defect is as sharp, and
lit as much, as the part that it is on.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate, pad


def geometric_augmentation(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Move images (B, 1, S, S), each in its own way.

    'flip' draws from the eight mirrorings and quarter turns of the square, which move pixels but
    invent none; 'light' besides turns, stretches, zooms and shifts a little; 'full' rotates by any
    angle, mirrors, shifts and zooms; 'strong' stretches, too.
    """
    if kind == "flip":
        return _square_symmetry(images, generator)
    if kind == "light":
        return _nudged(_square_symmetry(images, generator), generator)
    if kind == "full":
        return _rotated(images, generator)
    return _stretched(images, generator) if kind == "strong" else images


def photometric_augmentation(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Change the light of images (B, 1, S, S) in 0..1, each in its own way.

    'full' and 'light' change gamma, contrast and brightness, and add noise; 'strong' more of it,
    besides moving highlights, glints, shadows over a part of the image, and blur. The others change
    nothing.
    """
    if kind in ("full", "light"):
        return _photometric(images, generator)
    if kind == "strong":
        return _strongly_photometric(_with_glints(images, generator), generator)
    return images


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Numbers (n, 1, 1, 1), one an image."""
    unit = torch.rand(n, 1, 1, 1, generator=generator, device=generator.device)
    return low + (high - low) * unit


def coordinates(side_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y of each pixel, (S, S) each, from -1 at one border to 1 at the other."""
    line = torch.linspace(-1, 1, side_px, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def smooth_noise(n: int, cells: int, side_px: int, generator: torch.Generator) -> Tensor:
    """Noise (n, 1, S, S) of deviation 1, `cells` independent values along a side."""
    coarse = torch.randn(n, 1, cells, cells, generator=generator, device=generator.device)
    return interpolate(coarse, size=side_px, mode="bicubic", align_corners=False)


# --- where the part lies -------------------------------------------------------------------------


def _square_symmetry(images: Tensor, generator: torch.Generator) -> Tensor:
    kinds = torch.randint(8, (len(images),), generator=generator, device=images.device)
    turned = torch.stack([torch.rot90(images, quarter, (2, 3)) for quarter in range(4)])
    picked = turned[kinds % 4, torch.arange(len(images), device=images.device)]
    return torch.where((kinds >= 4).view(-1, 1, 1, 1), picked.flip(3), picked)


def _nudged(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotation by up to 10 degrees, zoom and stretch in any direction, shift by up to 5 %.

    As a part lies that somebody put down: a brushed surface keeps its direction.
    """
    n = len(images)
    turn = uniform(n, -math.pi / 18, math.pi / 18, generator).flatten()
    direction = uniform(n, -math.pi, math.pi, generator).flatten()
    stretched = _rotation(-direction) @ _axes(n, generator) @ _rotation(direction)
    linear = _rotation(turn) @ stretched
    return _warped(images, torch.cat([linear, _shift(n, generator)], dim=2))


def _rotated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotation by any angle, mirror, zoom 0.9 to 1.1 and shift by up to 5 % of the side."""
    n = len(images)
    angle = uniform(n, -torch.pi, torch.pi, generator).flatten()
    zoom = uniform(n, 0.9, 1.1, generator).flatten()
    mirror = torch.randint(2, (n,), generator=generator, device=images.device) * 2 - 1
    # of the half side
    shift_x, shift_y = (uniform(n, -0.1, 0.1, generator).flatten() for _ in range(2))
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    theta = torch.stack([mirror * cos, -sin, shift_x, mirror * sin, cos, shift_y], dim=1)
    return _warped(images, theta.view(n, 2, 3))


def _stretched(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotation by any angle, mirror, zoom and stretch in any direction, shift by up to 5 %.

    Zoom from 0.85 to 1.17, one axis up to 1.22 times the other, as seen from 35 degrees aside.
    """
    n = len(images)
    turn, direction = (uniform(n, -torch.pi, torch.pi, generator).flatten() for _ in range(2))
    axes = _axes(n, generator)
    mirror = torch.randint(2, (n, 1), generator=generator, device=images.device) * 2 - 1
    axes = axes * torch.cat([mirror, torch.ones_like(mirror)], dim=1).unsqueeze(1)
    linear = _rotation(turn) @ axes @ _rotation(direction)
    return _warped(images, torch.cat([linear, _shift(n, generator)], dim=2))


def _axes(n: int, generator: torch.Generator) -> Tensor:
    """Diagonal matrices (B, 2, 2): zoom 0.85 to 1.17, one axis up to 1.22 times the other."""
    zoom = uniform(n, -0.16, 0.16, generator).exp().flatten()
    stretch = uniform(n, -0.1, 0.1, generator).exp().flatten()
    return torch.diag_embed(torch.stack([stretch / zoom, 1 / (stretch * zoom)], dim=1))


def _shift(n: int, generator: torch.Generator) -> Tensor:
    """Up to 5 % of the side either way, in half sides (B, 2, 1)."""
    return uniform(2 * n, -0.1, 0.1, generator).view(n, 2, 1)


def _rotation(angle: Tensor) -> Tensor:
    """Matrices (B, 2, 2)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _warped(images: Tensor, theta: Tensor) -> Tensor:
    """Where theta (B, 2, 3) takes a pixel's coordinates, there its grey is read."""
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    # 'border' goes on with the background; zeros would be black corners that tell the angle
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


# --- light ---------------------------------------------------------------------------------------


def _photometric(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma 0.7 to 1.4, contrast and brightness +-20 %, and sensor noise of up to 2 %."""
    n = len(images)
    mean = images.mean(dim=(2, 3), keepdim=True)
    gamma, contrast, brightness, noise = (
        uniform(n, low, high, generator)
        for low, high in ((0.7, 1.4), (0.8, 1.2), (0.8, 1.2), (0, 0.02))
    )
    images = ((images - mean) * contrast + mean).clamp(0, 1) ** gamma * brightness
    return _noisy(images, noise, generator).clamp(0, 1)


def _with_glints(images: Tensor, generator: torch.Generator) -> Tensor:
    """Up to three narrow bright sectors, anywhere: turned metal mirrors a lamp across its grooves.

    A sector is a von Mises density around the part's middle, of 3 to 20 degrees (standard
    deviation); three in five of them are there, and brighten by up to 90 %.
    """
    n, side = len(images), images.shape[-1]

    def draw(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    x, y = coordinates(side, images.device)
    around = torch.atan2(y - draw(-0.12, 0.12), x - draw(-0.12, 0.12))
    light = torch.ones_like(images)
    for _ in range(3):
        concentration = draw(math.log(8), math.log(300)).exp()
        sector = (concentration * (torch.cos(around - draw(-math.pi, math.pi)) - 1)).exp()
        light = light + draw(-0.6, 0.9).clamp(min=0) * sector
    return (images * light).clamp(0, 1)


def _strongly_photometric(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another lamp, another exposure (gamma and brightness by up to 1.6), sometimes blur or noise.

    A turned metal ring shows a lamp as bright sectors: one to three of them, anywhere.
    """
    n, side = len(images), images.shape[-1]

    def draw(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    x, y = coordinates(side, images.device)
    sectors = torch.randint(1, 4, (n, 1, 1, 1), generator=generator, device=images.device)
    highlights = torch.cos((torch.atan2(y, x) - draw(-torch.pi, torch.pi)) * sectors)
    direction = draw(-torch.pi, torch.pi)
    gradient = x * torch.cos(direction) + y * torch.sin(direction)
    shadows = smooth_noise(n, 4, side, generator)
    light = highlights * draw(0, 0.2) + gradient * draw(0, 0.25) + shadows * draw(0, 0.12)
    images = images * light.exp()

    mean = images.mean(dim=(2, 3), keepdim=True)
    images = ((images - mean) * draw(0.6, 1.4) + mean).clamp(0, 1)
    images = images ** draw(-0.5, 0.5).exp() * draw(-0.5, 0.3).exp()

    blurred = avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = torch.lerp(images, blurred, draw(-0.8, 0.8).clamp(min=0))
    return _noisy(images, draw(-0.01, 0.025).clamp(min=0), generator).clamp(0, 1)


def _noisy(images: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    grain = torch.randn(images.shape, generator=generator, device=images.device)
    return images + deviation * grain
