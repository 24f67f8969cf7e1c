"""How many parts are enough: models of more and more of them, tested on the same unseen ones.

Each is a run of train.py with --parts, in a folder of its own: finished ones are skipped, an
interrupted one goes on. With several folds a point is the mean of theirs.
"""

import argparse
from statistics import mean

from benchmarks.timing import describe_machine
from common.errors import UserError
from common.files import output_folder, write_json
from common.labels import is_defect
from data_split import load_split
from dataset.arguments import settle_by_layout
from dataset.corrections import read_corrections
from dataset.folds import casting_classes
from dataset.sources import find_data
from evaluation.held_out import load_models, predict_split
from evaluation.published_curves import curve_name, draw_curves
from evaluation.report import summary
from networks.devices import choose_device
from training.options import build_parser, check_arguments, choose_recipe
from training.runs import train_in_processes
from training.settings import Settings, resolve_settings
from training.state import finished_run

RESULT, FIGURE = "curve.json", "curve.png"


def measure_curve(args: argparse.Namespace) -> dict:
    """Train and test models of so many parts, and draw what they reach.

    Raises:
        UserError: as of train.py; the data has too few parts.
    """
    with output_folder(args.out):
        folds = sorted(set(args.fold))
        of_folds = [
            [point_of(args, parts, fold) for fold in folds] for parts in sorted(set(args.parts))
        ]
        of = [point.pop("of") for points in of_folds for point in points][-len(folds) :]
        result = {
            "benchmark": "curve",
            **of[0],
            "folds": folds,
            "tested": {kind: sum(one["tested"][kind] for one in of) for kind in of[0]["tested"]},
            "points": [mean_point(points) for points in of_folds],
            "machine": describe_machine(choose_device(args.device)),
        }
        write_json(args.out / RESULT, result)
        draw_curves(args.out / FIGURE, {curve_name(result): result})
    return result


def mean_point(points: list[dict]) -> dict:
    """The point of several folds: means, counts rounded, and the least and the largest ROC-AUC."""
    aucs = [point["roc_auc"] for point in points]
    found = {name: mean(point[name] for point in points) for name in points[0]}
    counts = {name: round(found[name]) for name, value in points[0].items() if type(value) is int}
    return found | counts | {"roc_auc_range": [min(aucs), max(aucs)]}


def training_options(args: argparse.Namespace, parts: int, fold: int) -> argparse.Namespace:
    """What train.py is asked for; repeated, it goes on where it was."""
    given = {"--data": args.data, "--recipe": args.recipe, "--device": args.device,
             "--castings": args.castings, "--fold": fold}  # fmt: skip
    words = [word for name, v in given.items() if v is not None for word in (name, str(v))]
    words += ["--protocol", "casting", "--parts", str(parts), *args.options]
    words += ["--good-only"] if args.good_only else []
    out = args.out / f"fold{fold}" / f"parts{parts}"
    options = build_parser("").parse_args([*words, "--out", str(out)])
    options.corrected_labels = read_corrections(options.corrections_file)
    if settle_by_layout(options):
        choose_recipe(options)
    options.resume = (out / "last.pth").exists()
    check_arguments(options)
    return options


def refuse_one_sided(options: argparse.Namespace, settings: Settings) -> None:
    """Raise UserError unless there are good and defective parts to test on."""
    rows, _ = load_split(find_data(options.data, options.second_release), settings.split)
    kinds = {is_defect(row.label) for row in rows if row.split == "test"}
    if kinds != {True, False}:
        raise UserError("a curve needs good and defective parts to test on; there is one kind")


def point_of(args: argparse.Namespace, parts: int, fold: int) -> dict:
    """What a model of so many good and so many defective parts reaches on the fold's test part."""
    options = training_options(args, parts, fold)
    finished = finished_run(options.out) if options.resume else None
    settings = resolve_settings(options, finished and finished["training"])  # the same, or refused
    refuse_one_sided(options, settings)
    if not finished or settings.as_dict() != finished["training"]:
        train_in_processes(options)
    root = find_data(options.data, options.second_release)
    (model,) = load_models(options.out / "best.pth", root, args.device)
    tier = summary(predict_split(model, root, "test"))
    counts = tier["counts"]
    learned = [row for row in model.rows if row.split in ("train", "val")]
    defective = list(casting_classes(learned).values())
    point = {
        "parts": parts,  # asked for, of either class; there may be fewer
        "good_parts": defective.count(False),
        "defective_parts": defective.count(True),
        "photographs": len(learned),
        "roc_auc": tier["roc_auc"]["mean"],
        "missed": counts["missed"] / counts["defects"],
        "false_alarms": counts["false_alarms"] / counts["good"],
    }
    if kind := tier.get("kind"):
        point["kind"] = kind["count"] / kind["of"]
    checkpoint = model.checkpoint
    of = {
        "data": checkpoint.data,
        "recipe": checkpoint.training["recipe"],
        "good_only": checkpoint.training["good_only"],
        "tested": {"defective": counts["defects"], "good": counts["good"]},
    }
    return point | {"of": of}
