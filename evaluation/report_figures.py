"""The figures of test.py: of the part that matters all, of the others the main ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.marks import HEAD_BYTES, is_marked
from common.progress import announced
from evaluation import figures as plots
from evaluation.confusion_figure import plot_confusion
from evaluation.error_pictures import draw_errors, draw_parts
from evaluation.errors import decided_wrongly
from evaluation.held_out import Evaluation, Model
from evaluation.report import calibration_inputs
from metrics.calibration import calibration_errors, reliability

INTERVALS = "95 % intervals that take images for independent"
PICTURES, ERRORS = "predictions", "errors"
MAIN = {
    "confusion_matrix": "What was predicted of which class",
    "score_histogram": "How good and defective parts are scored",
}
MORE = {
    "roc_pr": "Caught defects against false alarms, and against precision, at every threshold",
    "threshold": "Errors at every threshold",
    "reliability": "How far probabilities can be believed",
    PICTURES: "Parts worth a look",
}


@dataclass(frozen=True)
class Drawn:
    """The figures of one tier: their files, and what each shows."""

    tier: str
    plots: dict[str, str]
    sheets: list[str]  # of its errors, the worst first
    errors: int  # missed defects and false alarms


def shown_tier(tiers: Sequence[Evaluation]) -> Evaluation:
    """The tier of which all is drawn: castings that training does not show, where there are any."""
    unseen = (tier for tier in tiers if tier.castings_known and not any(tier.seen))
    return next(unseen, tiers[0])


def draw_tiers(
    tiers: Sequence[Evaluation], models: Sequence[Model], out: Path, origins: Mapping[str, str]
) -> list[Drawn]:
    """All figures of the tier that matters, the main ones of the others; the former come first.

    Args:
        origins: what stands below a figure, by the tier's name.
    """
    remove_earlier(out)
    shown, drawn = shown_tier(tiers), []
    for tier in sorted(tiers, key=lambda tier: tier is not shown):
        suffix = "" if tier is shown else f"_{file_name(tier.name)}"
        names = MAIN | MORE if tier is shown else MAIN
        with announced(f"drawing figures of {tier.name}"):
            draw_main(tier, out, suffix, origins[tier.name])
            if tier is shown:
                draw_more(tier, out, origins[tier.name])
        path = out / f"{ERRORS}{suffix}.png"
        count = draw_errors(tier, models, path, origins[tier.name])
        numbers = ["", *(f"_{number}" for number in range(2, count + 1))]
        sheets = [f"{ERRORS}{suffix}{number}.png" for number in numbers]
        files = {f"{name}{suffix}.png": text for name, text in names.items()}
        drawn.append(Drawn(tier.name, files, sheets, len(decided_wrongly(tier))))
    return drawn


def file_name(tier: str) -> str:
    """A tier's name as a part of a file's: 'external line 3' is 'external_line_3'."""
    return re.sub(r"\W+", "_", tier).strip("_")


def remove_earlier(out: Path) -> None:
    """Take away figures of tiers that an earlier run into this folder has had."""
    for name in (*MAIN, ERRORS):
        for path in out.glob(f"{name}_*.png"):
            with open(path, "rb") as file:
                ours = is_marked(file.read(HEAD_BYTES))
            if ours:
                path.unlink()


def draw_main(evaluation: Evaluation, out: Path, suffix: str, origin: str) -> None:
    """The errors by class, and the scores."""
    parts, path = evaluation.parts, out / f"confusion_matrix{suffix}.png"
    plot_confusion(path, evaluation.confusion, evaluation.class_names, origin)
    path, thresholds = out / f"score_histogram{suffix}.png", parts.threshold.tolist()
    plots.plot_score_histogram(path, parts.is_defect, parts.prob_defect, thresholds, origin)


def draw_more(evaluation: Evaluation, out: Path, origin: str) -> None:
    """The figures that are drawn of one tier only."""
    parts = evaluation.parts
    scores, thresholds = (parts.is_defect, parts.prob_defect), parts.threshold.tolist()
    plots.plot_roc_pr(out / "roc_pr.png", *scores, parts.rejected, origin)
    plots.plot_threshold(out / "threshold.png", *scores, thresholds, origin)
    plots.plot_reliability(out / "reliability.png", reliability_curves(evaluation), origin)
    draw_parts(evaluation, out / "predictions.png", origin)


def reliability_curves(evaluation: Evaluation) -> list[tuple]:
    """The probabilities as they are and, where a temperature was fitted, before that."""
    before, after = calibration_inputs(evaluation)
    named = {f"as predicted, {INTERVALS}": after}
    if any(image.temperature != 1 for image in evaluation.images):
        named = {"before calibration": before, f"calibrated, {INTERVALS}": after}
    curves = []
    for name, prob in named.items():
        errors = calibration_errors(evaluation.parts.is_defect, prob)
        figures = ", ".join(f"{key} {errors[key.lower()]:.3f}" for key in ("Brier", "NLL", "ECE"))
        curves.append((f"{name}\n{figures}", *reliability(evaluation.parts.is_defect, prob)))
    return curves
