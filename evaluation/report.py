"""The report of test.py: figures, tables, and the files that they follow from."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common.files import write_atomic, write_csv
from common.labels import is_defect
from common.origin import for_product
from common.text import count_of
from dataset.releases import release_counts
from evaluation.held_out import (
    Evaluation,
    Model,
    checkpoint_hashes,
)
from gate.limits import NOT_JUDGED, REVIEW
from metrics import decisions
from metrics.calibration import calibration_errors, uncalibrated
from metrics.exact import certificate, certificate_text
from metrics.review import review_band, review_text

BASES = {"rates": "images", "within_castings": "images within castings", "per_casting": "castings"}
RATES = ("missed_defects", "false_alarms", "accuracy", "recall")
SIDE_BY_SIDE = (("rates", "per_casting"), ("within_castings",))  # bases, to fit a terminal
WIDTH, INDENT = 120, 17  # of the table in letters


# --- the figures ---------------------------------------------------------------------------------


def summary(evaluation: Evaluation) -> dict:
    """All figures of one tier; `by_session` holds the same of each session if two are known."""
    parts = evaluation.parts
    sessions = {
        name: summary(evaluation.chosen(mask, name)) for name, mask in parts.by_session.items()
    }
    figures = decisions.summarise(parts)
    before, after = calibration_inputs(evaluation)
    right_class = int(np.trace(evaluation.confusion))
    castings = [row.casting for row in evaluation.rows]
    return {
        **figures,
        "releases": release_counts(evaluation.rows),
        "certificate": certified(evaluation, figures["per_casting"]),
        "castings_known": evaluation.castings_known,
        "show_castings_in_training": sum(evaluation.seen) if evaluation.castings_known else None,
        "thresholds": sorted(set(parts.threshold.tolist())),
        "gate": gated(evaluation),
        "class_accuracy": {"count": right_class, "of": len(castings)},
        **kinds_told(evaluation),
        "confusion_matrix": evaluation.confusion.tolist(),
        "calibration": {
            "before": calibration_errors(parts.is_defect, before),
            "after": calibration_errors(parts.is_defect, after),
        },
        **({"by_session": sessions} if sessions else {}),
    }


def kinds_told(evaluation: Evaluation) -> dict:
    """Of defective images: of how many the likeliest kind of defect is the right one.

    Whatever the decision; {} where the model knows one kind only.
    """
    names = evaluation.class_names
    kinds = [index for index, name in enumerate(names) if is_defect(name)]
    if len(kinds) < 2:
        return {}
    pairs = [
        (names[max(kinds, key=prediction.probabilities.__getitem__)], row.label)
        for row, prediction in zip(evaluation.rows, evaluation.predictions, strict=True)
        if is_defect(row.label)
    ]
    return {"kind": {"count": sum(told == true for told, true in pairs), "of": len(pairs)}}


def certified(evaluation: Evaluation, per_casting: dict) -> dict | None:
    """What the good castings certify; None where castings are unknown: images are no trials."""
    alarms = per_casting.get("false_alarms")
    if alarms is None or not evaluation.castings_known:
        return None
    return certificate(alarms["count"], alarms["of"])


def gated(evaluation: Evaluation) -> dict | None:
    """What the gate would refuse or hand to a person, and the errors on what it lets pass."""
    opinions = [image.gate for image in evaluation.images]
    if None in opinions:
        return None
    passed = np.array([not opinion for opinion in opinions])
    counts = evaluation.parts.chosen(passed).counts
    names = ("missed", "defects", "false_alarms", "good")
    return {
        **{name: opinions.count(name) for name in (NOT_JUDGED, REVIEW)},
        **{name: getattr(counts, name) for name in names},
    }


def calibration_inputs(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """P(defect) of the images (N,) at temperature 1 and as it is."""
    probabilities = np.array([p.probabilities for p in evaluation.predictions])
    raw = uncalibrated(probabilities, np.array([image.temperature for image in evaluation.images]))
    defect = [is_defect(name) for name in evaluation.class_names]
    return raw[:, defect].sum(axis=1), evaluation.parts.prob_defect


def metrics_report(
    tiers: Sequence[Evaluation], models: Sequence[Model], review: Sequence[float] | None
) -> dict:
    """The content of metrics.json."""
    checkpoint = models[0].checkpoint
    result = {
        "data": checkpoint.data,
        "protocol": checkpoint.protocol,
        "class_names": checkpoint.class_names,
        "intervals": decisions.INTERVALS,
        "tiers": {tier.name: summary(tier) for tier in tiers},
        "checkpoints": checkpoint_hashes(models),
        "epochs": [model.checkpoint.epoch for model in models],
        "operating_points": [model.checkpoint.operating_point for model in models],
        "split_sha256": [model.checkpoint.split_sha256 for model in models],
        "weights": checkpoint.training.get("weights"),
        "recipe": checkpoint.training.get("recipe"),
        "head": checkpoint.head,
        "image_size_px": checkpoint.image_size_px,
    }
    if review:
        result["review"] = {tier.name: review_band(tier.parts, *review) for tier in tiers}
    return result


# --- the tables ----------------------------------------------------------------------------------


def tier_table(result: dict) -> str:
    """One block a tier: what a manufacturing engineer reads first, in three ways of counting."""
    lines = []
    for name, tier in result["tiers"].items():
        good = count_of(tier["castings_good"], "good one")
        castings = f"{count_of(tier['castings'], 'casting')}, {good}"
        if not tier["castings_known"]:
            castings = "castings unknown"
        lines.append(f"{name}: {count_of(tier['images'], 'image')} of {castings}")
        for bases in SIDE_BY_SIDE:
            heads = [for_product(f"by {BASES[basis]}", result["data"]) for basis in bases]
            lines.append(columns("", heads))
            lines += [columns(rate.replace("_", " "), rate_texts(tier, rate, bases))
                      for rate in RATES]  # fmt: skip
        if len(result["class_names"]) > 2:
            right = tier["class_accuracy"]
            lines.append(f"  right class    {right['count']}/{right['of']}")
        if kind := tier.get("kind"):
            lines.append(f"  right kind     {kind['count']}/{kind['of']} of the defective images")
        lines += [wrapped(f"  {line}") for line in remarks(tier)]
    lines.append(wrapped(f"intervals in brackets: {result['intervals']}"))
    return "\n".join(lines)


def columns(name: str, texts: Sequence[str]) -> str:
    """A line of the table."""
    cells = "".join(f"{text:<46}" for text in texts)
    return f"  {name:<{INDENT - 2}}{cells}".rstrip()


def rate_texts(tier: dict, rate: str, bases: Iterable[str]) -> list[str]:
    """A rate in some ways of counting, as text; '' where nothing is counted so."""
    cells = (tier[basis].get(rate) for basis in bases)
    return [decisions.format_rate(cell) if cell else "" for cell in cells]


def wrapped(line: str) -> str:
    """A line in as many as it takes to fit a terminal."""
    return textwrap.fill(
        line, WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False, break_long_words=False
    )


def review_lines(result: dict) -> list[str]:
    """What a person who decides the parts in between would change, by tier and session."""
    lines = []
    for name, band in result.get("review", {}).items():
        lines.append(
            f"{name}: review band {band['low']:g} to {band['high']:g}: {review_text(band)}"
        )
        for session, part in band.get("by_session", {}).items():
            lines.append(f"  session {session}: {review_text(part)}")
    return lines


def remarks(tier: dict) -> list[str]:
    """AUC, castings with both labels, and what the intervals mean here, as lines."""
    lines = []
    balanced = tier["within_castings"].get("balanced_accuracy", {"rate": None})
    if balanced["rate"] is not None:
        lines.append(f"{'balanced acc.':14} {balanced_text(balanced)}, within castings")
    for key, title, what in (
        ("roc_auc", "ROC-AUC", ""),
        ("per_casting_roc_auc", "", "by castings "),
    ):
        auc = tier.get(key, {"mean": None})
        if auc["mean"] is not None:
            text = f"{title:14} {what}{auc['mean']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})"
            if len(auc["folds"]) > 1:
                text += f", mean of {len(auc['folds'])} folds; all pooled {auc['pooled']:.4f}"
            lines.append(text)
    if gate := tier["gate"]:
        lines.append(
            f"gate           {gate[NOT_JUDGED]} not judged, {gate[REVIEW]} for review; of the "
            f"others {gate['missed']}/{gate['defects']} defects missed, "
            f"{gate['false_alarms']}/{gate['good']} false alarms"
        )
    if tier["both_labels"]:
        without = tier["without_both_labels"]["counts"]
        lines.append(
            f"both labels    {', '.join(tier['both_labels'])}: in no rate by castings; "
            f"without it {without['missed']}/{without['defects']} defects missed, "
            f"{without['false_alarms']}/{without['good']} false alarms"
        )
    alarms = tier["per_casting"].get("false_alarms", {})
    if tier["castings_known"] and alarms.get("rate") is not None and alarms["of"] < 60:
        lines.append(
            f"note           only {alarms['of']} good castings: any false-alarm rate from "
            f"{100 * alarms['low']:.0f} % to {100 * alarms['high']:.0f} % fits these figures"
        )
    if tier["certificate"]:
        lines.append(f"certificate    {certificate_text(tier['certificate'])}")
    return lines


def balanced_text(balanced: dict) -> str:
    """'92.3 % (88.1 % to 95.0 %)'."""
    rate, low, high = (100 * balanced[key] for key in ("rate", "low", "high"))
    return f"{rate:.1f} % ({low:.1f} % to {high:.1f} %)"


def write_predictions(
    path: Path, tiers: Sequence[Evaluation], corrected: Sequence[Evaluation] | None = None
) -> None:
    """One line an image; all figures of test.py follow from this file.

    Args:
        corrected: the tiers with corrected labels, which make a further column.
    """
    names = [f"prob_{name}" for name in tiers[0].class_names]
    columns = ["path", "label", "casting", "session", "fold"]
    columns += ["prob_defect", "decision", "threshold", "predicted_class"]
    lines = (
        [
            *(image.row.path, image.row.label, image.row.casting, image.row.session, image.fold),
            *(f"{p.prob_defect:.8f}", p.decision, p.threshold, p.predicted_class),
            *(f"{value:.8f}" for value in p.probabilities),
            image.gate,
        ]
        for tier in tiers
        for image in tier.images
        for p in [image.prediction]
    )
    columns += [*names, "gate"]
    if corrected:
        labels = (row.label for tier in corrected for row in tier.rows)
        lines = ([*line, label] for line, label in zip(lines, labels, strict=True))
        columns.append("corrected_label")
    write_csv(path, columns, lines)


def write_classification_report(path: Path, evaluation: Evaluation, title: str) -> None:
    from sklearn.metrics import classification_report

    text = classification_report(
        [row.label for row in evaluation.rows],
        [p.predicted_class for p in evaluation.predictions],
        labels=evaluation.class_names,
        digits=4,
        zero_division=0,
    )
    write_atomic(path, f"{title}\n\n{text}")
