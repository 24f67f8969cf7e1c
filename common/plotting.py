"""What all figures share: no screen, two colours, PNG files written atomically."""

import io
from pathlib import Path

import matplotlib

from common.files import write_atomic

matplotlib.use("Agg")  # no screen needed

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, and free it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def escape_mathtext(text: str) -> str:
    """A text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")
