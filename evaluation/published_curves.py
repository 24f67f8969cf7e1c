"""How many parts are enough: the learning curves of benchmark.py, as a table and a picture."""

from collections.abc import Sequence
from pathlib import Path

from common.origin import for_product, origin, seen_text

COLUMNS = (
    "good, defective parts", "photographs", "ROC-AUC", "right kind", "missed",
    "good ones rejected", "balanced accuracy",
)  # fmt: skip
COLOURS = ("#0072b2", "#e69f00", "#cc79a7", "#34495e")  # apart for the colour-blind
MARKERS = ("o", "s", "^", "D")


def curve_name(figures: dict) -> str:
    """What was learned from, by which recipe: one curve replaces another of the same name."""
    alone = ", good parts alone" if figures["good_only"] else ""
    return f"{figures['data']}, recipe {figures['recipe']}{alone}"


def balanced(point: dict) -> float:
    """The mean of the shares of defects and of good photographs judged right."""
    return 1 - (point["missed"] + point["false_alarms"]) / 2


def curves_text(results: dict) -> str:
    """A paragraph and a table for each curve."""
    return "\n".join(one_curve(name, figures) for name, figures in results["curves"].items())


def one_curve(name: str, figures: dict) -> str:
    """What it was tested on, and a line a model."""
    tested, folds = figures["tested"], figures["folds"]
    which = f"Fold {folds[0]}" if len(folds) == 1 else f"Means of {len(folds)} folds"
    text = (
        f"**{name}.** {which}; tested on the same "
        f"{tested['defective'] + tested['good']:,} photographs of unseen parts, "
        f"{tested['good']:,} of them good.\n\n"
    )
    text += f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"
    for point in figures["points"]:
        cells = [
            f"{point['good_parts']}, {point['defective_parts']}",
            f"{point['photographs']:,}",
            auc_text(point),
            f"{point['kind']:.0%}" if "kind" in point else "",
            *(f"{point[rate]:.1%}" for rate in ("missed", "false_alarms")),
            f"{balanced(point):.3f}",
        ]
        text += f"| {' | '.join(cells)} |\n".replace("%", " %")
    return text


def auc_text(point: dict) -> str:
    """'0.912 (0.880 to 0.943)': of several folds with the least and the largest."""
    least, largest = point["roc_auc_range"]
    spread = f" ({least:.3f} to {largest:.3f})" if least < largest else ""
    return f"{point['roc_auc']:.3f}{spread}"


def draw_curves(path: Path, curves: dict[str, dict]) -> None:
    """ROC-AUC and balanced accuracy over the number of parts, a line for each curve."""
    import matplotlib.pyplot as plt

    from common.plotting import legend_above, save

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
    counts = sorted({count for one in curves.values() for count in parts_of(one["points"])})
    for axis, label in zip(axes, ("ROC-AUC", "balanced accuracy"), strict=True):
        for number, (name, figures) in enumerate(curves.items()):
            points = figures["points"]
            values = [point["roc_auc"] if axis is axes[0] else balanced(point) for point in points]
            style = "--" if figures["good_only"] else "-"
            colour = COLOURS[number % len(COLOURS)]
            marker = MARKERS[number % len(MARKERS)]
            axis.plot(parts_of(points), values, style, marker=marker, color=colour, label=name)
            if axis is axes[0]:
                ranges = zip(*(point["roc_auc_range"] for point in points), strict=True)
                axis.fill_between(parts_of(points), *ranges, color=colour, alpha=0.12, lw=0)
        axis.set(xscale="log", xlabel="good parts, and as many defective ones")
        axis.set_title(label, loc="right", fontsize=10)
        axis.set_xticks(counts, [str(count) for count in counts], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set(ylim=(min(0.5, axes[0].get_ylim()[0]), 1.0), ylabel="on unseen parts")
    legend_above(axes[0], columns=1)
    save(figure, path, "How many parts are enough", curves_origin(curves))


def folds_text(curves: dict[str, dict]) -> str:
    """'folds 1, 2, 3', 'fold 1 alone'; of each curve, where they differ."""
    texts = [
        f"folds {', '.join(map(str, one['folds']))}" if one["folds"][1:]
        else f"fold {one['folds'][0]} alone"
        for one in curves.values()
    ]  # fmt: skip
    return " and ".join(dict.fromkeys(texts))


def curves_origin(curves: dict[str, dict]) -> str:
    """What stands below the curves."""
    tested = [one["tested"]["defective"] + one["tested"]["good"] for one in curves.values()]
    data = ", ".join(sorted({one["data"] for one in curves.values()}))
    models = sum(len(one["points"]) * len(one["folds"]) for one in curves.values())
    several = any(len(one["folds"]) > 1 for one in curves.values())
    shaded = "; shaded: from the worst to the best fold" if several else ""
    text = origin(
        f"models: one a point and fold, {models} in all{shaded}",
        folds_text(curves),
        f"data: {data}, tested on {' and '.join(f'{of:,}' for of in tested)} images",
        seen_text(0, sum(tested)),
        protocol="casting",
    )
    return text if "castings" in data.split(", ") else for_product(text, data)


def parts_of(points: Sequence[dict]) -> list[int]:
    """How many parts of either class each model has learned from, at most."""
    return [max(point["good_parts"], point["defective_parts"]) for point in points]
