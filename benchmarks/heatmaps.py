"""Do heatmaps point at the defect? Measured on rendered castings, whose defects are known."""

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import describe_machine
from imaging.reading import read_framed
from inspection.heatmap import Explainer
from inspection.options import BATCH_SIZE
from model import find_checkpoint, load_checkpoint
from networks.devices import choose_device
from rendering.data_set import mask_path, render_dataset
from rendering.options import RenderOptions

REACH_PX = 10  # at 300 px
SEED = 1000  # castings that no model here was trained on


def pointing_hit(heat: np.ndarray, mask: np.ndarray, reach_px: float = REACH_PX) -> bool:
    """Whether the hottest pixel of a map (H, W) lies within `reach_px` of a mask (H, W).

    A constant map points nowhere (the pointing game of Zhang et al., 2016, whose tolerance is 15).
    """
    from scipy.ndimage import distance_transform_edt

    if heat.max() <= heat.min():
        return False
    place = np.unravel_index(heat.argmax(), heat.shape)
    return bool(distance_transform_edt(~mask)[place] <= reach_px)


def energy_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of a map's sum that lies in the mask (Wang et al., Score-CAM, 2020)."""
    return float((heat * mask).sum() / max(heat.sum(), 1e-12))


def measure_heatmaps(args: argparse.Namespace) -> dict:
    """Pointing game, energy and time of each method, on defective unseen castings."""
    path = find_checkpoint(args.checkpoint)
    explainer = Explainer(load_checkpoint(path), choose_device(args.device))
    size = explainer.checkpoint.image_size_px
    options = RenderOptions(
        castings=12, copies=2, unseen_castings=2 * args.parts, unseen_copies=1,
        sizes=tuple(args.sizes), masks=True, seed=SEED,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        render_dataset(root, options)
        paths = defective_unseen(root)
        fit = explainer.checkpoint.fit
        grey = torch.from_numpy(np.stack([read_framed(root / one, size, fit) for one in paths]))
        masks = [np.asarray(Image.open(root / mask_path(one))) > 0 for one in paths]
    return {
        "benchmark": "heatmaps",
        "machine": describe_machine(explainer.device),
        "checkpoint": str(path),
        "data": "synthetic castings",
        "sizes": args.sizes,
        "image_size": size,
        "parts": len(masks),
        "mask_share": round(float(np.mean(masks)), 4),
        "methods": [method_line(explainer, grey, masks, name) for name in explainer.methods],
    }


def defective_unseen(root: Path) -> list[str]:
    """Paths of the images in unseen/ that show a defect."""
    with open(root / "truth.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [r["path"] for r in rows if r["path"].startswith("unseen/") and r["defects"]]


def method_line(
    explainer: Explainer, grey: torch.Tensor, masks: Sequence[np.ndarray], name: str
) -> dict:
    """A line of the table."""
    started = time.perf_counter()
    maps = np.concatenate([explainer.maps(batch, name) for batch in grey.split(BATCH_SIZE)])
    ms_a_part = (time.perf_counter() - started) * 1000 / len(grey)
    height, width = masks[0].shape
    large = [
        np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR))
        for one in maps
    ]
    pairs = list(zip(large, masks, strict=True))
    hits = sum(pointing_hit(heat, mask) for heat, mask in pairs)
    return {
        "name": name,
        "hits": hits,
        "pointing": round(hits / len(pairs), 3),
        "energy": round(float(np.mean([energy_inside(*pair) for pair in pairs])), 3),
        "ms_a_part": round(ms_a_part, 1),
    }
