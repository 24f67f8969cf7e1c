"""How far long work is: a bar on a terminal; elsewhere, as in a log file, a line now and then.

What ends within two seconds says nothing where there is no terminal.
"""

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tqdm import tqdm

from common.errors import tell
from common.text import format_duration
from common.threads import limit_threads

FIRST_S, BETWEEN_S = 1.5, 10.0  # until the first line, and between two


class ProgressBar(tqdm):
    """tqdm, which writes lines instead of a bar where standard error is no terminal."""

    def __init__(self, *args, disable: bool = False, **options):
        self.by_lines = not sys.stderr.isatty()
        if self.by_lines:
            options |= {"mininterval": FIRST_S, "delay": FIRST_S, "leave": True}
        self.next_line, self.told = FIRST_S, -1  # seconds since the start; n of the last line
        super().__init__(*args, disable=disable, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show how far it is; lines are not repeated whenever something else is written."""
        if not self.by_lines:
            return super().display(msg, pos)
        elapsed = self.format_dict["elapsed"]
        if elapsed >= self.next_line:
            tell(self.line())
            # Not by tqdm's mininterval: its loop reads that once, and counts twice when it changes
            self.next_line, self.told = elapsed + BETWEEN_S, self.n
        return True

    def clear(self, nolock: bool = False) -> None:
        """Make room for other text; lines need none."""
        if not self.by_lines:
            super().clear(nolock)

    def line(self) -> str:
        """'predicting test: 1,300 of 8,391 img, 15 %, after 20 s, 2 min left'."""
        now = self.format_dict
        text, elapsed = f"{now['prefix'] or 'done'}: {now['n']:,}", now["elapsed"]
        if not now["total"]:
            return f"{text} {now['unit']}, after {format_duration(elapsed)}"
        text += f" of {now['total']:,} {now['unit']}, {now['n'] / now['total']:.0%}"
        text = f"{text}, after {format_duration(elapsed)}".replace("%", " %")
        done = now["n"] - now["initial"]
        if not 0 < now["n"] < now["total"] or not done:
            return text
        left = (now["total"] - now["n"]) * elapsed / done
        return f"{text}, {format_duration(left)} left"

    def close(self) -> None:
        """End; a bar stays or goes as it was asked to, lines end with how long it took."""
        if not self.by_lines or self.disable:
            return super().close()
        self.disable = True
        self._decr_instances(self)
        if self.told not in (-1, self.n):
            tell(self.line())
        return None


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say that this is being done, if it takes long, and again every ten seconds.

    For work that cannot tell how far it is.
    """
    done, started = threading.Event(), time.perf_counter()

    def announce() -> None:
        wait = FIRST_S
        while not done.wait(wait):
            since = time.perf_counter() - started
            tell(what if wait == FIRST_S else f"{what}, since {format_duration(since)}")
            wait = BETWEEN_S

    speaker = threading.Thread(target=announce, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()


def load_pytorch(threads: int | None = None, *, quiet: bool = False) -> None:
    """Import it, which takes seconds: only when the command line is known to be right.

    Args:
        threads: of --threads.
        quiet: say nothing, for a program reads standard error.
    """
    limit_threads(threads)
    with nullcontext() if quiet else announced("loading PyTorch"):
        torch = importlib.import_module("torch")
    if threads:
        torch.set_num_threads(threads)
