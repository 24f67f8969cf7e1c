"""Measure a model on photographs that it was not trained on, and draw what there is to see.

    python test.py                          checkpoints/best.pth on the test part of its own split
    python test.py --split val              the same on the validation part
    python test.py --protocol casting       all folds: each image by a model that saw no copy of it
    python test.py --external FOLDER        also on class folders of other photographs, of any size

Every image is predicted once; every figure follows from predictions.csv. Each report says how many
of its images show a casting that is also in training. Data that has a folder `unseen/` (the
synthetic default has) is measured on that too. Where two photo sessions are known, figures are also
given by session. Writes into --out: predictions.csv, metrics.json, classification_report.txt,
confusion_matrix.png, roc_pr.png, score_histogram.png, threshold.png, reliability.png,
predictions.png, errors.png (all errors, with what spoke for a defect), and report.html: all of
these in one file, to mail and print. Where several sets are measured, these are of castings that
training does not show; of each other set there are confusion_matrix_<set>.png and so on.

The labels are those of the folders. --labels FILE adds the figures with labels that a
person has corrected.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

from common.arguments import number, script_parser
from common.errors import UserError, run_script
from common.files import output_folder, write_json
from common.progress import load_pytorch
from common.text import count_of
from dataset.listing import list_class_folders
from evaluation.named import check_named_models
from evaluation.options import add_model_arguments
from inspection.options import checked_band


def build_parser() -> argparse.ArgumentParser:
    """The options of test.py."""
    parser = script_parser(__doc__)
    add_model_arguments(parser)
    add = parser.add_argument
    add("--external", type=Path, metavar="FOLDER", help="class folders of other photographs")
    add(
        "--review", type=number, nargs=2, metavar=("LOW", "HIGH"),
        help="also report what it changes when a person decides all parts with a defect "
        "probability in between; default: nobody does",
    )  # fmt: skip
    add(
        "--labels", type=Path, dest="corrections_file", metavar="FILE",
        help="table with the columns path,label: also report the figures with these labels",
    )  # fmt: skip
    add("--no-cache", action="store_true", help="do not keep decoded images")
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for options that contradict each other."""
    checked_band(args.review)
    if args.protocol and (args.external or args.split != "test"):
        raise UserError("--external and --split go with one model, not with --protocol casting")
    if args.external and not args.external.is_dir():
        raise UserError(f"--external: no such folder: {args.external}")
    if args.external:
        list_class_folders(args.external, both_kinds=False)  # says what is wrong with it
    check_named_models(args)


def measure(args: argparse.Namespace, command: str) -> None:
    """Predict, write the figures into --out and print them."""
    load_pytorch(args.threads)
    from common.origin import for_product
    from dataset.sources import data_name
    from evaluation.by_session import session_table
    from evaluation.corrected import (
        corrected_lines,
        corrected_report,
        corrected_tiers,
        corrections_for,
    )
    from evaluation.held_out import load_models
    from evaluation.origin import facts_of, leak_line, origin_of
    from evaluation.report import (
        metrics_report,
        review_lines,
        tier_table,
        write_classification_report,
        write_predictions,
    )
    from evaluation.report_figures import draw_tiers
    from evaluation.report_page import NAME, write_page
    from evaluation.tiers import predict_tiers, training_data

    root = training_data(args)
    models = load_models(args.checkpoint, root, args.device, folds=args.protocol == "casting")
    labels = corrections_for(models, args.corrections_file)
    tiers = predict_tiers(args, models, root)
    corrected = corrected_tiers(tiers, labels, args.split)
    result = metrics_report(tiers, models, args.review)
    result |= corrected_report(tiers, corrected, args.corrections_file)
    first = tiers[0]
    title = f"{data_name(first.root)}, protocol {result['protocol']}, {first.name}"
    title = f"{title}, {count_of(len(first.rows), 'image')}"
    write_predictions(args.out / "predictions.csv", tiers, corrected)
    write_json(args.out / "metrics.json", result)
    write_classification_report(args.out / "classification_report.txt", first, title)
    facts = {tier.name: facts_of(tier, data_name(tier.root), tier.name) for tier in tiers}
    origins = {name: origin_of(models, some) for name, some in facts.items()}
    drawn = draw_tiers(tiers, models, args.out, origins)
    write_page(args.out, result, tiers, models, drawn, command)

    for model in models:
        print(f"checkpoint {model.path} ({model.predictor.model_id})")
    lines = [tier_table(result), *corrected_lines(result, models)]
    if sessions := session_table(result["tiers"]):
        lines.append(sessions)
    lines += [f"{tier.name}: {leak_line(tier)}" for tier in tiers]
    lines += review_lines(result)
    print(for_product("\n".join(lines), result["data"]))
    print(f"figures and predictions.csv are in {args.out}, all in one file: {args.out / NAME}")
    line = {"data": result["data"], "protocol": result["protocol"], "out": str(args.out)}
    tier = result["tiers"][first.name]
    line |= {key: tier[key] for key in ("images", "castings", "counts")}
    print(json.dumps(line | {"split": first.name, "roc_auc": tier["roc_auc"]["mean"]}))


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(argv)
    check_arguments(args)
    with output_folder(args.out):
        measure(args, shlex.join(["python", "test.py", *argv]))
    return 0


if __name__ == "__main__":
    run_script(main)
