"""What the page of a candidate says first: whether it was promoted, and what persons corrected."""

import shlex

from PIL import Image

from adaptation.promotion import Comparison
from adaptation.report import Section
from adaptation.verdicts import Verdicts
from common.colours import outcome_colour
from common.html_page import escaped, html_picture, html_table, paragraph
from common.origin import origin
from common.text import chance, printable
from imaging.overlays import COLUMNS, LINES, TILE_PX, contact_sheets, png
from metrics.exact import CONFIDENCE
from traceability.models import ID_DIGITS, Models

TILES = COLUMNS * LINES  # one sheet
HEAD = ("photographs of", "parts", "right before", "right now", "became wrong", "became right",
        "by chance", "become wrong at most")  # fmt: skip


def section_of(models: Models, parent: str, verdicts: Verdicts, comparison: Comparison) -> Section:
    """The section; `parent` is the SHA-256 of the model in use."""
    promoted = not comparison.reasons
    current, candidate = (
        shlex.quote(printable(path)) for path in (models.current, models.candidate)
    )
    folder = shlex.quote(printable(models.folder))
    if promoted:
        commands = [
            f"python watch.py incoming/ --checkpoint {current} --log inspections.db",
            f"python adapt.py --rollback --models {folder}",
        ]
    else:
        commands = [f"python explain.py line3/ --checkpoint {candidate} --out heatmaps/"]
    outcome = "promoted" if promoted else "not promoted"
    return Section(
        f"Verdicts on model {parent[:ID_DIGITS]}: {outcome}",
        _outcome(comparison) + _comparison(comparison) + _verdicts(verdicts, parent),
        commands,
    )


def _outcome(comparison: Comparison) -> str:
    if not comparison.reasons:
        text = "By the test below the candidate is not worse than the model before: promoted."
        return f"<p><strong>{text}</strong></p>"
    items = "".join(f"<li>{escaped(reason)}</li>" for reason in comparison.reasons)
    return (
        "<p><strong>The candidate was not promoted. The model before stays in use.</strong></p>"
        f"<ul>{items}</ul>"
    )


def _comparison(comparison: Comparison) -> str:
    rows = []
    for one in comparison.groups:
        bound = one.worse_at_most
        counts = (one.parts, one.right_before, one.right, one.became_wrong, one.became_right)
        most = "-" if bound is None else f"{100 * bound:.0f}\u00a0%"  # no line break before %
        rows.append((one.name, *counts, f"{100 * one.chance:.1f}\u00a0%", most))
    return (
        "<h2>Model in use and candidate, on the same parts</h2>"
        f"{html_table(HEAD, rows)}<p>Verdicts are decided by models that have not seen their part; "
        "frozen castings are those of the line before that no candidate learns. A part is wrong "
        "when half of its photographs or more are. Promoted is what is right on as many parts with "
        "a verdict as the model in use, if in no line parts became wrong beyond chance (a sign "
        "test: chance alone would do as much in fewer than 5 % of cases). The last column is what "
        f"few parts leave open, with {100 * CONFIDENCE:g} % confidence.</p>"
    )


def _verdicts(verdicts: Verdicts, parent: str) -> str:
    text = verdicts.describe()
    if verdicts.missing:
        text += f". Without a photograph: {len(verdicts.missing)}"
    found = verdicts.disagreements
    body = "<h2>Verdicts of persons</h2>" + paragraph(f"{printable(verdicts.log)}, {text}.")
    if not found:
        return body
    rows = []
    for one, _ in found:
        probability = "" if one.prob_defect is None else chance(one.prob_defect)
        said = (one.opinion, probability, one.verdict, one.person, one.time[:16].replace("T", " "))
        rows.append(tuple(map(printable, (one.file, *said))))
    head = ("photograph", "model said", "probability", "verdict", "by", "at, UTC")
    return body + _sheet(verdicts, parent) + html_table(head, rows)


def _sheet(verdicts: Verdicts, parent: str) -> str:
    tiles = []
    for one, photograph in verdicts.disagreements[:TILES]:
        picture = Image.fromarray(photograph.pixels).resize((TILE_PX, TILE_PX))
        name = printable(one.file).rpartition("/")[2]
        caption = f"{name}\n{one.opinion}\n{one.verdict} says {printable(one.person)}"
        tiles.append((picture, caption, outcome_colour(one.verdict)))
    drawn_from = origin(
        f"model: {parent[:ID_DIGITS]}", f"data: {printable(verdicts.log)}, {verdicts.describe()}"
    )
    title = "where the model had said otherwise"
    of = len(verdicts.disagreements)
    (sheet,) = contact_sheets(tiles, TILE_PX, title, drawn_from, of)
    return html_picture(png(sheet), "photographs on which model and person disagree")
