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


def refuse_no_run_in(out: Path, of_folds: bool) -> None:
    """Raise UserError if there is nothing to go on with in this folder.

    Args:
        of_folds: the runs are those of --fold all, of which some may not have begun.
    """
    if not any(out.glob("fold*/last.pth" if of_folds else "last.pth")):
        raise UserError(f"no run to resume in {out}: it holds no last.pth; leave out --resume")


def refuse_run_in(out: Path) -> None:
    """Raise UserError if there is a run in this folder."""
    if previous_run(out):
        raise UserError(f"{out} holds a run; go on with --resume, or replace it with --overwrite")
