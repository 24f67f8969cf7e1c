"""Measure a checkpoint on held-out photographs, and draw what there is to see.

    python test.py                          checkpoints/best.pth on the test part of its own split
    python test.py --split val              the same on the validation part

Every image is predicted once; every figure follows from predictions.csv. Data that has a folder
`unseen/` (the synthetic default has) is measured on that too: castings that no training image
shows. Writes into --out: predictions.csv, metrics.json, classification_report.txt,
confusion_matrix.png, roc_pr.png, predictions.png, score_histogram.png.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import metrics
import plots
from common import (
    UserError,
    count_of,
    is_defect,
    run_script,
    script_parser,
    sha256_of_file,
    usable_folder,
    write_atomic,
    write_csv,
    write_json,
)
from data import open_store
from data_split import (
    ImageRow,
    data_name,
    find_data,
    hashed,
    list_images,
    load_split,
    split_sha256,
    warn_of_changed_contents,
)
from images import read_grey_image
from model import find_checkpoint
from predict import Prediction, Predictor, load_predictor

BATCH_SIZE = 64
INTERVALS = "Wilson 95 %, assumes independent images"


@dataclass(frozen=True)
class Judged:
    """A set of held-out images with their verdicts."""

    name: str  # 'test', 'val' or 'unseen'
    rows: list[ImageRow]
    predictions: list[Prediction]
    class_names: list[str]

    @property
    def is_defect(self) -> np.ndarray:
        return np.array([is_defect(row.label) for row in self.rows])

    @property
    def prob_defect(self) -> np.ndarray:
        return np.array([p.prob_defect for p in self.predictions])

    @property
    def threshold(self) -> float:
        return self.predictions[0].threshold

    @property
    def counts(self) -> metrics.DecisionCounts:
        return metrics.count_decisions(self.is_defect, self.prob_defect, self.threshold)

    @property
    def confusion(self) -> np.ndarray:
        predicted = [p.predicted_class for p in self.predictions]
        labels = [row.label for row in self.rows]
        return metrics.confusion_matrix(labels, predicted, self.class_names)


# --- predicting ----------------------------------------------------------------------------------


def rebuild_split(root: Path, predictor: Predictor, checkpoint_path: Path) -> list[ImageRow]:
    """The split that the model was trained with.

    Raises:
        UserError: the images in `root` give another split.
    """
    checkpoint = predictor.checkpoint
    rows, _ = load_split(root, checkpoint.protocol)
    if split_sha256(rows) != checkpoint.split_sha256:
        raise UserError(
            f"{root} is not the data that {checkpoint_path} was trained on: its split is "
            f"{split_sha256(rows)[:12]}, the checkpoint's {checkpoint.split_sha256[:12]}; "
            "images were added, removed or renamed, or --data names another set"
        )
    warn_of_changed_contents(rows, checkpoint_path.with_name("split.csv"))
    return rows


def judge(
    predictor: Predictor, root: Path, rows: list[ImageRow], split: str, cache: bool
) -> Judged:
    """Predict the images of one split once."""
    chosen = [i for i, row in enumerate(rows) if row.split == split]
    if not chosen:
        raise UserError(f"the split '{split}' holds no image")
    if not cache:  # decode no more than is judged
        rows, chosen = [rows[i] for i in chosen], list(range(len(chosen)))
    store = open_store(root, rows, predictor.checkpoint.image_size_px, cache=cache)
    predictions = []
    with tqdm(total=len(chosen), desc=f"predicting {split}", unit="img", disable=None) as bar:
        for start in range(0, len(chosen), BATCH_SIZE):
            indices = chosen[start : start + BATCH_SIZE]
            predictions += predictor.judge(torch.from_numpy(store[indices]))
            bar.update(len(indices))
    class_names = predictor.checkpoint.class_names
    return Judged(split, [rows[i] for i in chosen], predictions, class_names)


def judge_unseen(predictor: Predictor, root: Path, cache: bool) -> Judged | None:
    """The castings of `unseen/`, if the data has that folder and the same classes."""
    if not (root / "unseen").is_dir():
        return None
    rows, _ = list_images(root, parts=("unseen",))
    if {row.label for row in rows} - set(predictor.checkpoint.class_names):
        raise UserError(f"{root / 'unseen'} has classes that the model does not know")
    rows = [replace(row, split="unseen") for row in hashed(root, rows)]
    return judge(predictor, root, rows, "unseen", cache)


# --- reporting -----------------------------------------------------------------------------------


def summary(judged: Judged) -> dict:
    """Counts first, then rates with intervals."""
    correct_classes = int(np.trace(judged.confusion))
    return {
        "images": len(judged.rows),
        "counts": asdict(judged.counts),
        "rates": metrics.decision_rates(judged.counts),
        "class_accuracy": metrics.rate(correct_classes, len(judged.rows)),
        "roc_auc": metrics.roc_auc(judged.is_defect, judged.prob_defect),
        "confusion_matrix": judged.confusion.tolist(),
    }


def report(judged: Judged, unseen: Judged | None, predictor: Predictor, path: Path) -> dict:
    """The content of metrics.json."""
    checkpoint = predictor.checkpoint
    result = {
        "data": checkpoint.data,
        "protocol": checkpoint.protocol,
        "split": judged.name,
        "threshold": judged.threshold,
        "class_names": checkpoint.class_names,
        "intervals": INTERVALS,
        **summary(judged),
        "checkpoint": path.name,
        "checkpoint_sha256": sha256_of_file(path),
        "checkpoint_epoch": checkpoint.epoch,
        "split_sha256": checkpoint.split_sha256,
        "weights": checkpoint.training["weights"],
        "head": checkpoint.head,
        "image_size_px": checkpoint.image_size_px,
    }
    return result | ({"unseen": summary(unseen)} if unseen else {})


def table(result: dict) -> str:
    """What a manufacturing engineer reads first; unseen castings side by side when there are."""
    columns = {f"{result['split']} images": result}
    if "unseen" in result:
        columns = {f"{result['split']}: copies of known castings": result}
        columns["castings never seen"] = result["unseen"]
    lines = [f"{'':16}" + "".join(f"{name:<44}" for name in columns)]
    for key in result["rates"]:
        cells = (metrics.format_rate(column["rates"][key]) for column in columns.values())
        lines.append(f"{key.replace('_', ' '):16}" + "".join(f"{cell:<44}" for cell in cells))
    if len(result["class_names"]) > 2:
        cells = (metrics.format_rate(column["class_accuracy"]) for column in columns.values())
        lines.append(f"{'right class':16}" + "".join(f"{cell:<44}" for cell in cells))
    aucs = ("-" if c["roc_auc"] is None else f"{c['roc_auc']:.4f}" for c in columns.values())
    lines.append(f"{'ROC-AUC':16}" + "".join(f"{auc:<44}" for auc in aucs))
    lines.append(f"intervals in brackets: {INTERVALS}")
    return "\n".join(line.rstrip() for line in lines)


def write_predictions(path: Path, parts: Sequence[Judged]) -> None:
    """One line an image; all figures of this script follow from this file."""
    names = [f"prob_{name}" for name in parts[0].class_names]
    columns = ["path", "label", "casting", "prob_defect", "decision", "threshold"]
    lines = (
        [
            *(row.path, row.label, row.casting),
            *(f"{p.prob_defect:.8f}", p.decision, p.threshold, p.predicted_class),
            *(f"{value:.8f}" for value in p.probabilities),
        ]
        for part in parts
        for row, p in zip(part.rows, part.predictions, strict=True)
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


def most_telling(judged: Judged, count: int = 12) -> list[int]:
    """Indices of the parts worth a look: errors first, then those nearest to the threshold."""
    labels = np.array([row.label for row in judged.rows])
    predicted = np.array([p.predicted_class for p in judged.predictions])
    doubt = np.abs(judged.prob_defect - judged.threshold)
    return np.lexsort((doubt, labels == predicted))[:count].tolist()


def draw(judged: Judged, root: Path, out: Path, title: str) -> None:
    """All figures of one set of images."""
    plots.plot_confusion(out / "confusion_matrix.png", judged.confusion, judged.class_names, title)
    plots.plot_roc_pr(
        out / "roc_pr.png", judged.is_defect, judged.prob_defect, judged.threshold, title
    )
    plots.plot_score_histogram(
        out / "score_histogram.png", judged.is_defect, judged.prob_defect, judged.threshold, title
    )
    parts = []
    for index in most_telling(judged):
        row, prediction = judged.rows[index], judged.predictions[index]
        picture = np.asarray(read_grey_image(root / row.path))
        caption = f"{row.label}\np(defect) = {prediction.prob_defect:.3f}"
        if prediction.predicted_class != row.label:
            caption = f"{row.label}, judged {prediction.predicted_class}\n" + caption.split("\n")[1]
        parts.append((picture, caption, prediction.predicted_class == row.label))
    plots.plot_parts(out / "predictions.png", parts, f"{title}\nerrors, then the least certain")


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the latest")
    parser.add_argument("--data", metavar="FOLDER", help="as for data_split.py; never downloads")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="default: test")
    parser.add_argument("--out", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--device", help="cuda, cpu; default: CUDA when there is one")
    parser.add_argument("--no-cache", action="store_true", help="do not keep decoded images")
    args = parser.parse_args(argv)

    usable_folder(args.out)
    path = find_checkpoint(args.checkpoint)
    predictor = load_predictor(path, args.device)
    root = find_data(args.data, download=False)
    rows = rebuild_split(root, predictor, path)
    judged = judge(predictor, root, rows, args.split, cache=not args.no_cache)
    unseen = judge_unseen(predictor, root, not args.no_cache) if args.split == "test" else None

    checkpoint = predictor.checkpoint
    title = f"{data_name(root)}, protocol {checkpoint.protocol}, {args.split} part"
    title = f"{title}, {count_of(len(judged.rows), 'image')}"
    result = report(judged, unseen, predictor, path)
    write_predictions(args.out / "predictions.csv", [judged, *([unseen] if unseen else [])])
    write_json(args.out / "metrics.json", result)
    write_classification_report(args.out / "classification_report.txt", judged, title)
    draw(judged, root, args.out, title)

    print(f"checkpoint {path} ({predictor.model_id}), epoch {checkpoint.epoch}; {title}")
    print(table(result))
    print(f"figures and predictions.csv are in {args.out}")
    keys = ("data", "protocol", "split", "images", "counts", "roc_auc", "threshold")
    print(json.dumps({key: result[key] for key in keys} | {"out": str(args.out)}))
    return 0


if __name__ == "__main__":
    run_script(main)
