"""The files of a run in its folder; light to import."""

from pathlib import Path

from common.errors import UserError

REPORT = "report.html"
EVENTS = "events.out.tfevents.*"  # of --tensorboard
RUN_FILES = (
    "last.pth", "best.pth", "best.json", "best_validation.csv", "history.csv", "curves.png",
    "split.csv", REPORT,
)  # fmt: skip


def previous_run(out: Path) -> list[Path]:
    """The files of a run in this folder."""
    files = [out / name for name in RUN_FILES if (out / name).exists() and name != "split.csv"]
    return [*files, *out.glob(EVENTS)]


def refuse_run_in(out: Path) -> None:
    """Raise UserError if there is a run in this folder."""
    if previous_run(out):
        raise UserError(f"{out} holds a run; go on with --resume, or replace it with --overwrite")
