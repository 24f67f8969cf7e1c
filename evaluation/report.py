"""Measure a model on photographs that it was not trained on, and draw what there is to see.

    python test.py                          checkpoints/best.pth on the test part of its own split
    python test.py --split val              the same on the validation part
    python test.py --protocol casting       all folds: each image by a model that saw no copy of it
    python test.py --external FOLDER        also on class folders of other photographs, of any size

Every image is predicted once; every figure follows from predictions.csv. Each report says how many
of its images show a casting that is also in training. Data that has a folder `unseen/` (the
synthetic default has) is measured on that too. Writes into --out: predictions.csv, metrics.json,
classification_report.txt, confusion_matrix.png, roc_pr.png, score_histogram.png, threshold.png,
reliability.png, predictions.png, and errors.png: all errors, with what spoke for a defect.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from metrics import decisions as metrics
from evaluation import figures as plots
from metrics.calibration import calibration_errors, reliability, uncalibrated
from common.files import (
    UserError,
    count_of,
    is_defect,
    run_script,
    script_parser,
    usable_folder,
    write_atomic,
    write_csv,
    write_json,
)
from dataset.listing import data_name, find_data
from inspection.explanation import TILE_PX, explain, write_sheets
from inspection.heatmap import Explainer
from evaluation.held_out import (
    Judged,
    Model,
    add_model_arguments,
    checkpoint_hashes,
    judge,
    judge_folder,
    judge_folds,
    leak_line,
    load_models,
)
from imaging.reading import read_grey_image
from inspection.predictor import BATCH_SIZE, checked_band

BASES = {"rates": "images", "within_castings": "images within castings", "per_casting": "castings"}
RATES = ("missed_defects", "false_alarms", "accuracy", "recall")


# --- the figures ---------------------------------------------------------------------------------


def summary(judged: Judged) -> dict:
    """All figures of one tier."""
    parts = judged.parts
    before, after = calibration_inputs(judged)
    right_class = int(np.trace(judged.confusion))
    castings = [row.casting for row in judged.rows]
    return {
        **metrics.summarise(parts),
        "castings_known": judged.castings_known,
        "show_castings_in_training": sum(judged.seen) if judged.castings_known else None,
        "thresholds": sorted(set(parts.threshold.tolist())),
        "class_accuracy": {"count": right_class, "of": len(castings)},
        "confusion_matrix": judged.confusion.tolist(),
        "calibration": {
            "before": calibration_errors(parts.is_defect, before),
            "after": calibration_errors(parts.is_defect, after),
        },
    }


def calibration_inputs(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """P(defect) of the images (N,) at temperature 1 and as it is."""
    probabilities = np.array([p.probabilities for p in judged.predictions])
    raw = uncalibrated(probabilities, np.array(judged.temperatures))
    defect = [is_defect(name) for name in judged.class_names]
    return raw[:, defect].sum(axis=1), judged.parts.prob_defect


def report(
    tiers: Sequence[Judged], models: Sequence[Model], review: Sequence[float] | None
) -> dict:
    """The content of metrics.json."""
    checkpoint = models[0].checkpoint
    result = {
        "data": checkpoint.data,
        "protocol": checkpoint.protocol,
        "class_names": checkpoint.class_names,
        "intervals": metrics.INTERVALS,
        "tiers": {tier.name: summary(tier) for tier in tiers},
        "checkpoints": checkpoint_hashes(models),
        "epochs": [model.checkpoint.epoch for model in models],
        "operating_points": [model.checkpoint.operating_point for model in models],
        "split_sha256": [model.checkpoint.split_sha256 for model in models],
        "weights": checkpoint.training["weights"],
        "recipe": checkpoint.training["recipe"],
        "head": checkpoint.head,
        "image_size_px": checkpoint.image_size_px,
    }
    if review:
        result["review"] = {tier.name: review_band(tier.parts, *review) for tier in tiers}
    return result


def review_band(parts: metrics.Parts, low: float, high: float) -> dict:
    """What happens when a person decides all parts with `low` <= P(defect) < `high`."""
    inside = (parts.prob_defect >= low) & (parts.prob_defect < high)
    rest = parts.chosen(~inside).counts
    return {
        "low": low,
        "high": high,
        "images": len(inside),
        "for_review": int(inside.sum()),
        "missed_outside": rest.missed,
        "false_alarms_outside": rest.false_alarms,
    }


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
        lines.append(f"  {'':15}" + "".join(f"{'by ' + text:<46}" for text in BASES.values()))
        for rate in RATES:
            cells = [tier[basis].get(rate) for basis in BASES]
            texts = (metrics.format_rate(cell) if cell else "" for cell in cells)
            line = f"  {rate.replace('_', ' '):15}" + "".join(f"{text:<46}" for text in texts)
            lines.append(line.rstrip())
        if len(result["class_names"]) > 2:
            right = tier["class_accuracy"]
            lines.append(f"  right class    {right['count']}/{right['of']}")
        lines += [f"  {line}" for line in remarks(tier)]
    lines.append(f"intervals in brackets: {result['intervals']}")
    return "\n".join(lines)


def remarks(tier: dict) -> list[str]:
    """AUC, castings with both labels, and what the intervals mean here, as lines."""
    lines = []
    for title, key in (("ROC-AUC", "roc_auc"), ("  by castings", "per_casting_roc_auc")):
        auc = tier.get(key, {"mean": None})
        if auc["mean"] is not None:
            text = f"{title:14} {auc['mean']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})"
            if len(auc["folds"]) > 1:
                text += f", mean of {len(auc['folds'])} folds; all pooled {auc['pooled']:.4f}"
            lines.append(text)
    if tier["both_labels"]:
        without = tier["without_both_labels"]["counts"]
        lines.append(
            f"both labels    {', '.join(tier['both_labels'])}: in no casting-level rate; "
            f"without it {without['missed']}/{without['defects']} defects missed, "
            f"{without['false_alarms']}/{without['good']} false alarms"
        )
    alarms = tier["per_casting"].get("false_alarms", {})
    if tier["castings_known"] and alarms.get("rate") is not None and alarms["of"] < 60:
        lines.append(
            f"note           only {alarms['of']} good castings: any false-alarm rate from "
            f"{100 * alarms['low']:.0f} % to {100 * alarms['high']:.0f} % fits these figures"
        )
    return lines


def write_predictions(path: Path, tiers: Sequence[Judged]) -> None:
    """One line an image; all figures of this script follow from this file."""
    names = [f"prob_{name}" for name in tiers[0].class_names]
    columns = ["path", "label", "casting", "fold", "prob_defect", "decision", "threshold"]
    lines = (
        [
            *(row.path, row.label, row.casting, fold),
            *(f"{p.prob_defect:.8f}", p.decision, p.threshold, p.predicted_class),
            *(f"{value:.8f}" for value in p.probabilities),
        ]
        for tier in tiers
        for row, fold, p in zip(tier.rows, tier.folds, tier.predictions, strict=True)
    )
    write_csv(path, [*columns, "predicted_class", *names], lines)


def write_classification_report(path: Path, judged: Judged, title: str) -> None:
    from sklearn.metrics import classification_report

    text = classification_report(
        [row.label for row in judged.rows],
        [p.predicted_class for p in judged.predictions],
        labels=judged.class_names,
        digits=4,
        zero_division=0,
    )
    write_atomic(path, f"{title}\n\n{text}")


# --- the pictures --------------------------------------------------------------------------------


def most_telling(judged: Judged, count: int = 12) -> list[int]:
    """Indices of the parts worth a look: errors first, then those nearest to the threshold."""
    parts = judged.parts
    labels = np.array([row.label for row in judged.rows])
    predicted = np.array([p.predicted_class for p in judged.predictions])
    doubt = np.abs(parts.prob_defect - parts.threshold)
    return np.lexsort((doubt, labels == predicted))[:count].tolist()


def draw(judged: Judged, out: Path, title: str) -> None:
    """All figures of one tier."""
    parts = judged.parts
    scores = (parts.is_defect, parts.prob_defect)
    thresholds = parts.threshold.tolist()
    typical = float(np.median(parts.threshold))
    plots.plot_confusion(out / "confusion_matrix.png", judged.confusion, judged.class_names, title)
    plots.plot_roc_pr(out / "roc_pr.png", *scores, typical, title)
    plots.plot_score_histogram(out / "score_histogram.png", *scores, typical, title)
    plots.plot_threshold(out / "threshold.png", *scores, thresholds, title)
    curves = []
    for name, prob in zip(("before", "after"), calibration_inputs(judged), strict=True):
        errors = calibration_errors(parts.is_defect, prob)
        label = f"{name} calibration: " + ", ".join(
            f"{key} {errors[key]:.3f}" for key in ("brier", "nll", "ece")
        )
        curves.append((label, *reliability(parts.is_defect, prob)))
    plots.plot_reliability(
        out / "reliability.png", curves, f"{title}\n{errors['bins']} bins of equal width"
    )
    draw_parts(judged, out / "predictions.png", title)


def draw_parts(judged: Judged, path: Path, title: str) -> None:
    """The parts worth a look, as pictures."""
    parts = []
    for index in most_telling(judged):
        row, prediction = judged.rows[index], judged.predictions[index]
        picture = np.asarray(read_grey_image(judged.root / row.path))
        right = prediction.predicted_class == row.label
        judged_as = "" if right else f", judged {prediction.predicted_class}"
        caption = f"{row.label}{judged_as}\np(defect) = {prediction.prob_defect:.3f}"
        parts.append((picture, caption, right))
    plots.plot_parts(path, parts, f"{title}\nerrors, then the least certain")


def draw_errors(tiers: Sequence[Judged], models: Sequence[Model], path: Path, title: str) -> None:
    """errors.png and, beyond one sheet, errors_2.png and so on: every error with its heatmap."""
    wrong = []
    for tier in tiers:
        parts = tier.parts
        rejected = parts.prob_defect >= parts.threshold
        wrong.append(np.flatnonzero(parts.is_defect != rejected).tolist())
    counts = ", ".join(
        f"{tier.name}: {count_of(len(indices), 'error') if indices else 'no errors'}"
        for tier, indices in zip(tiers, wrong, strict=True)
    )
    pairs = zip(tiers, wrong, strict=True)
    tiles = (tile for tier, indices in pairs for tile in error_tiles(tier, models, indices))
    write_sheets(path, tiles, f"{title}; {counts}")


def error_tiles(
    judged: Judged, models: Sequence[Model], wrong: Sequence[int]
) -> Iterator[tuple[Image.Image, str, bool]]:
    """Overlays of the parts with these indices, each explained by the model that judged it."""
    for model in models:
        fold = model.checkpoint.fold or 0
        own = [index for index in wrong if judged.folds[index] == fold]
        explainer = Explainer(model.checkpoint, model.predictor.device)
        for start in tqdm(range(0, len(own), BATCH_SIZE), "explaining errors", disable=None):
            rows = [judged.rows[index] for index in own[start : start + BATCH_SIZE]]
            pictures = [read_grey_image(judged.root / row.path) for row in rows]
            found = explain(model.predictor, explainer, pictures)
            for row, one in zip(rows, found, strict=True):
                kind = "missed" if is_defect(row.label) else "false alarm"
                verdict = f"{judged.name}: {kind}, {one.prediction.prob_defect:.3f}"
                yield one.overlay(TILE_PX), f"{Path(row.path).stem}\n{verdict}", False


# --- the command line ----------------------------------------------------------------------------


def training_data(args: argparse.Namespace) -> Path | None:
    """Where the model's own images are; None where there are none, which others do without.

    Raises:
        UserError: there are none, but they are to be judged.
    """
    try:
        return find_data(args.data, download=False)
    except UserError as error:
        if args.data or not args.external:
            raise
        print(f"note: whether the model has seen these castings is unknown: {error}")
        return None


def measure(args: argparse.Namespace, models: Sequence[Model], root: Path | None) -> list[Judged]:
    """The tiers: held-out images first, then castings never seen and other photographs."""
    cache, model = not args.no_cache, models[0]
    if args.protocol == "casting":
        return [judge_folds(models, root, cache=cache)]
    tiers = []
    if any(row.split == args.split for row in model.rows) or not args.external:
        tiers.append(judge(model, root, args.split, cache=cache))
    if root and args.split == "test" and (root / "unseen").is_dir():
        tiers.append(judge_folder(model, root / "unseen", "unseen", root, cache=cache))
    if args.external:
        name = f"external {args.external.name}"
        outside = judge_folder(model, args.external.resolve(), name, root, cache=cache)
        if outside.castings_known and any(outside.seen):
            tiers.append(outside.chosen(outside.seen, f"{name}, castings in training"))
            outside = outside.chosen([not seen for seen in outside.seen], f"{name}, new castings")
        if outside.rows:
            tiers.append(outside)
    return tiers


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    add_model_arguments(parser)
    add = parser.add_argument
    add("--external", type=Path, metavar="FOLDER", help="class folders of other photographs")
    add(
        "--review",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="also report what it changes when a person decides all parts with a defect "
        "probability in between; default: nobody does",
    )
    add("--no-cache", action="store_true", help="do not keep decoded images")
    args = parser.parse_args(argv)
    checked_band(args.review)
    if args.protocol and (args.external or args.split != "test"):
        raise UserError("--external and --split go with one model, not with --protocol casting")
    if args.external and not args.external.is_dir():
        raise UserError(f"--external: no such folder: {args.external}")

    usable_folder(args.out)
    root = training_data(args)
    models = load_models(args.checkpoint, root, args.device, folds=args.protocol == "casting")
    tiers = measure(args, models, root)
    result = report(tiers, models, args.review)
    first = tiers[0]
    title = f"{data_name(first.root)}, protocol {result['protocol']}, {first.name}"
    title = f"{title}, {count_of(len(first.rows), 'image')}"
    write_predictions(args.out / "predictions.csv", tiers)
    write_json(args.out / "metrics.json", result)
    write_classification_report(args.out / "classification_report.txt", first, title)
    draw(first, args.out, title)
    draw_errors(tiers, models, args.out / "errors.png", title)

    for model in models:
        print(f"checkpoint {model.path} ({model.predictor.model_id})")
    print(tier_table(result))
    for tier in tiers:
        print(f"{tier.name}: {leak_line(tier)}")
    for name, band in result.get("review", {}).items():
        print(
            f"{name}: review band {band['low']:g} to {band['high']:g}: {band['for_review']} of "
            f"{band['images']} for a person; outside it {band['missed_outside']} missed, "
            f"{band['false_alarms_outside']} false alarms"
        )
    print(f"figures and predictions.csv are in {args.out}")
    line = {"data": result["data"], "protocol": result["protocol"], "out": str(args.out)}
    tier = result["tiers"][first.name]
    line |= {key: tier[key] for key in ("images", "castings", "counts")}
    print(json.dumps(line | {"split": first.name, "roc_auc": tier["roc_auc"]["mean"]}))
    return 0


if __name__ == "__main__":
    run_script(main)
