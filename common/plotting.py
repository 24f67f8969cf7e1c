"""What all figures share: no screen, files written atomically, text as it is."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from common.files import write_atomic
from common.marks import SOFTWARE
from common.text import printable

plt.switch_backend("Agg")  # no screen needed


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as PDF if it is called so, marked as ours, atomically; free it."""
    kind = "pdf" if path.suffix.lower() == ".pdf" else "png"
    mark = {"Creator" if kind == "pdf" else "Software": SOFTWARE}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110, bbox_inches="tight", metadata=mark)
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def escape_mathtext(text: str, letters: int = 200) -> str:
    """A text that matplotlib can draw and does not take for a formula, at most `letters` of it.

    Longer ones leave no room for the charts.
    """
    text = printable(text)
    if len(text) > letters:
        text = f"{text[: letters - 1]}…"
    return text.replace("$", r"\$")
