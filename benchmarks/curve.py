"""How many parts are enough: models of more and more of them, tested on the same unseen ones.

Each is a run of train.py with --parts, in a folder of its own: finished ones are skipped, an
interrupted one goes on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

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
        points = [point_of(args, parts) for parts in sorted(set(args.parts))]
        result = {
            "benchmark": "curve",
            **points[-1].pop("of"),
            "points": [{k: v for k, v in one.items() if k != "of"} for one in points],
            "machine": describe_machine(choose_device(args.device)),
        }
        write_json(args.out / RESULT, result)
        plot_curve(args.out / FIGURE, result["points"], f"{result['data']}: parts to learn from")
    return result


def training_options(args: argparse.Namespace, parts: int) -> argparse.Namespace:
    """What train.py is asked for; repeated, it goes on where it was."""
    given = {"--data": args.data, "--recipe": args.recipe, "--device": args.device,
             "--castings": args.castings, "--fold": args.fold}  # fmt: skip
    words = [word for name, v in given.items() if v is not None for word in (name, str(v))]
    words += ["--protocol", "casting", "--parts", str(parts), *args.options]
    words += ["--good-only"] if args.good_only else []
    out = args.out / f"parts{parts}"
    options = build_parser("").parse_args([*words, "--out", str(out)])
    options.corrected_labels = read_corrections(options.corrections_file)
    if settle_by_layout(options):
        choose_recipe(options)
    check_arguments(options)
    options.resume = (out / "last.pth").exists()
    return options


def refuse_one_sided(options: argparse.Namespace, settings: Settings) -> None:
    """Raise UserError unless there are good and defective parts to test on."""
    rows, _ = load_split(find_data(options.data, options.second_release), settings.split)
    kinds = {is_defect(row.label) for row in rows if row.split == "test"}
    if kinds != {True, False}:
        raise UserError("a curve needs good and defective parts to test on; there is one kind")


def point_of(args: argparse.Namespace, parts: int) -> dict:
    """What a model of so many good and so many defective parts reaches on the test part."""
    options = training_options(args, parts)
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
        "fold": checkpoint.fold,
        "tested": {"defective": counts["defects"], "good": counts["good"]},
    }
    return point | {"of": of}


def plot_curve(path: Path, points: Sequence[dict], title: str) -> None:
    """ROC-AUC and both kinds of errors over the number of parts."""
    import matplotlib.pyplot as plt

    from common.colours import DEFECT_COLOUR, GOOD_COLOUR, LINE_COLOUR
    from common.plotting import save

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    parts = [max(point["good_parts"], point["defective_parts"]) for point in points]
    lines = [(left, "roc_auc", "ROC-AUC", LINE_COLOUR)]
    if all("kind" in point for point in points):
        lines.append((left, "kind", "right kind of defect", "#8c8c8c"))
    lines += [
        (right, "missed", "defects missed", DEFECT_COLOUR),
        (right, "false_alarms", "good parts rejected", GOOD_COLOUR),
    ]
    for axis, name, label, colour in lines:
        values = [point[name] for point in points]
        axis.plot(parts, values, marker="o", color=colour, label=label)
    for axis in (left, right):
        axis.set(xlabel="good parts, and as many defective ones", xscale="log")
        axis.set_xticks(parts, [str(count) for count in parts], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    left.set(ylabel="share", ylim=(min(0.5, *left.get_ylim()), 1.0))
    right.set(ylabel="share of the test photographs", ylim=(0, None))
    figure.suptitle(title)
    save(figure, path)
