"""3 x 3 convolution with a quarter of the multiplications, for training on a CPU.

Winograd's minimal filtering F(4x4, 3x3) computes 4 x 4 outputs from a tile of 6 x 6 inputs with 36
multiplications a pair of channels, where the definition needs 144 (A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, 2016, section 4). In matrices, for a tile d and a
kernel g, with the three constant matrices below:

    output = A^T [ (G g G^T) * (B^T d B) ] A

The product in the middle, summed over input channels, is 36 ordinary matrix products, which a CPU
does at its peak rate; so are those of the gradients, which reuse the transformed tiles. Outputs and
gradients differ from those of the definition by rounding: about 1e-5 of their largest value.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

TILE, PATCH = 4, 6  # outputs of a tile along each side, and the inputs that they depend on
INPUT = torch.tensor(  # B^T
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
KERNEL = torch.tensor(  # G
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
OUTPUT = torch.tensor(  # A^T
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float32,
)
# Numbers of a batch's transformed tiles that are worked on at once: more leave the cache of a core.
TILE_NUMBERS = 800_000
PIXELS_PER_CHANNEL = 4  # in a batch; below, transforming the kernels costs more than it saves


class WinogradConv2d(nn.Conv2d):
    """nn.Conv2d(C, K, 3, padding=1, bias=False) that trains faster on a CPU where that pays.

    In evaluation, on other devices, in other types, and on small maps it is nn.Conv2d itself.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and self.pays(images):
            return WinogradConvolution.apply(images, self.weight)
        return super().forward(images)

    def pays(self, images: Tensor) -> bool:
        """Whether tiles beat the definition, by measurement (docs/experiments.md)."""
        on_cpu = images.device.type == "cpu" and images.dtype == torch.float32
        # The kernels' part of the work grows with channels^2, the tiles' with pixels * channels.
        batch, channels, height, width = images.shape
        enough_pixels = batch * height * width >= PIXELS_PER_CHANNEL * channels
        return on_cpu and enough_pixels and not torch.is_autocast_enabled("cpu")


class WinogradConvolution(Function):
    """`apply(images (B, C, H, W), weight (K, C, 3, 3))` is their convolution, padded by one."""

    @staticmethod
    def forward(ctx, images: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        kernels = len(weight)
        down, across = -(-height // TILE), -(-width // TILE)  # tiles
        # Channels last, (B, H, W, C), so that a copy or a row of a matrix is a run of memory.
        around = (0, 0, 1, 1 + TILE * across - width, 1, 1 + TILE * down - height)
        padded = pad(images.permute(0, 2, 3, 1), around).contiguous()
        u = _both_axes(KERNEL, weight.permute(2, 3, 0, 1)).view(-1, kernels, channels)
        output = padded.new_empty(batch, TILE * down, TILE * across, kernels)
        at_once = max(1, TILE_NUMBERS // (PATCH**2 * down * across * channels))
        tiles = []
        for part, result in zip(padded.split(at_once), output.split(at_once), strict=True):
            patches = _overlapping_patches(part, down, across)
            v = _both_axes(INPUT, patches).view(PATCH**2, -1, channels)
            product = torch.bmm(v, u.transpose(1, 2))  # (36, tiles, K)
            outputs = _both_axes(OUTPUT, product.view(PATCH, PATCH, -1))
            result_tiles = _as_tiles(result)
            result_tiles.copy_(outputs.view(result_tiles.shape))
            tiles.append(v)
        ctx.save_for_backward(u, *tiles)
        ctx.sizes = batch, channels, height, width, at_once
        return output[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The adjoint of each step of `forward`, in reverse order."""
        u, *tiles = ctx.saved_tensors
        batch, channels, height, width, at_once = ctx.sizes
        down, across = -(-height // TILE), -(-width // TILE)
        kernels = gradient.shape[1]
        around = (0, 0, 0, TILE * across - width, 0, TILE * down - height)
        gradient = pad(gradient.permute(0, 2, 3, 1), around)
        of_padded = gradient.new_zeros(batch, TILE * (down + 1), TILE * (across + 1), channels)
        of_u = torch.zeros_like(u)
        parts = gradient.split(at_once), of_padded.split(at_once), tiles
        for part, of_images, v in zip(*parts, strict=True):
            of_outputs = _as_tiles(part).reshape(TILE, TILE, -1)
            of_product = _both_axes(OUTPUT.t(), of_outputs).view(PATCH**2, -1, kernels)
            of_u.baddbmm_(of_product.transpose(1, 2), v)
            of_v = torch.bmm(of_product, u)
            of_patches = _both_axes(INPUT.t(), of_v.view(PATCH, PATCH, -1))
            _add_patches(of_images, of_patches)
        of_weight = _both_axes(KERNEL.t(), of_u.view(PATCH, PATCH, kernels, channels))
        of_images = of_padded[:, 1 : height + 1, 1 : width + 1].permute(0, 3, 1, 2)
        return of_images, of_weight.permute(2, 3, 0, 1)


def _both_axes(matrix: Tensor, numbers: Tensor) -> Tensor:
    """M X M^T for a matrix M (r, k) and numbers X (k, k, ...): (r, r, ...)."""
    rows, columns = matrix.shape
    rest = numbers.shape[2:]
    first = (matrix @ numbers.reshape(columns, -1)).view(rows, columns, -1)
    return torch.matmul(matrix, first).view(rows, rows, *rest)


def _overlapping_patches(padded: Tensor, down: int, across: int) -> Tensor:
    """(B, H, W, C) to (6, 6, B * tiles * C): each tile's inputs, which it shares with the next."""
    batch, _, _, channels = padded.shape
    image, row, column, _ = padded.stride()
    shape = (PATCH, PATCH, batch, down, across, channels)
    strides = (row, column, image, TILE * row, TILE * column, 1)
    return padded.as_strided(shape, strides, padded.storage_offset()).reshape(PATCH, PATCH, -1)


def _add_patches(images: Tensor, patches: Tensor) -> None:
    """Add (6, 6, B * tiles * C) into (B, 4 * down + 4, 4 * across + 4, C): patches overlap."""
    tiles = _in_tiles(images)  # one more down and across than there are patches
    batch, down, _, across, _, channels = tiles.shape
    patches = patches.view(PATCH, PATCH, batch, down - 1, across - 1, channels)
    patches = patches.permute(2, 3, 0, 4, 1, 5)  # (B, down, 6, across, 6, C)
    tiles[:, :-1, :, :-1] += patches[:, :, :TILE, :, :TILE]
    tiles[:, 1:, :2, :-1] += patches[:, :, TILE:, :, :TILE]
    tiles[:, :-1, :, 1:, :2] += patches[:, :, :TILE, :, TILE:]
    tiles[:, 1:, :2, 1:, :2] += patches[:, :, TILE:, :, TILE:]


def _as_tiles(images: Tensor) -> Tensor:
    """(B, 4 * down, 4 * across, C) seen as (4, 4, B, down, across, C)."""
    return _in_tiles(images).permute(2, 4, 0, 1, 3, 5)


def _in_tiles(images: Tensor) -> Tensor:
    """(B, 4 * down, 4 * across, C) seen as (B, down, 4, across, 4, C)."""
    return images.unflatten(2, (-1, TILE)).unflatten(1, (-1, TILE))
