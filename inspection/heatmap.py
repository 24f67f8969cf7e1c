"""Where a decision comes from: the cells of a local network, or Grad-CAM and its relatives.

A local network (networks/local.py) has logits for each cell, so that its map is no guess: the
probability P of a defect that each cell finds, drawn from 0 at P = 1/2 to 1 at P = 1. It is exact,
and on one scale for all parts: where nothing speaks for a defect, nothing is hot.

For ResNet-18, and for comparison, a map explains logit(defect) - logit(good), of the likeliest
class of either kind. Stage k of the network (`layer1` to `layer4`) gives activations A (C channels
of h x w cells) and, by backpropagation, the gradient G of that difference with respect to them:

    Grad-CAM   relu(sum over channels of mean(G) A)      Selvaraju et al., 2017
    LayerCAM   relu(sum over channels of relu(G) A)      Jiang et al., 2021
    HiResCAM   relu(sum over channels of G A)            Draelos and Carin, 2020

The local network has the first two stages only. One of three scales (networks/multiscale.py) has
all four, and is explained as ResNet-18 is: its cells decide together with the whole, and do not say
where a defect is.

Late stages know what a defect is and early ones where: ResNet-18's default multiplies the maps of
all four, each the sum of LayerCAM and HiResCAM, of which now the one and now the other is led
astray, and averages over the eight positions in which an image may lie.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from dataset.batches import unit_range
from model import Checkpoint
from networks.classes import defect_margin
from networks.local import LocalNetwork, normalise_local_contrast

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDES = {name: 4 * 2**index for index, name in enumerate(STAGES)}  # input px from cell to cell


def stage_outputs(model: nn.Module, images: Tensor, first: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (B, C) and the outputs of all stages, of which those from `first` on take gradients.

    Nothing before `first` is remembered for backpropagation. Calls the network's parts one by one,
    so that no hook is left behind whatever happens.
    """
    local = isinstance(model, LocalNetwork)
    stages, outputs = stages_of(model), {}
    with torch.no_grad():
        if local:
            x = model.stem(normalise_local_contrast(images))
        else:
            x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        for name in stages[: stages.index(first) + 1]:
            outputs[name] = x = getattr(model, name)(x)
    outputs[first] = x = x.detach().requires_grad_()
    for name in stages[stages.index(first) + 1 :]:
        outputs[name] = x = getattr(model, name)(x)
    if local:
        return model.pooled(model.maps_of(tuple(outputs.values()))), outputs
    return model.fc(model.avgpool(x).flatten(1)), outputs


def stages_of(model: nn.Module) -> tuple[str, ...]:
    """The stages that a network has."""
    return tuple(name for name in STAGES if hasattr(model, name))


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Raw Grad-CAM (B, h, w) from activations and gradients (B, C, h, w)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(1).relu()


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Raw LayerCAM (B, h, w) from activations and gradients (B, C, h, w)."""
    return (gradients.relu() * activations).sum(1).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Raw HiResCAM (B, h, w) from activations and gradients (B, C, h, w)."""
    return (gradients * activations).sum(1).relu()


def enlarged(cells: Tensor, stride: int, size_px: int) -> Tensor:
    """Maps (B, h, w) at the input's size (B, S, S), bilinear, each cell where it looks.

    With the paddings of ResNet's layers cell i looks at input pixels around `stride * i`, not
    around the middle of the i-th of w equal parts: taking that instead would shift a map by half a
    cell, which is 16 px in the last stage.
    """
    places = (torch.arange(size_px, device=cells.device) / stride).clamp(max=cells.shape[-1] - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=cells.shape[-1] - 1)
    share = places - low
    rows = cells[:, low] * (1 - share)[:, None] + cells[:, high] * share[:, None]
    return rows[:, :, low] * (1 - share) + rows[:, :, high] * share


def has_cells(model: nn.Module) -> bool:
    """Whether a network decides by its cells alone, so that they say where a defect is."""
    return isinstance(model, LocalNetwork) and model.by_cells_alone


def margin_of_cells(model: nn.Module, images: Tensor, class_names: Sequence[str]) -> Tensor:
    """Logit margin of a defect in each cell of such a network, at the images' size (B, S, S)."""
    (cells,) = model(images, pool=False)
    return enlarged(defect_margin(cells, class_names), STRIDES["layer2"], images.shape[-1])


@dataclass(frozen=True)
class Method:
    """How a heatmap is made: maps of these stages, in the network's order, multiplied."""

    stages: tuple[str, ...]
    cams: tuple[Callable[[Tensor, Tensor], Tensor], ...]  # added up within a stage
    # Averaged over the image's quarter turns and mirror images, and smoothed. A part lies as it
    # likes: what speaks for a defect in one position only is noise.
    all_positions: bool = False

    def within(self, stages: tuple[str, ...]) -> "Method":
        """The same on a network with these stages: its last one in the place of later ones."""
        own = tuple(name for name in self.stages if name in stages) or stages[-1:]
        return replace(self, stages=own)


CELLS = "cells"  # the other method, which has no gradients
# Measured on rendered castings with masks: docs/experiments.md, 2026-11-24 and 26.
METHODS = {
    "fused": Method(STAGES, (layer_cam, hires_cam), all_positions=True),
    "layercam": Method(("layer3",), (layer_cam,)),
    "gradcam": Method(("layer4",), (grad_cam,)),
}
SMOOTHING = 1 / 56  # of the image: the width of a cell of the first stage


class Explainer:
    """A checkpoint ready to say where its decisions come from."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self.checkpoint = checkpoint
        self.device = device
        self.model = checkpoint.model().to(device).requires_grad_(False)
        cells = (CELLS,) if has_cells(self.model) else ()
        self.methods = (*cells, *METHODS)  # the first is the default

    @property
    def legend(self) -> str:
        """How to read a map of the default method."""
        if self.methods[0] == CELLS:
            return (
                "Brighter is surer: how probable a defect is at each place, drawn from one half "
                "on; on a good part nothing need be hot."
            )
        return (
            "Brighter is hotter: what speaks for a defect, on this part's own scale, so a good "
            "part has a brightest place too."
        )

    def maps(self, grey: Tensor, method: str | None = None) -> np.ndarray:
        """Heatmaps float32 (B, S, S) in 0..1 of resized grey images uint8 (B, S, S).

        1 is the hottest pixel, or, of cells, certainty. All 0 where nothing speaks for a defect.

        Raises:
            UserError: the network has no cells.
        """
        from scipy.ndimage import gaussian_filter

        method, grey = method or self.methods[0], grey.to(self.device)
        if method not in self.methods:
            raise UserError(f"--method {method}: only a local network has cells")
        if method == CELLS:
            return self.probability_of_cells(grey).cpu().numpy()
        how = METHODS[method].within(stages_of(self.model))
        if not how.all_positions:
            return self._map(grey, how).cpu().numpy()
        total = torch.zeros(grey.shape, device=self.device)
        for quarters in range(4):
            turned = grey.rot90(quarters, (1, 2))
            total += self._map(turned, how).rot90(-quarters, (1, 2))
            mirrored = self._map(turned.flip(2), how).flip(2)
            total += mirrored.rot90(-quarters, (1, 2))
        sigma = SMOOTHING * grey.shape[-1]
        smooth = gaussian_filter(total.cpu().numpy(), (0, sigma, sigma))
        return _to_unit(torch.from_numpy(smooth)).numpy()

    @torch.inference_mode()
    def probability_of_cells(self, grey: Tensor) -> Tensor:
        """2 P - 1 of each cell, or 0 for P < 1/2, at the images' size (B, S, S)."""
        parts = unit_range(grey).split(4)  # which stay in a CPU's cache
        names = self.checkpoint.class_names
        margins = [margin_of_cells(self.model, part, names) for part in parts]
        return (torch.cat(margins) / 2).tanh().relu()

    def _map(self, grey: Tensor, method: Method) -> Tensor:
        """A map in 0..1 (B, S, S) of the images as they lie."""
        product = torch.ones(grey.shape, device=self.device)
        for name, maps in self.cells(grey, method.stages, method.cams).items():
            size = grey.shape[-1]
            product *= sum(_to_unit(enlarged(cells, STRIDES[name], size)) for cells in maps)
        return _to_unit(product)

    def cells(
        self, grey: Tensor, stages: Sequence[str], cams: Sequence[Callable]
    ) -> dict[str, list[Tensor]]:
        """Raw maps (B, h, w) of each of `cams`, by stage, as the network's own cells."""
        # Whoever calls may be in inference mode, which would forbid gradients
        with torch.inference_mode(False), torch.enable_grad():
            images = unit_range(grey.clone())
            logits, outputs = stage_outputs(self.model, images, stages[0])
            wanted = [outputs[name] for name in stages]
            total = defect_margin(logits, self.checkpoint.class_names).sum()
            gradients = torch.autograd.grad(total, wanted)
        return {
            name: [cam(activations.detach(), gradient) for cam in cams]
            for name, activations, gradient in zip(stages, wanted, gradients, strict=True)
        }


def _to_unit(maps: Tensor) -> Tensor:
    """Maps (B, S, S), each divided by its maximum; zeros stay zeros."""
    highest = maps.flatten(1).amax(1)[:, None, None]
    return maps / highest.clamp(min=torch.finfo(maps.dtype).tiny)


def hottest_region(heat: np.ndarray) -> np.ndarray:
    """Bool (H, W): the connected region around the maximum that reaches half of it."""
    from scipy import ndimage

    if heat.max() <= 0:
        return np.zeros(heat.shape, bool)
    regions, _ = ndimage.label(heat >= heat.max() / 2)
    return regions == regions[np.unravel_index(heat.argmax(), heat.shape)]
