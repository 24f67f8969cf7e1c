"""Figures of the audit: the castings, and held-out images beside what train shows."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from common.colours import DEFECT_COLOUR, GOOD_COLOUR, LINE_COLOUR, REVIEW_COLOUR
from common.origin import for_product
from common.plotting import legend_above, save
from common.text import count_of

HATCH = "//////"  # of the images that are held out
IMAGES = ("images", "held_out")
GAP = 0.02  # between the classes, as a share of all castings


def plot_audit(
    path: Path, result: dict, scores: dict[str, np.ndarray], threshold: float, origin: str
) -> None:
    """Images per casting, held-out ones apart; how many show a known casting; score histogram.

    Without scores the first two.
    """
    shape = [["sizes", "sizes"], ["known", "scored"]] if scores else [["known", "sizes"]]
    figure = plt.figure(figsize=(11, 8.2 if scores else 4.4), layout="constrained")
    panels = figure.subplot_mosaic(shape, width_ratios=(1, 2 if scores else 3))
    draw_sizes(panels["sizes"], result["casting_table"], result["data"])
    draw_known(panels["known"], result["held_out_known"], result["data"])
    title = f"{result['castings']} castings, {result['castings_good']} of them good"
    if scores:
        draw_scores(panels["scored"], scores, threshold)
        baseline = result["copy_lookup"]["val and test"]
        title += f"; the nearest-neighbour baseline is {100 * baseline['accuracy']:.1f} % right"
    save(figure, path, for_product(title, result["data"]), origin)


def draw_sizes(axis: Axes, castings: Sequence[dict], data: str) -> None:
    """How many images each casting has, good castings after defective ones, the largest first."""
    first, centres = 0.0, {}
    for name, colour in (("defective", DEFECT_COLOUR), ("good", GOOD_COLOUR)):
        group = [line for line in castings if line["defective"] == (name == "defective")]
        if not group:
            continue
        # Of equal ones the most held out first: blocks, no stripes
        group.sort(key=lambda line: (-line["images"], -line["held_out"]))
        images, held_out = (np.array([line[key] for line in group]) for key in IMAGES)
        edges = first + np.arange(len(group) + 1)
        axis.stairs(images, edges, baseline=held_out, fill=True, color=colour, alpha=0.75,
                    label=f"{name}, in training")  # fmt: skip
        axis.stairs(held_out, edges, fill=True, facecolor="none", edgecolor=colour, hatch=HATCH,
                    label=f"{name}, held out")  # fmt: skip
        mixed = np.array([line["both_labels"] for line in group])
        if mixed.any():
            axis.plot(edges[:-1][mixed] + 0.5, images[mixed], "kx", label=f"{name}, both labels")
        centres[for_product(count_of(len(group), f"{name} casting"), data)] = edges.mean()
        first = edges[-1] + GAP * len(castings)
    axis.set(
        xlabel=for_product("largest casting of each class first", data),
        ylabel=for_product("images of each casting", data),
    )
    axis.set(xlim=(0, edges[-1]), ylim=(0, None))
    axis.set_xticks(list(centres.values()), list(centres))
    axis.tick_params(axis="x", length=0)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    legend_above(axis, columns=6)


def draw_known(axis: Axes, held_out_known: dict[str, dict], data: str) -> None:
    """The share of held-out images whose casting is also in training."""
    names = {"val": "validation", "test": "test"}
    shares = [100 * line["count"] / max(line["of"], 1) for line in held_out_known.values()]
    bars = axis.bar([names[split] for split in held_out_known], shares, color=LINE_COLOUR,
                    width=0.6)  # fmt: skip
    texts = [
        f"{share:.1f} %\n{line['count']:,} of {line['of']:,}"
        for share, line in zip(shares, held_out_known.values(), strict=True)
    ]
    axis.bar_label(bars, texts, padding=2)
    axis.set(ylim=(0, 125), yticks=range(0, 101, 25), ylabel="% of held-out images")
    title = for_product("show a casting that is also in training", data)
    axis.set_title(title, fontsize=10, loc="left")


def draw_scores(axis: Axes, scores: dict[str, np.ndarray], threshold: float) -> None:
    """How alike the rings of images are, of the same casting and of others."""
    edges = np.linspace(0, 1, 51)
    styles = ({"color": LINE_COLOUR, "alpha": 0.6},
              {"facecolor": "none", "edgecolor": REVIEW_COLOUR, "hatch": HATCH})  # fmt: skip
    for (name, values), style in zip(scores.items(), styles, strict=True):
        axis.stairs(np.histogram(values, edges)[0], edges, fill=True, label=name, **style)
    axis.axvline(threshold, color="black", linestyle=":", label=f"the same from {threshold:.2f} on")
    axis.set(xlabel="correlation of the rings", ylabel="images", xlim=(0, 1))
    legend_above(axis, columns=2)


def plot_copies(
    path: Path, lines: Sequence[Sequence[tuple[np.ndarray, str]]], title: str, origin: str
) -> None:
    """Images `(grey (H, W), caption)` side by side, one column for each line."""
    figure, axes = plt.subplots(
        len(lines[0]),
        len(lines),
        figsize=(2.7 * len(lines), 3.1 * len(lines[0]) + 0.3),
        layout="constrained",
        squeeze=False,
    )
    for column, line in zip(axes.T, lines, strict=True):
        for axis, (image, caption) in zip(column, line, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set_title(caption, fontsize=9)
            axis.set_axis_off()
    save(figure, path, title, origin)
