"""report.html of explain.py: the heatmaps, what was decided, and by which model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

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
from common.text import count_of, printable
from data_split import split_sha256
from dataset.manifest import read_split
from dataset.sessions import sessions_line
from inspection.explained_files import Outcome, Told
from inspection.explanation import CONTACT_SHEET
from inspection.predictor import Predictor
from model import Checkpoint
from networks.classes import defect_flags

REPORT, MOST_SHEETS = "report.html", 10


def write_report(
    out: Path,
    outcome: Outcome,
    facts: Mapping[str, object],
    predictor: Predictor,
    sheets: int,
    command: str,
) -> None:
    """The page: heatmaps, decisions and model in one file.

    Args:
        facts: about the heatmaps and the model.
        sheets: how many contact sheets there are; without any the one heatmap is shown.
    """
    pictures = [out / f"{one.name}.png" for one in outcome.told[:1]]
    if sheets:
        numbered = (f"_{number}" for number in range(2, min(sheets, MOST_SHEETS) + 1))
        pictures = [out / f"{CONTACT_SHEET}{number}.png" for number in ("", *numbered)]
    left_out = sheets - len(pictures) if sheets else 0
    body = [
        html_facts(facts),
        *(html_figure(path, path.name) for path in pictures),
        paragraph(f"{count_of(left_out, 'more sheet')} in the folder." if left_out else ""),
        decisions(outcome.told, predictor.checkpoint),
        section("Unreadable", *(paragraph(printable(path)) for path in outcome.unreadable)),
        made_by(command),
    ]
    write_atomic(out / REPORT, html_page("Where decisions come from", "\n".join(body)))


def decisions(told: Sequence[Told], checkpoint: Checkpoint) -> str:
    """A line a photograph, with the kind of a defect where the model tells kinds; HTML."""
    if sum(defect_flags(checkpoint.class_names)) < 2:
        rows = [(one.path, one.name, one.decision, one.probability) for one in told]
        return html_table(("photograph", "heatmap", "decision", "defect probability"), rows)
    rows = [(one.path, one.name, one.decision, one.kind, one.probability) for one in told]
    return html_table(("photograph", "heatmap", "decision", "kind", "defect probability"), rows)


def facts_of(path: Path, predictor: Predictor) -> dict[str, object]:
    """The model in a file: what it is, what it has learned from, where it decides."""
    checkpoint = predictor.checkpoint
    return {
        "model": printable(path),
        "SHA-256 of the file": predictor.sha256,
        "adapted from": checkpoint.adaptation and f"model {checkpoint.adaptation['parent']}",
        "recipe": str(checkpoint.training.get("recipe", "unknown")),
        "trained on": printable(checkpoint.data),
        "photo sessions": training_sessions(path, checkpoint),
        "threshold": f"{predictor.threshold:.4g}",
    }


def training_sessions(path: Path, checkpoint: Checkpoint) -> str:
    """Of the images that the model has learned from, by the split.csv beside its file.

    Raises:
        UserError: that is damaged.
    """
    manifest = path.with_name("split.csv")
    rows = read_split(manifest) if manifest.is_file() else []
    if split_sha256(rows) != checkpoint.split_sha256:
        return "unknown: no split.csv of this model lies beside its file"
    line = sessions_line(row for row in rows if row.split == "train")
    return line.removeprefix("sessions: ") or "not told apart"
