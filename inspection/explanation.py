"""Photographs with their predictions and heatmaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from imaging.overlays import overlay
from imaging.reading import decode_grey, resized
from inspection.heatmap import Explainer, hottest_region
from inspection.options import OUTCOMES
from inspection.predictor import Prediction, Predictor

CONTACT_SHEET = "contact_sheet"


@dataclass(frozen=True)
class Explained:
    """A part, its decision and its map."""

    image: Image.Image  # grey, as large as the photograph
    prediction: Prediction
    heat: np.ndarray  # float32 (S, S), 0..1

    def overlay(self, side_px: int | None = None, strength: float = 0.5) -> Image.Image:
        """The photograph under its heatmap; the hottest region outlined for a defect decision.

        What was not judged stays as it is.

        Args:
            side_px: makes it a square of this side.
            strength: of the heatmap, 0 to 1; at 0 the photograph alone is left.
        """
        image = self.image
        if side_px:
            image = image.resize((side_px, side_px), Image.Resampling.BILINEAR)
        if strength == 0 or not self.prediction.decision:
            return image
        region = hottest_region(self.heat) if self.prediction.decision == "defect" else None
        return overlay(image, self.heat, region, strength)


def explain_images(
    predictor: Predictor,
    explainer: Explainer,
    images: Sequence[Image.Image],
    method: str | None = None,
) -> list[Explained]:
    """Decisions and maps of grey images of any size."""
    if not images:
        return []
    grey = stacked(images, predictor.checkpoint.image_size_px)
    predictions, maps = predictor.predict(images), explainer.maps(grey, method)
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
    maps = explainer.maps(stacked(images, explainer.checkpoint.image_size_px))
    for image in images:
        image.thumbnail((largest_px, largest_px), Image.Resampling.BILINEAR)
    return [
        Explained(image, prediction, heat)
        for image, (_, prediction), heat in zip(images, predicted, maps, strict=True)
    ]


def stacked(images: Sequence[Image.Image], size_px: int) -> torch.Tensor:
    """Images of any size as the network's input, uint8 (B, S, S)."""
    return torch.from_numpy(np.stack([resized(image, size_px) for image in images]))


def decision_text(prediction: Prediction) -> str:
    """'defect: p(defect) 0.974, threshold 0.500', or why there is no decision."""
    p = prediction
    if not p.decision:
        return f"{OUTCOMES[p.outcome]}: {p.error}"
    return f"{p.decision}: p(defect) {p.prob_defect:.3f}, threshold {p.threshold:.3f}"
