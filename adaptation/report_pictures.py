"""The pictures on the page of an adaptation: probabilities, and where good parts look bad."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from scipy.special import expit, logit
from torch import nn

from adaptation.leaving_out import HeldOut
from adaptation.task import Parent, Task
from common.colours import DEFECT_COLOUR, GOOD_COLOUR, outcome_colour
from common.origin import origin
from common.plotting import figure_png, legend_above
from common.text import chance
from dataset.batches import unit_range
from imaging.overlays import TILE_PX, contact_sheets, overlay, png
from inspection.heatmap import has_cells, hottest_region, margin_of_cells

TILES = 8
PROBABILITIES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # marked; beyond them, drawn at the ends


def score_chart(task: Task, held_out: HeldOut, point: float) -> bytes:
    """P(defect) of good photographs and of drawn defects by size, before and now, as PNG."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
    parent = task.parent
    panels = (
        (task.before, -parent.point, "before"),
        ((held_out.good, held_out.drawn), point, "now"),
    )
    width = 100 * task.drawn.width
    for axis, ((of_good, of_drawn), even, title) in zip(axes, panels, strict=True):
        good, drawn = (
            log_odds(parent, scores, even).clip(*logit(PROBABILITIES)[[0, -1]])
            for scores in (of_good, of_drawn)
        )
        axis.scatter(width, drawn, 9, DEFECT_COLOUR, alpha=0.6, label="defects drawn on good parts")
        axis.scatter(np.zeros(len(good)), good, 22, GOOD_COLOUR, marker="D", label="good parts")
        decision = parent.checkpoint.threshold if title == "before" else 0.5
        axis.axhline(logit(decision), color="black", linewidth=1)
        axis.annotate("rejected", (1, logit(decision)), (-4, 4), ("axes fraction", "data"),
                      "offset points", ha="right", fontsize=8)  # fmt: skip
        axis.set(xlabel="size of the defect, % of the width", xlim=(-1, None))
        axis.set_title(title, loc="right", fontsize=10)
    first, *between, last = PROBABILITIES
    labels = [f"up to {first}", *map(str, between), f"from {last}"]
    axes[0].set_yticks(logit(PROBABILITIES), labels)
    axes[0].set_ylabel("probability of a defect")
    legend_above(axes[0], columns=1)
    return figure_png(figure, origin=origin_of(task))


def log_odds(parent: Parent, scores: np.ndarray, even: float) -> np.ndarray:
    """Of P(defect) (N,), by scores; `even`: the score at which it is 0.5.

    The chart's scale, which parts 0.99 from 0.999 as far as 0.9 from 0.99.
    """
    return (scores - even) / parent.checkpoint.temperature


def origin_of(task: Task) -> str:
    """What stands by the pictures."""
    return origin(
        f"model: adapted from {task.parent.sha256[:12]}",
        f"data: the new line, {task.good.describe()}",
    )


def hottest(task: Task, network: nn.Module, point: float) -> bytes:
    """The good photographs that are nearest to being rejected, and where, as PNG.

    Args:
        point: the score at which the network decides.
    """
    scores = task.parent.scores(network, task.good.pixels)
    found, tiles = expit(log_odds(task.parent, scores, point)), []
    for index in np.argsort(-scores)[:TILES]:
        one = task.good.photographs[index]
        heat = relative_heat(network, one.pixels, task.parent)
        picture = Image.fromarray(one.pixels).resize((TILE_PX, TILE_PX))
        region = hottest_region(heat)
        caption = f"{one.path.name}\n{task.good.parts[index]}, p(defect) {chance(found[index])}"
        tiles.append((overlay(picture, heat, region), caption, outcome_colour("ok")))
    title = "good parts, the most suspicious first"
    (sheet,) = contact_sheets(tiles, TILE_PX, title, origin_of(task), len(scores))
    return png(sheet)


@torch.inference_mode()
def relative_heat(network: nn.Module, pixels: np.ndarray, parent: Parent) -> np.ndarray:
    """The hottest tenth of an image's cells (S, S), 0 to 1 on this image's own scale.

    Nothing need be probable there. A network without cells has no such map: zeros.
    """
    if not has_cells(network):
        return np.zeros(pixels.shape, np.float32)
    image = unit_range(torch.tensor(pixels[None]).to(parent.device))
    margins = margin_of_cells(network, image, parent.checkpoint.class_names)
    usual = margins.quantile(0.9)
    heat = ((margins - usual) / (margins.max() - usual).clamp(min=1e-6)).clamp(0, 1)
    return heat[0].cpu().numpy()
