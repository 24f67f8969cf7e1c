"""The confusion matrix as a figure: counts and rates, missed defects and false alarms named."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from common.colours import DEFECT_COLOUR, GOOD_COLOUR
from common.labels import is_defect
from common.plotting import escape_mathtext, legend_above, save
from common.text import count_of

NAME_LETTERS = 24
MOST_WITH_RATES = 8  # classes: a cell of more has room for its count alone


def plot_confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str], origin: str) -> None:
    """Confusion matrix (C, C): counts, and percentages of each true class."""
    import seaborn as sns

    several = len(class_names) > 2
    side = 3.2 + (0.85 if several else 1.3) * len(class_names)
    figure, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    names = [escape_mathtext(name, NAME_LETTERS) for name in class_names]
    sns.heatmap(
        matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1),
        annot=np.array(cell_texts(matrix, class_names)), fmt="", cmap="Blues", vmin=0, vmax=1,
        square=True, linewidths=1, xticklabels=names, yticklabels=names, ax=axis,
        annot_kws={"fontsize": 8 if several else 10},
        cbar_kws={"label": "share of the true class", "shrink": 0.8},
    )  # fmt: skip
    axis.set(xlabel="predicted", ylabel="true")
    axis.tick_params(axis="y", rotation=0)
    if several:
        axis.set_xticks(axis.get_xticks(), names, rotation=35, ha="right", rotation_mode="anchor")
        outline_errors(axis, class_names)
        legend_above(axis, columns=1)
    save(figure, path, errors_text(matrix, class_names), origin)


def kind_of_cell(true: str, predicted: str) -> str:
    """What it means that a part of one class was taken for one of another."""
    if is_defect(true):
        return "defects caught" if is_defect(predicted) else "missed defects"
    return "false alarms" if is_defect(predicted) else "good parts passed"


def cell_texts(matrix: np.ndarray, class_names: Sequence[str]) -> list[list[str]]:
    """What stands in each cell; of more than two classes, nothing where nothing was confused."""

    def text(i: int, j: int) -> str:
        count, of = int(matrix[i, j]), int(matrix[i].sum())
        share = f"{100 * count / max(of, 1):.1f} %"
        if len(class_names) == 2:
            kind = kind_of_cell(class_names[i], class_names[j])
            return f"{kind}\n{count:,} of {of:,}\n{share}"
        if not count and i != j:
            return ""
        return f"{count:,}\n{share}" if len(class_names) <= MOST_WITH_RATES else f"{count:,}"

    return [[text(i, j) for j in range(len(class_names))] for i in range(len(class_names))]


def errors_text(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """'1 missed defect of 24, 3 false alarms of 20 good parts'."""
    defect = np.array([is_defect(name) for name in class_names])
    missed, alarms = matrix[defect][:, ~defect].sum(), matrix[~defect][:, defect].sum()
    defects, good = matrix[defect].sum(), matrix[~defect].sum()
    return (
        f"{count_of(int(missed), 'missed defect')} of {defects:,}, "
        f"{count_of(int(alarms), 'false alarm')} of {count_of(int(good), 'good part')}"
    )


def outline_errors(axis: Axes, class_names: Sequence[str]) -> None:
    """Frames around the cells of missed defects and of false alarms."""
    styles = {"missed defects": (DEFECT_COLOUR, "-"), "false alarms": (GOOD_COLOUR, "--")}
    named = set()
    for i, true in enumerate(class_names):
        for j, predicted in enumerate(class_names):
            kind = kind_of_cell(true, predicted)
            if kind not in styles:
                continue
            colour, line = styles[kind]
            axis.add_patch(
                Rectangle(
                    (j + 0.06, i + 0.06), 0.88, 0.88, fill=False, edgecolor=colour, linestyle=line,
                    linewidth=1.8, label=None if kind in named else kind,
                )
            )  # fmt: skip
            named.add(kind)
