"""The page of an adaptation: one HTML file without links to others."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

from torch import nn

from adaptation.checking import Checked
from adaptation.leaving_out import HeldOut
from adaptation.report_pictures import hottest, score_chart
from adaptation.task import Task
from common.html_page import (
    escaped,
    html_facts,
    html_page,
    html_picture,
    html_table,
    made_by,
    paragraph,
)
from common.text import count_of, printable
from metrics.decisions import format_rate
from metrics.exact import certificate_text

TEMPLATE = Path(__file__).with_name("page.html")


def report_path(out: Path, suffix: str) -> Path:
    """The page ('html') or the figures ('json') beside a checkpoint."""
    return out.with_name(f"{out.stem}.adaptation.{suffix}")


@dataclass(frozen=True)
class Section:
    """What a page says before all else: its title, HTML, and what to do next."""

    title: str
    body: str
    commands: list[str]


def page_text(
    out: Path,
    task: Task,
    network: nn.Module,
    found: Checked,
    scores: tuple[HeldOut, float],
    sha256: str,
    first: Section | None = None,
) -> str:
    """The page of the checkpoint `out`.

    Args:
        scores: without each part, and where the adapted model decides.
        sha256: of the checkpoint's file.
        first: what comes before all else, if anything.
    """
    parent = task.parent.sha256[:12]
    way = "only its threshold moved" if task.threshold_only else "its network tuned"
    name = "The candidate" if first else printable(out.name)
    seen = "" if task.threshold_only else ", which the kept model has seen"
    texts = {
        "lead": f"{name} is model {parent} with {way}, by {task.good.describe()}"
        f"{_and_defects(task)}. It took {found.seconds:.0f} s.",
        "certificate": _sentence(found),
        "seen": seen,
        "tuned": "as long as" if task.thorough else "more briefly than",
        "old": old_text(found),
        "next": "\n".join(first.commands if first else next_commands(out, found)),
    }
    title = first.title if first else f"{printable(out.stem)}: model {parent} on a new line"
    values = {name: escaped(text) for name, text in texts.items()} | {
        "first": first.body if first else paragraph(advice(found), "warning"),
        "facts": html_facts(facts(found, task.parent.sha256, sha256)),
        "held_out": _held_out(found),
        "defects": _defects(found),
        "scores": html_picture(
            score_chart(task, *scores), "defect probabilities of good parts and drawn defects"
        ),
        "synthetic": _synthetic(found),
        "hottest": html_picture(
            hottest(task, network, scores[1]), "good parts with their hottest places"
        ),
    }
    body = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)
    return html_page(title, body + made_by("adapt.py"))


def advice(found: Checked) -> str:
    """Why the model before is better kept; '' where the adapted one has something over it."""
    if found.pays:
        return ""
    before, now = found.synthetic_caught
    drawn = sum(one["drawn"] for one in found.synthetic)
    return (
        "Keep the model before: it rejects no more of these parts, leaves none to a person, and "
        f"finds as many drawn defects or more ({before} of {drawn}, the adapted one {now})."
    )


def next_commands(out: Path, found: Checked) -> list[str]:
    """What to do with the checkpoint: no more than to look at it where it does not pay."""
    name = shlex.quote(printable(out))
    if not found.pays:
        return [f"python explain.py line3/ --checkpoint {name} --out heatmaps/    # not for use"]
    return [
        f"python watch.py incoming/ --checkpoint {name} --log inspections.db",
        f"python export.py --checkpoint {name}    # after pip install -r requirements-deploy.txt",
    ]


# --- the sections --------------------------------------------------------------------------------


def facts(found: Checked, before: str, sha256: str) -> dict[str, object]:
    """What was found; `before` and `sha256` are the hashes of the two models' files."""
    left_out = "; ".join(f"{one['path']}: {one['reason']}" for one in found.left_out)
    return {
        "SHA-256 of this model": sha256,
        "of the model before": before,
        "photographs of good parts": f"{found.photographs:,}",
        "parts that they show": f"{found.parts:,}" if found.recognised else "not recognised",
        "position of the part": found.framing,
        "the model before rejects of them": format_rate(found.rejected_before),
        "it leaves to a person": f"{found.handed_over_before} of {found.photographs}",
        "left out": left_out or None,
    }


def _and_defects(task: Task) -> str:
    return f" of good parts, and {task.defective.describe()} of defects" if task.defective else ""


def _held_out(found: Checked) -> str:
    if found.held_out is None:
        return paragraph("All photographs show one part: nothing can be left out.")
    rows = [(one["part"], one["photographs"], one["rejected"]) for one in found.held_out["each"]]
    total = found.held_out
    text = (
        f"Rejected: {format_rate(total['photographs'])} of the photographs, "
        f"{format_rate(total['parts'])} of the parts."
    )
    return paragraph(text) + html_table(("part", "photographs", "rejected"), rows)


def _sentence(found: Checked) -> str:
    if not found.recognised:
        return (
            "Parts cannot be recognised on these photographs: if several show one part, the "
            "figures above are too good. Nothing is certified."
        )
    if found.certificate is None:
        return "One part certifies nothing: photograph others."
    text = certificate_text(found.certificate)
    return f"{text[0].upper()}{text[1:]}. Nothing here says how many defects of this line pass."


def _defects(found: Checked) -> str:
    if found.defects is None:
        return ""
    caught = found.defects["caught"]
    without = format_rate(caught) if caught else "unknown: nothing could be left out"
    return paragraph(
        f"Photographs of real defects: the model before rejects "
        f"{format_rate(found.defects['caught_before'])}; models that have not seen the part, "
        f"{without}."
    )


def _synthetic(found: Checked) -> str:
    rows = []
    for one in found.synthetic:
        low, high = 100 * one["from"], one["to"] and 100 * one["to"]
        size = f"{low:g} to {high:g} %" if high else f"over {low:g} %"
        rows.append((size, one["drawn"], _share(one, "caught_before"), _share(one, "caught")))
    return html_table(("of the width", "drawn", "found before", "found now"), rows)


def _share(one: dict, name: str) -> str:
    return f"{one[name] / one['drawn']:.0%}" if one["drawn"] else "-"


def old_text(found: Checked) -> str:
    """What became of the line before; a sentence or two."""
    old = found.old
    if old is None:
        return (
            "Not tested: no photographs of the line before were named (--old FOLDER). Keep the "
            "model before for that line."
        )
    good = old["photographs"] - old["defective"]
    which = ", of castings that were not learned again," if old["recognised"] else ""
    better = "" if old["worse"] <= old["better"] else " For that line keep the model before."
    return (
        f"Of {count_of(old['photographs'], 'photograph')} of the line before{which} "
        f"{old['worse']} are decided worse than before "
        f"({old['worse'] / old['photographs']:.1%}), {old['better']} better. Missed: "
        f"{old['missed_before']} before, {old['missed']} now, of {old['defective']}. False alarms: "
        f"{old['false_alarms_before']} before, {old['false_alarms']} now, of {good}."
        f"{better}"
    )
