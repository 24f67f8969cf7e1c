"""Photographs with their predictions and heatmaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from common.text import chance
from imaging.framing import content
from imaging.overlays import overlay
from imaging.reading import decode_grey
from inspection.heatmap import Explainer, hottest_region
from inspection.options import OUTCOMES
from inspection.predictor import Prediction, Predictor

CONTACT_SHEET = "contact_sheet"


@dataclass(frozen=True)
class Explained:
    """A part, its decision and its map."""

    image: Image.Image  # grey, as large as the photograph
    prediction: Prediction
    heat: np.ndarray  # float32 (h, w), 0..1, as `maps_of` gives it

    def overlay(self, side_px: int | None = None, strength: float = 0.5) -> Image.Image:
        """The photograph under its heatmap; the hottest region outlined for a defect decision.

        What was not judged stays as it is.

        Args:
            side_px: makes it a square of this side, with white beside what is not square.
            strength: of the heatmap, 0 to 1; at 0 the photograph alone is left.
        """
        image = self.image
        if side_px:
            image = ImageOps.contain(image, (side_px, side_px), Image.Resampling.BILINEAR)
        if strength > 0 and self.prediction.decision:
            region = hottest_region(self.heat) if self.prediction.decision == "defect" else None
            image = overlay(image, self.heat, region, strength)
        return ImageOps.pad(image, (side_px, side_px), color="white") if side_px else image


def explain_images(
    predictor: Predictor,
    explainer: Explainer,
    images: Sequence[Image.Image],
    method: str | None = None,
) -> list[Explained]:
    """Decisions and maps of grey images of any size."""
    if not images:
        return []
    predictions, maps = predictor.predict(images), maps_of(explainer, images, method)
    return [Explained(*one) for one in zip(images, predictions, maps, strict=True)]


def explainer_of(predictor: Predictor) -> Explainer | None:
    """What makes a predictor's heatmaps; None for an ONNX file, which comes without its weights."""
    checkpoint = predictor.checkpoint
    return Explainer(checkpoint, predictor.device) if checkpoint.weights else None


def explain_predicted(
    explainer: Explainer, predicted: Sequence[tuple[bytes, Prediction]], largest_px: int
) -> list[Explained]:
    """Maps of photographs that have been inspected, given as the bytes of their files.

    Args:
        largest_px: images are shrunk until no side is longer.

    Raises:
        UnreadableImageError: one is no image.
    """
    if not predicted:
        return []
    images = [decode_grey(data) for data, _ in predicted]
    maps = maps_of(explainer, images)
    for image in images:
        image.thumbnail((largest_px, largest_px), Image.Resampling.BILINEAR)
    return [
        Explained(image, prediction, heat)
        for image, (_, prediction), heat in zip(images, predicted, maps, strict=True)
    ]


def maps_of(
    explainer: Explainer, images: Sequence[Image.Image], method: str | None = None
) -> list[np.ndarray]:
    """Heatmaps float32 (h, w) in 0..1 of grey images of any size, without the network's bars."""
    checkpoint = explainer.checkpoint
    grey = torch.from_numpy(np.stack([checkpoint.framed(image) for image in images]))
    maps = explainer.maps(grey, method)
    pairs = zip(images, maps, strict=True)
    return [content(heat, image.size, checkpoint.fit) for image, heat in pairs]


def decision_text(prediction: Prediction) -> str:
    """'defect: p(defect) 0.97, threshold 0.50', or why there is no decision."""
    p = prediction
    if not p.decision:
        return f"{OUTCOMES[p.outcome]}: {p.error}"
    found, threshold = chance(p.prob_defect), chance(p.threshold)
    just_below = p.prob_defect < p.threshold and found == threshold
    limit = f"just below the threshold {threshold}" if just_below else f"threshold {threshold}"
    return f"{p.decision}: p(defect) {found}, {limit}"
