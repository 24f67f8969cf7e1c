"""Figures by photo session, side by side: those of test.py and of the shortcut tests."""

from evaluation.report import balanced_text
from gate.limits import NOT_JUDGED, REVIEW

COLUMNS = ("images of castings", "missed defects", "false alarms", "ROC-AUC (95 %)",
           "balanced accuracy", "gate")  # fmt: skip
SIDE_BY_SIDE = {0: 30, 1: 22, 2: 22}, {3: 24, 4: 28, 5: 0}  # columns, and how wide, in letters
ONE_KIND = "one kind only"


def session_table(tiers: dict[str, dict]) -> str:
    """One line a session, a block a tier; empty where no tier has two sessions."""
    lines = []
    for name, tier in tiers.items():
        if sessions := tier.get("by_session"):
            for widths in SIDE_BY_SIDE:
                lines.append(_line(f"{name}, session", COLUMNS, widths))
                lines += [_line(f"  {k}", _cells(found), widths) for k, found in sessions.items()]
            unknown = tier["images"] - sum(found["images"] for found in sessions.values())
            lines += [f"  in none: {unknown} of unknown session"] if unknown else []
    if lines:
        lines.append("balanced accuracy: within castings, the mean of both kinds judged right")
    return "\n".join(lines)


def session_rows(sessions: dict[str, dict]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The head of a table of sessions, and a row each."""
    rows = [(name, *_cells(found)) for name, found in sessions.items()]
    return ("session", *COLUMNS), rows


def _line(name: str, cells: tuple[str, ...], widths: dict[int, int]) -> str:
    padded = (f"{cells[place]:<{width}}" for place, width in widths.items())
    return f"{name:<24} {''.join(padded)}".rstrip()


def _cells(found: dict) -> tuple[str, ...]:
    """A session's figures as text, in the order of COLUMNS."""
    castings = f"{found['castings']} ({found['castings_good']} good)"
    if not found["castings_known"]:
        castings = "unknown"
    balanced = found["within_castings"].get("balanced_accuracy", {"rate": None})
    gate = found["gate"]
    return (
        f"{found['images']:,} of {castings}",
        *(_count(found["rates"][key]) for key in ("missed_defects", "false_alarms")),
        auc_text(found["roc_auc"]),
        ONE_KIND if balanced["rate"] is None else balanced_text(balanced),
        f"{gate[NOT_JUDGED]} not judged, {gate[REVIEW]} for review" if gate else "",
    )


def _count(rate: dict) -> str:
    if not rate["of"]:
        return "none to count"
    return f"{rate['count']}/{rate['of']} = {100 * rate['rate']:.2f} %"


def auc_text(auc: dict) -> str:
    """'0.981 (0.95 to 0.99)'."""
    if auc["mean"] is None:
        return ONE_KIND
    return f"{auc['mean']:.3f} ({auc['low']:.2f} to {auc['high']:.2f})"


def session_probe_table(found: dict) -> str:
    """The AUC of each perturbation in each session, of probes.json; empty where it has none.

    A model that only tells the sessions apart is at 0.5 within each.
    """
    sessions = found.get("by_session", {})
    if not sessions:
        return ""
    lines = [f"{'ROC-AUC by session':22}" + "".join(f"{name:<23}" for name in sessions)]
    for name in found["probes"]:
        cells = (each[name] for each in sessions.values())
        texts = ("" if cell is None else auc_text(cell["roc_auc"]) for cell in cells)
        lines.append((f"{name:22}" + "".join(f"{text:<23}" for text in texts)).rstrip())
    return "\n".join(lines)
