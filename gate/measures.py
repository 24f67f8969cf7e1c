"""What the gate looks at in a photograph: exposure, contrast, sharpness, shape, and the part."""

import numpy as np

WHITE, BLACK = 250, 5  # grey values from which on, or up to which, a pixel tells nothing
HUB = ("hub_x", "hub_y", "hub_size", "hub_roundness")


def measure(grey: np.ndarray, size_px: tuple[int, int] | None, hub: bool) -> dict[str, float]:
    """The measures of a resized image uint8 (S, S), by name.

    Args:
        size_px: width and height of the photograph before it was resized, if they are known.
        hub: whether to look for the hub of a pump impeller; when there is none, its measures are
            missing.
    """
    values = grey.astype(np.float32)
    found = {
        "white": float((grey >= WHITE).mean()),
        "black": float((grey <= BLACK).mean()),
        "contrast": float(values.std()),
        "detail": _detail(values),
    }
    if size_px:
        found |= {"aspect": size_px[0] / size_px[1], "side_px": float(min(size_px))}
    return found | (_hub(grey) if hub else {})


def _detail(values: np.ndarray) -> float:
    """Mean absolute Laplacian over mean absolute step from pixel to pixel.

    Well below 1 for what is blurred, nearly 3 for noise; the same for any brightness and contrast.
    """
    inner = values[1:-1, 1:-1]
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    step = np.abs(np.diff(values, axis=1)).mean()
    return float(np.abs(4 * inner - around).mean() / (step + 0.1))  # 0 where there is nothing


def _hub(grey: np.ndarray) -> dict[str, float]:
    """Place, size and roundness of the hub in shares of the image's width; empty without one."""
    # SciPy takes a while to import, and models of other products never look for a hub
    from PIL import Image

    from dataset.hubs import SIZE_PX, find_hub

    if len(grey) != SIZE_PX:
        image = Image.fromarray(grey).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        grey = np.asarray(image)
    ellipse = find_hub(grey)
    if ellipse is None:
        return {}
    half_axes = np.abs(np.linalg.eigvalsh(ellipse[1:]))
    x, y = (ellipse[0] - (SIZE_PX - 1) / 2) / SIZE_PX
    size = 2 * np.sqrt(half_axes.prod()) / SIZE_PX
    roundness = half_axes.min() / max(half_axes.max(), 1e-6)
    return dict(zip(HUB, map(float, (x, y, size, roundness)), strict=True))
