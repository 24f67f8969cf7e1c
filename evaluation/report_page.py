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
from evaluation.held_out import Evaluation, Model
from evaluation.report import BASES, RATES, rate_texts, remarks, review_lines
from evaluation.report_figures import PICTURES, Drawn
from imaging.overlays import COLUMNS, LINES

NAME, MOST_SHEETS = "report.html", 6
TITLE = 14  # letters of what a remark is about, in front of it


def write_page(
    out: Path,
    result: Mapping,
    tiers: Sequence[Evaluation],
    models: Sequence[Model],
    drawn: Sequence[Drawn],
    command: str,
) -> None:
    """The page of a test, from the content of metrics.json and the figures in `out`.

    Args:
        drawn: the figures of each tier, those of the one that matters first.
    """
    data, checkpoint = result["data"], models[0].checkpoint
    names = for_product(" and ".join(result["tiers"]), data)
    what = f"recipe {checkpoint.training.get('recipe', 'unknown')} on {data}"
    measures = [
        *(paragraph(text, "warning") for text in warnings(result)),
        *(section(f"Figures: {name}", *figures(tier)) for name, tier in result["tiers"].items()),
        section("When a person decides in between", *map(paragraph, review_lines(result))),
    ]
    pictures = [section(f"Plots: {one.tier}", *plots_html(out, one)) for one in drawn]
    pictures += [section(f"Errors: {one.tier}", *errors_html(out, one)) for one in drawn]
    if len(drawn) > 1:
        others = " and ".join(one.tier for one in drawn[1:])
        text = f"All plots are drawn of {drawn[0].tier}; of {others} the main ones."
        pictures.insert(0, paragraph(text))
    body = [
        *(for_product(part, data) for part in measures),
        section("What was measured", html_facts(measured(result, tiers, models))),
        *pictures,
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
    rows = [(rate.replace("_", " "), *rate_texts(tier, rate, BASES)) for rate in RATES]
    head = ("", *(f"by {text}" for text in BASES.values()))
    if kind := tier.get("kind"):
        rows.append(("right kind of defect", f"{kind['count']}/{kind['of']}", "", ""))
    more = ((line[:TITLE].strip(), line[TITLE:].strip()) for line in remarks(tier))
    parts = [html_table(head, rows), html_table(("", ""), more)]
    if sessions := tier.get("by_session"):
        parts.append(html_table(*session_rows(sessions)))
    return parts


def plots_html(out: Path, drawn: Drawn) -> list[str]:
    """The plots of a tier."""
    return [
        html_figure(out / name, text, tall=name.startswith(PICTURES))
        for name, text in drawn.plots.items()
    ]


def errors_html(out: Path, drawn: Drawn) -> list[str]:
    """The sheets of a tier's errors; of many the first, and where the others are."""
    shown, others = drawn.sheets[:MOST_SHEETS], drawn.sheets[MOST_SHEETS:]
    errors = count_of(drawn.errors, "part")
    if not others:
        text = f"Shown are all of the {errors} decided wrongly, the worst first."
    else:
        text = (
            f"Shown are the worst {len(shown) * COLUMNS * LINES:,} of {errors} decided wrongly; "
            f"the others are in {', '.join(others)}."
        )
    caption = "Parts decided wrongly, with what spoke for a defect"
    pictures = [html_figure(out / name, f"{caption}: {name}", tall=True) for name in shown]
    return [paragraph(text), *pictures] if drawn.errors else [paragraph("None.")]


def measured(
    result: Mapping, tiers: Sequence[Evaluation], models: Sequence[Model]
) -> dict[str, str]:
    """Data, split and models."""
    data = result["data"]
    words = protocol_words(result["protocol"], result["split_sha256"][0])
    protocol = for_product(words, data)
    folds = f", {len(models)} folds pooled" if len(models) > 1 else ""
    return {
        "data": data,
        "protocol": f"{result['protocol']}: {protocol}{folds}",
        **{
            tier.name: for_product(images_text(result["tiers"][tier.name], tier), data)
            for tier in tiers
        },
        "intervals": for_product(result["intervals"], data),
        "model" + ("s" if folds else ""): ", ".join(
            f"{printable(model.path)} ({model.predictor.model_id})" for model in models
        ),
        "SHA-256 of the file": ", ".join(result["checkpoints"].values()),
        "SHA-256 of the split": ", ".join(dict.fromkeys(result["split_sha256"])),
    }


def images_text(figures: Mapping, tier: Evaluation) -> str:
    """'80 images of 42 castings, 12 of them good, in line3/'."""
    images = count_of(figures["images"], "image")
    castings = (
        f"{count_of(figures['castings'], 'casting')}, {figures['castings_good']} of them good"
    )
    known = castings if tier.castings_known else "castings unknown"
    return f"{images} of {known}; in {tier.root}"


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
