"""report.html of train.py: what was trained on what, the curves, the validation figures."""

import html
import json
import shlex
from collections import Counter
from collections.abc import Sequence

from common.files import write_atomic
from common.html_page import (
    html_facts,
    html_figure,
    html_page,
    html_table,
    made_by,
    paragraph,
    section,
)
from common.origin import PROTOCOL_WORDS, for_product
from common.text import count_of, format_duration, printable
from dataset.cautions import about_images, known_parts
from dataset.listing import ImageRow
from dataset.manifest import SPLITS, UNUSED
from dataset.sources import data_name
from training.run_files import REPORT
from training.settings import readable
from training.setup import Run
from training.state import Progress

ORDER = (*SPLITS, UNUSED)


def write_report(run: Run, progress: Progress) -> None:
    """The page of a finished run, from best.json, the split and the curves."""
    described = json.loads((run.out / "best.json").read_text(encoding="utf-8"))
    settings = readable(run.settings.as_dict())
    title = f"Training of recipe {run.settings.recipe} on {data_name(run.root)}"
    body = [
        paragraph(leak(run.rows), "warning"),
        section("What was trained", html_facts(facts(run, progress, described))),
        section(
            "Split",
            split_html(run.rows, data_name(run.root)),
            *map(paragraph, about_images(run.rows)),
        ),
        section("Curves", html_figure(run.out / "curves.png", "Loss and accuracy by epoch")),
        section("On the validation images", *validation(described)),
        section("Settings", html_facts({k.replace("_", " "): v for k, v in settings.items()})),
        section("Next", f"<pre>{html.escape(next_command(run))}</pre>"),
        made_by("train.py"),
    ]
    write_atomic(run.out / REPORT, html_page(title, "\n".join(body)))


def leak(rows: Sequence[ImageRow]) -> str:
    """A sentence on test images that show a part which training shows, too; '' if none does."""
    known, tested = known_parts(rows), sum(row.split == "test" for row in rows)
    if not known:
        return ""
    return (
        f"{known:,} of {count_of(tested, 'test image')} show a part that is also in training: what "
        "test.py measures there is memory, too."
    )


def facts(run: Run, progress: Progress, described: dict) -> dict[str, object]:
    """Data, protocol, network, time, hashes."""
    settings, seconds = run.settings, sum(row["seconds"] for row in progress.history)
    fold = f", fold {settings.fold} of {settings.folds}" if settings.fold else ""
    data = data_name(run.root)
    words = for_product(PROTOCOL_WORDS[settings.protocol], data)
    return {
        "data": data,
        "protocol": f"{settings.protocol}: {words}{fold}",
        "network": f"{settings.network} at {settings.image_size} px",
        "classes": ", ".join(run.class_names),
        "kept": f"epoch {progress.best_epoch} of {progress.epoch}",
        "took": f"{format_duration(seconds)} on {run.device}",
        "model": f"{printable(run.out / 'best.pth')}",
        "SHA-256 of the file": described["sha256"],
        "SHA-256 of the split": run.split_sha256,
    }


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


def validation(described: dict) -> list[str]:
    """The figures of the kept epoch, and where it decides."""
    found, point = described["validation"], described["operating_point"]
    figures = {
        "accuracy": f"{found['accuracy']:.2%}".replace("%", " %"),
        "defects missed": f"{found['missed']} of {found['defects']}",
        "good parts rejected": f"{found['false_alarms']} of {found['good']}",
        "threshold": f"{described['threshold']:.4g}",
        "temperature": f"{described['temperature']:.3g}",
        "note": point.get("note") or None,
    }
    return [
        html_facts(figures),
        paragraph(
            "Epoch, threshold and gate were chosen on these images: they flatter. What counts is "
            "measured by test.py."
        ),
    ]


def next_command(run: Run) -> str:
    """What measures the model."""
    return f"python test.py --checkpoint {shlex.quote(str(run.out / 'best.pth'))}"
