"""Published figures as text: tables and paragraphs from docs/results.json."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError
from common.files import ROOT
from common.text import count_of
from dataset.releases import IMAGES, SECOND, releases_text
from evaluation.options import UNSEEN

RESULTS = ROOT / "docs" / "results.json"
UNSEEN_TIERS = (UNSEEN, "castings never seen")  # the latter in files of earlier versions
RELEASED_RECIPE = "robust"
HEADER = """| held-out images | model | missed defects | false alarms | right | ROC-AUC |
|---|---|---|---|---|---|
"""


@contextmanager
def well_formed(path: Path | str) -> Iterator[None]:
    """While figures from a file are turned into text: what they lack is the file's fault.

    Raises:
        UserError: something is missing, or of another kind.
    """
    try:
        yield
    except (
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration
    ) as error:  # fmt: skip
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} is not as it was written ({reason}); make it anew") from error


# --- the table -----------------------------------------------------------------------------------


def results_table(results: dict) -> str:
    """The Markdown table by tiers: the published split first, then unseen castings.

    Below it, what the shortcut tests say about the models of the latter.
    """
    rows = []
    if "audit" in results:
        baseline = results["audit"]["copy_lookup"]["val and test"]
        rows.append(
            row("official test folder", "nearest-neighbour baseline, nothing learned", baseline)
        )
    rows.append(row("its published half", "published system", results["reference"]))
    for name, run in results["runs"].items():
        for tier, figures in run["tiers"].items():
            rows += tier_rows(tier, model_name(name, run), run, figures)
    table = HEADER + "".join(sorted(rows, key=lambda line: f"**{UNSEEN}**" in line))
    paragraphs = [releases_paragraph(results)]
    paragraphs += [probe_text(results)] if "probes" in results else []
    return table + "".join(f"\n{text}" for text in paragraphs if text)


def releases_paragraph(results: dict) -> str:
    """Which releases of the archive the figures of unseen castings are of; empty where one."""
    lines = []
    for name, run in results["runs"].items():
        for tier in run["tiers"].values():
            if counts := tier.get("releases"):
                kept = IMAGES[SECOND] - counts.get(SECOND, 0)
                rest = f", without the {kept:,} kept for an examination" if kept else ""
                lines.append(f"'{name}' pools both releases: {releases_text(counts)}{rest}.\n")
    return "".join(lines)


def probe_text(results: dict) -> str:
    """What is left of a model's decisions when only the background is left of the image."""
    probes = results["probes"]
    of = [
        name
        for name, run in results["runs"].items()
        if run.get("checkpoints") == probes.get("checkpoints")
    ]
    models = f"the models of '{of[0]}'" if of else "the models"
    aucs = {
        name: "{mean:.2f} ({low:.2f} to {high:.2f})".format_map(probes["probes"][name]["roc_auc"])
        for name in ("unmodified", "ring gone")
    }
    whole, without = (probes["probes"][name]["roc_auc"] for name in ("unmodified", "ring gone"))
    text = "no shortcut was found"
    if probes["verdict"]["shortcut"]:
        text = f"{models} decide by light and background"
        if without["mean"] < whole["low"]:
            text = f"light and background are part of what {models} decide by"
    return (
        f"With each casting painted over, so that only background and mean grey are left, the AUC "
        f"on unseen castings\nis {aucs['ring gone']}, where whole images give "
        f"{aucs['unmodified']} ({probes['images']:,} images): {text}.\n"
    )


def model_name(name: str, run: dict) -> str:
    """The name of a run; weights that were not pretrained are always said."""
    return f"{name}, from scratch, no ImageNet weights" if run["weights"] == "none" else name


def tier_rows(tier: str, name: str, run: dict, figures: dict) -> list[str]:
    """One line for copies of known castings; for unseen ones by image, session and casting."""
    if tier == "test" and run["protocol"] == "kaggle":
        return [row("its published half", name, figures)]
    title = UNSEEN if tier in UNSEEN_TIERS else tier
    where = f"**{title}**, {len(figures['roc_auc']['folds'])} folds"
    counts = figures["per_casting"]
    single = {
        "images": figures["castings"] - len(figures["both_labels"]),
        "counts": {
            "defects": counts["missed_defects"]["of"],
            "missed": counts["missed_defects"]["count"],
            "good": counts["false_alarms"]["of"],
            "false_alarms": counts["false_alarms"]["count"],
        },
        "rates": counts,
    }
    sessions, corrected = figures.get("by_session", {}), run.get("corrected_labels")
    lines = [
        row(where, name, figures),
        *(row(f"{where}, session {key}", name, found) for key, found in sessions.items()),
        row(f"{where}, by casting", name, single, "castings"),
    ]
    if corrected:
        what = f"{where}, {count_of(corrected['images_changed'], 'label')} corrected"
        lines.append(row(what, name, corrected["tiers"][tier]))
    return lines


def row(where: str, name: str, figures: dict, unit: str = "images") -> str:
    """One line of the table; intervals where there are any."""
    counts, rates, auc = figures["counts"], figures.get("rates", {}), figures.get("roc_auc")
    right = figures["images"] - counts["missed"] - counts["false_alarms"]
    cells = [
        f"{where}: {figures['images']:,} {unit}",
        name,
        rate_cell(counts["missed"], counts["defects"], rates.get("missed_defects")),
        rate_cell(counts["false_alarms"], counts["good"], rates.get("false_alarms")),
        rate_cell(right, figures["images"], rates.get("accuracy")),
        "" if auc is None else f"{auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
    ]
    return f"| {' | '.join(cells)} |\n"


def rate_cell(count: int, of: int, rate: dict | None) -> str:
    """'2/241 = 0.8 % (0.0 to 2.1)'."""
    text = f"{count:,}/{of:,} = {percent(count / of)} %"
    if rate is None or rate["low"] == rate["high"]:
        return text
    return f"{text} ({percent(rate['low'])} to {percent(rate['high'])})"


def percent(value: float) -> str:
    """Two digits behind the point near 0 and 1, where they matter; else one."""
    return f"{100 * value:.2f}" if min(value, 1 - value) < 0.02 else f"{100 * value:.1f}"


# --- the headline --------------------------------------------------------------------------------


def headline_text(results: dict) -> str:
    """Three figures, one each: the famous one, what it is worth, the one to trust."""
    reference, baseline = results["reference"], results["audit"]["copy_lookup"]["val and test"]
    right = reference["images"] - errors(reference)
    unseen = next(iter(folds_of(RELEASED_RECIPE, results)["tiers"].values()))
    rate = unseen["rates"]["accuracy"]
    lines = (
        ("published test split", "published system", f"{right}/{reference['images']} = "
         f"{percent(right / reference['images'])} %, but [the split leaks](docs/results.md)"),
        ("the whole test folder", "nearest-neighbour baseline, nothing learned",
         f"{baseline['images'] - errors(baseline)}/{baseline['images']} = "
         f"{percent(baseline['accuracy'])} %"),
        ("**unseen castings**", f"recipe {RELEASED_RECIPE}",
         f"**{percent(rate['rate'])} %** (95 % interval: {100 * rate['low']:.1f} to "
         f"{100 * rate['high']:.1f}) of {unseen['images']:,}: trust this one"),
    )  # fmt: skip
    header = "| photographs of | predicted by | right |\n|---|---|---|\n"
    return header + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def folds_of(recipe: str, results: dict) -> dict:
    """The published figures of a recipe's folds, those of the last publication.

    Raises:
        UserError: there are none, so that nothing could be said about the model.
    """
    wanted = {"protocol": "casting", "recipe": recipe}
    runs = [run for run in results["runs"].values() if wanted.items() <= run.items()]
    if not runs:
        raise UserError(f"{RESULTS} has no figures of the folds of --recipe {recipe}")
    return runs[-1]


# --- the leak ------------------------------------------------------------------------------------


def leak_text(results: dict) -> str:
    """Why the famous number is not the number, from the audit's own figures."""
    audit, reference = results["audit"], results["reference"]
    test, baseline = audit["held_out_known"]["test"], audit["copy_lookup"]["val and test"]
    counts = reference["counts"]
    right = reference["images"] - counts["missed"] - counts["false_alarms"]
    same = sum(audit["identical_to_train"].values())
    return (
        f"The {audit['images']:,} images are copies of photographs of only {audit['castings']} "
        f"castings, {audit['castings_good']} of them good: rotated, mirrored, in another light.\n"
        f"{test['count']} of the {test['of']} test images "
        f"({percent(test['count'] / test['of'])} %) show a casting that is also in the training "
        f"folder; {same} of the {baseline['images']} held-out images are even byte-identical\n"
        "to a training image. Copying the label of the most alike training image, with nothing "
        f"learned, gets {baseline['images'] - errors(baseline)} of {baseline['images']} right: "
        f"{100 * baseline['accuracy']:.2f} %.\n"
        f"So {right}/{reference['images']} on this split says how well a model remembers castings, "
        "not how well it tells good from defective on unseen castings.\n"
    )


# --- the gate ------------------------------------------------------------------------------------


def gate_text(results: dict) -> str:
    """What the gate says of each kind of picture, as a table."""
    figures = results["gate"]
    lines = [
        f"A model of recipe `{figures['recipe']}`; the held-out photographs show "
        f"{figures['castings']} castings that it was not trained on.\n",
        "| pictures | how many | not judged | for review | decided |",
        "|---|---|---|---|---|",
    ]
    for name, n in figures["gate"].items():
        decided = n["ok"] + n["defect"]
        lines.append(
            f"| {name} | {n['pictures']:,} | {n['not_judged']:,} | {n['review']:,} | {decided:,} |"
        )
    return "\n".join(lines) + "\n"


def errors(figures: dict) -> int:
    return figures["counts"]["missed"] + figures["counts"]["false_alarms"]
