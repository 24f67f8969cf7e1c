"""Shortcut tests: does a model decide by light or background? Changes held-out images to find out.

    python probe.py --images 200                a quick look: at most 200 images a class
    python probe.py                             the checkpoint's own test part, all of it
    python probe.py --protocol casting          all folds: unseen castings only
    python probe.py --gate                      pictures of nothing: what the gate lets pass
    python probe.py --label-issues --protocol casting     labels that are likely wrong

Every image is predicted as it is and under ten perturbations: brightness, contrast and histogram
changed; the ring blurred (fine defects gone, light and shape kept); the ring gone (the whole part
painted over with its mean grey: only the background is left); the background replaced by one grey.
A model that still tells good from defective castings with the ring gone (the interval of its AUC
excludes 0.5) takes a shortcut. That is said of unseen castings only: on known ones the background
may just remind it of the casting. Where two photo sessions are known, the AUC is also given within
each: a model that only tells the sessions apart is at 0.5 there.

Writes into --out: probes.json, probes.csv (one line an image and perturbation) and probes.png.
Takes eleven times as long as test.py, and a tenth more for changing the images.

--gate asks another question: of what does the model say anything at all? It counts what becomes of
plain grey, gradients, noise, drawings and pages, of held-out photographs and those in --external as
they are, and of some held-out ones (--images, default 20) spoiled in twenty ways: too small, too
large, cut, doubled, covered, blurred, over- and underexposed. Writes gate.json.

--label-issues lists the images whose label the predictions of models that never saw the casting
contradict, suspicious castings first. Writes label_issues.csv and label_issues.png, the first of
them with heatmaps. Nothing is dropped: a person corrects the table's column label and gives it to
train.py --labels.
"""

import argparse
import json
from pathlib import Path

from common.arguments import positive, script_parser
from common.csv_dialects import DIALECTS, add_csv_dialect_argument
from common.errors import UserError, run_script
from common.files import output_folder, write_json
from common.progress import load_pytorch
from common.text import count_of
from evaluation.named import check_named_models
from evaluation.options import UNSEEN, add_model_arguments


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options of probe.py, checked against each other."""
    parser = script_parser(__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        "--images", type=positive, metavar="N", help="N images a class, at random; default: all"
    )
    parser.add_argument(
        "--gate", action="store_true", help="what the gate refuses, instead of the shortcut tests"
    )
    parser.add_argument(
        "--external", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="with --gate: other photographs of parts",
    )  # fmt: skip
    parser.add_argument(
        "--label-issues", action="store_true", help="labels that are likely wrong, instead"
    )
    add_csv_dialect_argument(parser)
    args = parser.parse_args(argv)
    if args.protocol and args.split != "test":
        raise UserError("--protocol casting pools the test parts of all folds; leave out --split")
    if args.protocol and args.gate:
        raise UserError("--gate tests one model; leave out --protocol")
    if args.external and not args.gate:
        raise UserError("--external goes with --gate; test.py measures other photographs")
    if args.label_issues and (args.gate or args.images):
        raise UserError(
            "--label-issues looks at the labels of all images; leave out --gate and --images"
        )
    if args.csv_dialect != "plain" and not args.label_issues:
        raise UserError("--csv-dialect goes with --label-issues: programs read the other tables")
    check_named(args)
    return args


def check_named(args: argparse.Namespace) -> None:
    """Raise UserError for photographs or models that are named and not there."""
    for folder in args.external:
        if not folder.is_dir():
            raise UserError(f"--external: no such folder: {folder}")
    check_named_models(args)


def find_wrong_labels(args: argparse.Namespace) -> None:
    """What a person should look at before the next training."""
    from dataset.sources import data_name, find_data
    from evaluation import label_issues
    from evaluation.held_out import load_models
    from evaluation.origin import facts_of, origin_of

    root = find_data(args.data, args.second_release, download=False)
    models = load_models(args.checkpoint, root, args.device, folds=args.protocol == "casting")
    judged = label_issues.judged_images(models, root, args.split)
    found = label_issues.label_issues(judged)
    title = f"{data_name(root)}, {judged.name}: {count_of(len(found.order), 'label')} likely wrong"
    title = f"{title} of {count_of(len(judged.rows), 'image')}"
    dialect = DIALECTS[args.csv_dialect]
    label_issues.write_label_issues(args.out / "label_issues.csv", judged, found.order, dialect)
    origin = origin_of(models, facts_of(judged, data_name(root), judged.name))
    label_issues.draw_label_issues(
        args.out / "label_issues.png", judged, models, found.order, origin
    )
    for model in models:
        print(f"checkpoint {model.path} ({model.predictor.model_id})")
    print(title)
    for casting in found.castings:
        print(label_issues.casting_line(casting))
    print(f"label_issues.csv and label_issues.png are in {args.out}")
    line = {"images": len(judged.rows), "issues": len(found.order)}
    print(json.dumps(line | {"castings": len(found.castings), "out": str(args.out)}))


def test_gate(args: argparse.Namespace) -> None:
    """What becomes of pictures that are no sound photographs of the part."""
    from dataset.sources import find_data
    from evaluation.gate_tests import PHOTOGRAPHS, passed, run_gate_tests, table
    from evaluation.held_out import load_models

    root = find_data(args.data, args.second_release, download=False)
    (model,) = load_models(args.checkpoint, root, args.device)
    found = run_gate_tests(model, root, args.split, args.images or PHOTOGRAPHS, args.external)
    write_json(args.out / "gate.json", found)
    print(f"checkpoint {model.path} ({model.predictor.model_id})")
    print(table(found["gate"]))
    print(f"{passed(found['gate'])} pictures that are no photographs of a part are decided")
    print(f"gate.json is in {args.out}")
    print(json.dumps(found["gate"]))


def measure(args: argparse.Namespace) -> None:
    """Predict, write the figures into --out and print them."""
    from dataset.sources import data_name, find_data
    from evaluation.by_session import session_probe_table
    from evaluation.figures import plot_probes
    from evaluation.held_out import load_models
    from evaluation.origin import facts_of, leak_line, origin_of
    from evaluation.perturbations import OF_PLACE
    from evaluation.shortcut_tests import run_shortcut_tests, shortcut_report, table, write_probes

    folds = args.protocol == "casting"
    root = find_data(args.data, args.second_release, download=False)
    models = load_models(args.checkpoint, root, args.device, folds=folds)
    result = run_shortcut_tests(models, root, args.split, args.images)
    found = shortcut_report(result, models)
    part = UNSEEN if folds else args.split
    title = f"{data_name(root)}, protocol {found['protocol']}, {part}"
    title = f"{title}, {count_of(found['images'], 'image')}"
    write_probes(args.out / "probes.csv", result)
    write_json(args.out / "probes.json", found)
    origin = origin_of(models, facts_of(result, data_name(root), part))
    plot_probes(args.out / "probes.png", found["probes"], found["verdict"]["text"], origin)

    for model in models:
        print(f"checkpoint {model.path} ({model.predictor.model_id})")
    print(title)
    print(table(found["probes"]))
    if sessions := session_probe_table(found):
        print(sessions)
    print(leak_line(result))
    if found["without_hub"]:
        lost = count_of(found["without_hub"], "image")
        print(f"{lost} without a hub: {', '.join(OF_PLACE)} skipped")
    print(found["verdict"]["text"])
    print(f"probes.json, probes.csv and probes.png are in {args.out}")
    line = {key: found[key] for key in ("data", "protocol", "images", "without_hub")}
    print(json.dumps(line | {"shortcut": found["verdict"]["shortcut"], "out": str(args.out)}))


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    with output_folder(args.out):
        load_pytorch(args.threads)
        if args.label_issues:
            find_wrong_labels(args)
        else:
            (test_gate if args.gate else measure)(args)
    return 0


if __name__ == "__main__":
    run_script(main)
