"""Decisions, probabilities and reasons in the page's words; nothing is drawn here."""

import re

from common.text import chance, printable
from gate.limits import NOT_JUDGED
from inspection.predictor import Prediction

# What became of a part (inspection.options.OUTCOMES has the terminal's words); as they are sorted
WORDS = {
    "review": "Review",
    "defect": "Defect",
    "ok": "Good",
    "not_judged": "Not judged",
    "error": "Unreadable",
}
SIGNS = {"review": "?", "defect": "✕", "ok": "✓", "not_judged": "!", "error": "!"}


def escape_markdown(text: str) -> str:
    """A text in Markdown that says itself: no links, images, formulas, icons, broken lines."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|$<>~:&])", r"\\\1", printable(text))


def decides(review: tuple[float, float] | None, threshold: float) -> bool:
    """Whether the review band holds the threshold, and so decides in its place."""
    return review is not None and review[0] <= threshold <= review[1]


def sentence(name: str, prediction: Prediction, review: tuple[float, float] | None) -> str:
    """The decision in words."""
    p = prediction
    if p.status == "error":
        return f"{name} cannot be read: {p.error}. It is not inspected."
    if p.status == NOT_JUDGED:
        return f"{name} is not judged: {p.error}. Take another photograph, or look at the part."
    found = chance(p.prob_defect, *(review or ()))
    if p.error:
        return f"{found}, but the part is {p.error}: look at it."
    if p.decision == "review":
        if review is None or not review[0] <= p.prob_defect < review[1]:  # of another band
            return f"{found}: look at it."
        return f"{found} lies between {review[0]:g} and {review[1]:g}: a person decides."
    above = p.decision == "defect"
    if decides(review, p.threshold):
        edge = f"{'above' if above else 'below'} {review[above]:g}"
        return f"{found} lies {edge}, where no person is asked."
    threshold = chance(p.threshold)
    just = "just " if found == threshold and p.prob_defect != p.threshold else ""
    return f"{found} lies {just}{'at or above' if above else 'below'} the threshold {threshold}."
