"""report.html of test.py: what was measured on what, the figures, all plots, the worst errors."""

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
from common.origin import for_product, protocol_words
from common.text import count_of, printable
from dataset.corrections import described
from evaluation.by_session import session_rows
from evaluation.held_out import Model
from evaluation.report import BASES, RATES, remarks
from metrics.decisions import format_rate

NAME = "report.html"
TITLE = 14  # letters of what a remark is about, in front of it
FIGURES = {
    "confusion_matrix.png": "What was predicted of which class",
    "roc_pr.png": "Caught defects against false alarms, and against precision, at every threshold",
    "score_histogram.png": "How good and defective parts are scored",
    "threshold.png": "Errors at every threshold",
    "reliability.png": "How far probabilities can be believed",
}
PICTURES = {
    "errors.png": "Errors, with what spoke for a defect",
    "predictions.png": "Errors, then the least certain parts",
}


def write_page(out: Path, result: Mapping, models: Sequence[Model], command: str) -> None:
    """The page of a test, from the content of metrics.json and the figures in `out`."""
    data, checkpoint = result["data"], models[0].checkpoint
    names = for_product(" and ".join(result["tiers"]), data)
    what = f"recipe {checkpoint.training.get('recipe', 'unknown')} on {data}"
    measures = [
        *(paragraph(text, "warning") for text in warnings(result)),
        *(section(f"Figures: {name}", *figures(tier)) for name, tier in result["tiers"].items()),
    ]
    body = [
        *(for_product(part, data) for part in measures),
        section("What was measured", html_facts(measured(result, models))),
        section("Plots", *(html_figure(out / name, text) for name, text in FIGURES.items())),
        section("Pictures", *(html_figure(out / name, text) for name, text in PICTURES.items())),
        section("Training", html_facts(training_of(models)), *curves(models)),
        made_by(command),
    ]
    write_atomic(out / NAME, html_page(f"Test of {what}: {names}", "\n".join(body)))


def warnings(result: Mapping) -> list[str]:
    """What a reader must know before the figures."""
    found = []
    for name, tier in result["tiers"].items():
        seen = tier["show_castings_in_training"]
        if seen is None:
            found.append(f"{name}: whether the castings are also in training is not known.")
        elif seen:
            found.append(
                f"{name}: {seen:,} of {count_of(tier['images'], 'image')} show a casting that is "
                "also in training. On these the figures say how well the model remembers castings, "
                "not how well it inspects new ones."
            )
    return found


def figures(tier: Mapping) -> list[str]:
    """The rates of a tier in three ways of counting, what else there is to say, its sessions."""
    rows = []
    for rate in RATES:
        cells = [tier[basis].get(rate) for basis in BASES]
        texts = [format_rate(cell) if cell else "" for cell in cells]
        rows.append((rate.replace("_", " "), *texts))
    head = ("", *(f"by {text}" for text in BASES.values()))
    if kind := tier.get("kind"):
        rows.append(("right kind of defect", f"{kind['count']}/{kind['of']}", "", ""))
    more = ((line[:TITLE].strip(), line[TITLE:].strip()) for line in remarks(tier))
    parts = [html_table(head, rows), html_table(("", ""), more)]
    if sessions := tier.get("by_session"):
        parts.append(html_table(*session_rows(sessions)))
    return parts


def measured(result: Mapping, models: Sequence[Model]) -> dict[str, str]:
    """Data, split and models."""
    tiers, data = result["tiers"].values(), result["data"]
    words = protocol_words(result["protocol"], result["split_sha256"][0])
    protocol = for_product(words, data)
    folds = f", {len(models)} folds pooled" if len(models) > 1 else ""
    return {
        "data": data,
        "protocol": f"{result['protocol']}: {protocol}{folds}",
        "images": for_product(
            "; ".join(
                f"{name}: {tier['images']:,} of {count_of(tier['castings'], 'casting')}, "
                f"{tier['castings_good']} of them good"
                for name, tier in zip(result["tiers"], tiers, strict=True)
            ),
            data,
        ),
        "intervals": for_product(result["intervals"], data),
        "model" + ("s" if folds else ""): ", ".join(
            f"{printable(model.path)} ({model.predictor.model_id})" for model in models
        ),
        "SHA-256 of the file": ", ".join(result["checkpoints"].values()),
        "SHA-256 of the split": ", ".join(dict.fromkeys(result["split_sha256"])),
    }


def training_of(models: Sequence[Model]) -> dict[str, object]:
    """The settings of the run, and where it decides."""
    checkpoint = models[0].checkpoint
    settings = dict(checkpoint.training)
    if settings.get("corrected_labels"):
        settings["corrected_labels"] = described(settings["corrected_labels"])
    points = [model.checkpoint.operating_point or {} for model in models]
    note = dict.fromkeys(point["note"] for point in points if point.get("note"))
    return {
        **{name.replace("_", " "): value for name, value in settings.items()},
        "fold": ", ".join(str(model.checkpoint.fold) for model in models)
        if checkpoint.fold
        else None,
        "threshold": ", ".join(f"{model.predictor.threshold:.4g}" for model in models),
        "note": "; ".join(note) or None,
    }


def curves(models: Sequence[Model]) -> list[str]:
    """The learning curves that lie beside the models."""
    return [
        html_figure(model.path.with_name("curves.png"), f"Training of {printable(model.path)}")
        for model in models
    ]
