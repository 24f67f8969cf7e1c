"""What all figures share: no screen, files written atomically, text as it is, where from."""

import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.files import write_atomic
from common.marks import SOFTWARE
from common.text import printable

plt.switch_backend("Agg")  # no screen needed
TITLE_PT, ORIGIN_PT = 12, 8
LETTER_WIDTH = 0.56  # of the mean letter of matplotlib's font, as a share of its size


def save(figure: Figure, path: Path, title: str = "", origin: str = "") -> None:
    """Write a figure, as PDF if it is called so, else as PNG, atomically; frees it.

    Title and origin as of `figure_png`.
    """
    kind = "pdf" if path.suffix.lower() == ".pdf" else "png"
    write_atomic(path, drawn(figure, title, origin, kind))


def figure_png(figure: Figure, title: str = "", origin: str = "") -> bytes:
    """A figure as PNG; frees it.

    Args:
        title: what it shows; above it.
        origin: what it was drawn from (common/origin.py); small, below it.
    """
    return drawn(figure, title, origin, "png")


def drawn(figure: Figure, title: str, origin: str, kind: str) -> bytes:
    """A figure as PNG or PDF, marked as drawn by us; frees it."""
    if title:
        figure.suptitle(_wrapped(figure, title, TITLE_PT), fontsize=TITLE_PT)
    if origin:
        text = _wrapped(figure, origin, ORIGIN_PT)
        figure.supxlabel(text, x=0.01, horizontalalignment="left", fontsize=ORIGIN_PT)
    mark = {"Creator" if kind == "pdf" else "Software": SOFTWARE}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110, bbox_inches="tight", metadata=mark)
    plt.close(figure)
    return buffer.getvalue()


def _wrapped(figure: Figure, text: str, size_pt: float) -> str:
    """A text in lines that are no wider than the figure."""
    letters = int(72 * figure.get_figwidth() / (LETTER_WIDTH * size_pt))
    lines = (textwrap.fill(printable(line), letters) for line in text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")


def legend_above(axis: Axes, columns: int = 3) -> None:
    """A legend between an axis and its title, where it covers nothing."""
    handles, _ = axis.get_legend_handles_labels()
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(columns, len(handles)), fontsize=9,
        frameon=False, borderaxespad=0.2,
    )  # fmt: skip


def escape_mathtext(text: str, letters: int = 200) -> str:
    """A text that matplotlib can draw and does not take for a formula, at most `letters` of it.

    Longer ones leave no room for the charts.
    """
    text = printable(text)
    if len(text) > letters:
        text = f"{text[: letters - 1]}…"
    return text.replace("$", r"\$")
