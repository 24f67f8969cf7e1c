"""What adapt.py reaches on a session that a model has not seen, as published."""

from collections.abc import Sequence
from statistics import mean, median

WAYS = {
    "before": "the model as it is",
    "threshold": "`adapt.py --threshold-only`",
    "network": "`adapt.py`",
}


def adaptation_text(results: dict) -> str:
    """A table for each session that a model was trained without."""
    return "\n".join(session_text(one) for one in results["adaptation"].values())


def session_text(figures: dict) -> str:
    """One session: what it was, and a line for each way."""
    draws, known = figures["draws"], figures["known"]["photographs"]
    tested = [draw["good"] + draw["defective"] for draw in draws]
    lines = [
        f"Trained without the {figures['session']} session; {len(draws)} draws of "
        f"{figures['photographs']} good photographs of {figures['castings']} of its "
        f"castings, tested on {' to '.join(map(str, sorted({min(tested), max(tested)})))} "
        "photographs of its others; "
        f"{figures['machine']['device']}, threads: {figures['machine']['threads']}.\n",
        "| | AUC | balanced accuracy | missed | good ones rejected | not decided by the gate | "
        f"of {known} known photographs decided worse | seconds |",
        "|---|---|---|---|---|---|---|---|",
        *(way_line(way, draws, known) for way in WAYS),
    ]
    return "\n".join(lines) + "\n"


def way_line(way: str, draws: Sequence[dict], known: int) -> str:
    """Means of all draws and, in brackets, the worst."""

    def all_of(name: str) -> list[float]:
        return [draw[way][name] for draw in draws]

    def share(name: str, of: str) -> str:
        return f"{100 * sum(all_of(name)) / sum(draw[of] for draw in draws):.1f} %"

    tested = sum(draw["good"] + draw["defective"] for draw in draws)
    cells = [
        WAYS[way],
        *(f"{mean(all_of(name)):.3f} ({min(all_of(name)):.2f})" for name in ("auc", "balanced")),
        share("missed", "defective"),
        share("rejected", "good"),
        f"{100 * sum(all_of('reviewed') + all_of('refused')) / tested:.1f} %",
        "" if way == "before" else f"{100 * mean(all_of('known_worse')) / known:.1f} %",
        "" if way == "before" else f"{median(all_of('seconds')):.0f}",
    ]
    return f"| {' | '.join(cells)} |"
