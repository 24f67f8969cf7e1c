"""Commands as processes of their own, which end when this one is asked to."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from common.files import ROOT

GRACE_S = 15  # for a command that is cut short, to save and to end its own processes
RUNNING: set[subprocess.Popen] = set()


def finished(command: Sequence[str], limit_s: float) -> tuple[str, str]:
    """What a Python command printed, and how it failed, or ''."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    RUNNING.add(process)
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return ended(process), f"cut short after {limit_s:g} s"
    except BaseException:  # this process is to leave
        ended(process)
        raise
    finally:
        RUNNING.discard(process)
    return output, f"exit code {process.returncode}" if process.returncode else ""


def ended(process: subprocess.Popen) -> str:
    """End a process, gently at first so that it ends what it has started; what it printed."""
    process.terminate()
    try:
        output, _ = process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return output


def end_all() -> None:
    """End all that other threads are waiting for."""
    running = RUNNING.copy()
    for process in running:
        process.terminate()
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            continue
        process.kill()
