"""The page of an adaptation: one HTML file without links to others, and its figures as JSON."""

import html
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import ScalarFormatter
from PIL import Image
from torch import nn

from adaptation.checking import Checked
from adaptation.leaving_out import HeldOut
from adaptation.task import Parent, Task
from common.colours import DEFECT_COLOUR, GOOD_COLOUR, outcome_colour
from common.html_page import html_page, html_picture, html_table, made_by, paragraph
from common.origin import origin
from common.plotting import figure_png, legend_above
from common.text import count_of, printable
from dataset.batches import unit_range
from imaging.overlays import contact_sheets, overlay, png
from inspection.heatmap import has_cells, hottest_region, margin_of_cells
from metrics.decisions import format_rate
from metrics.exact import certificate_text

TEMPLATE = Path(__file__).with_name("page.html")
TILES, TILE_PX = 8, 220


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
    first: Section | None = None,
) -> str:
    """The page of the checkpoint `out`.

    Args:
        scores: without each part, and where the adapted model decides.
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
        "point": f"{round(scores[1], 1) + 0.0:.1f}",
        "old": old_text(found),
        "next": "\n".join(first.commands if first else next_commands(out)),
    }
    title = first.title if first else f"{printable(out.stem)}: model {parent} on a new line"
    values = {name: html.escape(text) for name, text in texts.items()} | {
        "first": first.body if first else paragraph(advice(found), "warning"),
        "facts": html_table(("", ""), facts(found)),
        "held_out": _held_out(found),
        "defects": _defects(found),
        "scores": html_picture(
            score_chart(task, *scores), "scores of good parts and drawn defects"
        ),
        "synthetic": _synthetic(found),
        "hottest": html_picture(hottest(task, network), "good parts with their hottest places"),
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


def next_commands(out: Path) -> list[str]:
    """What to do with the checkpoint."""
    name = shlex.quote(printable(out))
    return [
        f"python watch.py incoming/ --checkpoint {name} --log inspections.db",
        f"python export.py --checkpoint {name}    # after pip install -r requirements-deploy.txt",
    ]


# --- the sections --------------------------------------------------------------------------------


def facts(found: Checked) -> list[tuple[str, str]]:
    """What was found."""
    rows = [
        ("photographs of good parts", f"{found.photographs:,}"),
        ("parts that they show", f"{found.parts:,}" if found.recognised else "not recognised"),
        ("framing", found.framing.removeprefix("framing: ")),
        ("the model before rejects of them", format_rate(found.rejected_before)),
        ("it leaves to a person", f"{found.handed_over_before} of {found.photographs}"),
    ]
    for one in found.left_out:
        rows.append((f"left out: {one['path']}", one["reason"]))
    return rows


def _and_defects(task: Task) -> str:
    return f" of good parts, and {task.defective.describe()} of defects" if task.defective else ""


def _held_out(found: Checked) -> str:
    if found.held_out is None:
        return "<p>All photographs show one part: nothing can be left out.</p>"
    rows = [(one["part"], one["photographs"], one["rejected"]) for one in found.held_out["each"]]
    total = found.held_out
    text = (
        f"<p>Rejected: {html.escape(format_rate(total['photographs']))} of the photographs, "
        f"{html.escape(format_rate(total['parts']))} of the parts.</p>"
    )
    return text + html_table(("part", "photographs", "rejected"), rows)


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
    text = (
        f"Photographs of real defects: the model before rejects "
        f"{format_rate(found.defects['caught_before'])}; models that have not seen the part, "
        f"{without}."
    )
    return f"<p>{html.escape(text)}</p>"


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


# --- the pictures --------------------------------------------------------------------------------


def score_chart(task: Task, held_out: HeldOut, point: float) -> bytes:
    """Scores of good photographs and of drawn defects by size, before and now, as PNG."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
    panels = ((task.before, 0.0, "before"), ((held_out.good, held_out.drawn), point, "now"))
    width = 100 * task.drawn.width
    for axis, ((of_good, of_drawn), decision, title) in zip(axes, panels, strict=True):
        axis.scatter(
            width, of_drawn, 9, DEFECT_COLOUR, alpha=0.6, label="defects drawn on good parts"
        )
        axis.scatter(
            np.zeros(len(of_good)), of_good, 22, GOOD_COLOUR, marker="D", label="good parts"
        )
        axis.axhline(decision, color="black", linewidth=1)
        axis.annotate("rejected", (1, decision), (-4, 4), ("axes fraction", "data"),
                      "offset points", ha="right", fontsize=8)  # fmt: skip
        axis.set_yscale("symlog", linthresh=2)
        axis.yaxis.set_major_formatter(ScalarFormatter())  # 10, not a power of it
        axis.set(xlabel="size of the defect, % of the width", xlim=(-1, None))
        axis.set_title(title, loc="right", fontsize=10)
    axes[0].set_ylabel("score (logit margin of a defect)")
    legend_above(axes[0], columns=1)
    return figure_png(figure, origin=origin_of(task))


def origin_of(task: Task) -> str:
    """What stands by the pictures."""
    return origin(
        f"model: adapted from {task.parent.sha256[:12]}",
        f"data: the new line, {task.good.describe()}",
    )


def hottest(task: Task, network: nn.Module) -> bytes:
    """The good photographs that are nearest to being rejected, and where, as PNG."""
    scores = task.parent.scores(network, task.good.pixels)
    tiles = []
    for index in np.argsort(-scores)[:TILES]:
        one = task.good.photographs[index]
        heat = relative_heat(network, one.pixels, task.parent)
        picture = Image.fromarray(one.pixels).resize((TILE_PX, TILE_PX))
        region = hottest_region(heat)
        caption = f"{one.path.name}\n{task.good.parts[index]}, score {scores[index]:.1f}"
        tiles.append((overlay(picture, heat, region), caption, outcome_colour("ok")))
    (sheet, *_) = contact_sheets(
        tiles, TILE_PX, "good parts, the most suspicious first", origin_of(task)
    )
    return png(sheet)


@torch.inference_mode()
def relative_heat(network: nn.Module, pixels: np.ndarray, parent: Parent) -> np.ndarray:
    """The hottest tenth of an image's cells (S, S), 0 to 1 on this image's own scale.

    Nothing need be probable there. A network without cells has no such map: zeros.
    """
    if not has_cells(network):
        return np.zeros(pixels.shape, np.float32)
    image = unit_range(torch.tensor(pixels[None]).to(parent.device))
    margins = margin_of_cells(network, image, parent.checkpoint.class_names)
    usual = margins.quantile(0.9)
    heat = ((margins - usual) / (margins.max() - usual).clamp(min=1e-6)).clamp(0, 1)
    return heat[0].cpu().numpy()
