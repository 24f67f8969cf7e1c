"""report.html of train.py: what was trained on what, the curves, the validation figures."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import write_atomic
from common.html_page import (
    html_code,
    html_facts,
    html_figure,
    html_page,
    html_table,
    made_by,
    paragraph,
    section,
)
from common.origin import for_product, protocol_words
from common.text import count_of, format_duration, printable
from dataset.casting_table import with_told_castings
from dataset.cautions import about_images, known_parts
from dataset.folds import NO_TEST_PART
from dataset.listing import ImageRow
from dataset.manifest import SPLITS, UNUSED
from dataset.sources import data_name
from dataset.validation_scores import read_validation
from metrics.castings import casting_names
from metrics.decisions import INTERVALS, CastingTable, Parts, format_rate
from training.run_files import REPORT
from training.settings import Settings, readable
from training.setup import Run
from training.state import Progress

ORDER = (*SPLITS, UNUSED)


def write_report(run: Run, progress: Progress, command: str) -> None:
    """The page of a finished run, from best.json, the split and the curves."""
    described = json.loads((run.out / "best.json").read_text(encoding="utf-8"))
    settings = readable(run.settings.as_dict())
    data, rows = data_name(run.root), with_told_castings(run.root, run.rows)
    title = f"Training of recipe {run.settings.recipe} on {data}"
    drawn = sum(run.val_batches.is_defect.tolist()) if run.settings.good_only else 0
    body = [
        paragraph(for_product(leak(rows), data), "warning"),
        section("What was trained", html_facts(facts(run, progress, described))),
        section(
            "Split",
            split_html(rows, data),
            *map(paragraph, (*set_aside(rows, run.settings, drawn), *about_images(rows))),
        ),
        section("Curves", html_figure(run.out / "curves.png", curves_caption(described))),
        section("On the validation images", *validation(run, described)),
        section("Settings", html_facts({k.replace("_", " "): v for k, v in settings.items()})),
        section("Next", html_code(next_command(run))),
        made_by(command),
    ]
    write_atomic(run.out / REPORT, html_page(title, "\n".join(body)))


def leak(rows: Sequence[ImageRow]) -> str:
    """A sentence on test images that show a casting of training, too; '' if none is known to."""
    tested = [row for row in rows if row.split == "test"]
    if tested and not all(row.casting for row in rows):
        return (
            "Which test images show a casting that is also in training was not looked at: test.py "
            "tells."
        )
    known = known_parts(rows)
    if not known:
        return ""
    return (
        f"{known:,} of {count_of(len(tested), 'test image')} show a casting that is also in "
        "training: what test.py measures there is memory, too."
    )


def facts(run: Run, progress: Progress, described: dict) -> dict[str, object]:
    """Data, protocol, network, time, hashes."""
    settings, seconds = run.settings, sum(row["seconds"] for row in progress.history)
    fold = f", fold {settings.fold} of {settings.folds}" if settings.fold else ""
    data = data_name(run.root)
    words = for_product(protocol_words(settings.protocol, run.split_sha256), data)
    why = "the one of the lowest validation loss" if settings.patience else "the last one"
    return {
        "data": data,
        "protocol": f"{settings.protocol}: {words}{fold}",
        "network": f"{settings.network} at {settings.image_size} px",
        "classes": ", ".join(run.class_names),
        "kept": f"epoch {progress.best_epoch} of {progress.epoch}, {why}",
        "took": f"{format_duration(seconds)} on {run.device}",
        "model": f"{printable(run.out / 'best.pth')}",
        "SHA-256 of the file": described["sha256"],
        "SHA-256 of the split": run.split_sha256,
    }


# --- the split -----------------------------------------------------------------------------------


def split_html(rows: Sequence[ImageRow], data: str) -> str:
    """Images by class, and castings where they are known, of each part of the split."""
    counts = Counter((row.split, row.label) for row in rows)
    labels = sorted({row.label for row in rows})
    lines = []
    present = dict.fromkeys(row.split for row in rows)
    for split in sorted(present, key=ORDER.index):
        castings = {row.casting for row in rows if row.split == split} - {""}
        images = [counts[split, label] for label in labels]
        lines.append((split, *images, sum(images), len(castings) or ""))
    return html_table(("", *labels, "all", for_product("castings", data)), lines)


def set_aside(rows: Sequence[ImageRow], settings: Settings, drawn: int) -> list[str]:
    """What the table does not say: defects that are drawn, images that are not used.

    Args:
        drawn: how many defects were drawn to validate on.
    """
    said = []
    if drawn:
        said.append(
            f"val also has {count_of(drawn, 'drawn defect')}: each on a copy of one of its good "
            "parts."
        )
    if any(row.split == UNUSED for row in rows):
        reasons = {
            "defective parts, for the model learns from good ones alone": settings.good_only,
            f"parts beyond the {settings.parts} of either class (--parts)": settings.parts,
        }
        left = "; ".join(reason for reason, holds in reasons.items() if holds)
        said.append(f"unused: {left}.")
    return said


# --- the validation figures ----------------------------------------------------------------------


def curves_caption(described: dict) -> str:
    """What the curves show; their accuracies are others than those of the finished model."""
    text = "Loss and accuracy by epoch"
    if described["operating_point"]["fitted"]:
        text += "; accuracies before temperature and threshold were fitted"
    return text


def validation(run: Run, described: dict) -> list[str]:
    """The figures of the finished model with their intervals, and where it decides."""
    found, point = described["validation"], described["operating_point"]
    rates = CastingTable(validation_parts(run.out / "best.pth", described["threshold"])).rates()
    several = len(run.class_names) > 2
    drawn = ", drawn ones" if run.settings.good_only else ""
    figures = {
        "decided right": format_rate(rates["accuracy"]),
        "right class": f"{100 * found['accuracy']:.2f} %" if several else None,
        f"defects missed{drawn}": format_rate(rates["missed_defects"]),
        "good parts rejected": format_rate(rates["false_alarms"]),
        "threshold": f"{described['threshold']:.4g}",
        "temperature": f"{described['temperature']:.3g}",
        "note": point.get("note") or None,
    }
    data = data_name(run.root)
    intervals = INTERVALS.split(";")[0]  # the rest is of rates by casting
    return [
        html_facts(figures),
        paragraph(f"Of the finished model; in brackets: {for_product(intervals, data)}."),
        paragraph(flattery(run.settings.patience > 0, point["fitted"])),
    ]


def validation_parts(checkpoint: Path, threshold: float) -> Parts:
    """The validation images as best_validation.csv has them."""
    is_defect, castings, prob_defect = read_validation(checkpoint)
    is_defect, castings, prob_defect = read_validation(checkpoint)
    count = len(is_defect)
    return Parts(
        is_defect=is_defect,
        prob_defect=prob_defect,
        threshold=np.full(count, threshold),
        castings=casting_names(castings),
        folds=np.zeros(count, int),
        sessions=np.full(count, ""),
    )


def flattery(epoch_chosen: bool, fitted: bool) -> str:
    """What was chosen on the validation images, which makes their figures too good."""
    names = [
        name
        for name, chosen in (("epoch", epoch_chosen), ("threshold", fitted), ("gate", True))
        if chosen
    ]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    verb = "was" if len(names) == 1 else "were"
    last = "" if epoch_chosen else "The last epoch was kept, whatever these figures. "
    return (
        f"{last}{listed.capitalize()} {verb} chosen on these images: they flatter. What counts is "
        "measured by test.py."
    )


def next_command(run: Run) -> str:
    """What measures the model."""
    no_test = run.settings.fold == NO_TEST_PART and not run.settings.hold_out_session
    part = " --split val" if no_test else ""
    checkpoint = shlex.quote(str(run.out / "best.pth"))
    return f"python test.py --checkpoint {checkpoint}{run.root.options()}{part}"
