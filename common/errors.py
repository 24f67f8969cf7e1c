"""Errors that a person can act on, and how a command ends: one line, and an exit code."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from common.text import printable

# Exit codes, the same for every script.
EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_GATE, EXIT_UNREADABLE = 0, 1, 2, 3, 4
DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
CONTINUED = "\n  "  # begins a further line of a message


class UserError(Exception):
    """A failure that a person can act on: what, where, what to do, in one line."""

    def __init__(self, message: str, exit_code: int = EXIT_USAGE):
        super().__init__(message)
        self.exit_code = exit_code


class Terminated(BaseException):
    """SIGTERM, raised like KeyboardInterrupt so that `finally` blocks run."""


def run_script(main: Callable[[], int]) -> None:
    """Call `main` and leave the process with its exit code; a UserError becomes one line on stderr.

    SIGTERM leaves with 143, Ctrl-C with 130, and work cut short by a closed pipe with 141.
    """

    def raise_terminated(signum, frame):
        raise Terminated

    make_streams_usable()
    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        code = main()
        flush_stdout()
    except UserError as error:
        tell(f"error: {error}")
        code = error.exit_code
    except SystemExit as leaving:  # argparse's
        code = leaving.code
    except KeyboardInterrupt:
        tell("interrupted")
        code = 130
    except Terminated:
        tell("terminated")
        code = 143
    except BrokenPipeError:  # the reader left early, and the work was cut short
        code = 141
    except OSError as error:
        if error.errno not in DISK_FAILURES:
            raise
        tell(f"error: {error.filename or 'cannot write to standard output'}: {error.strerror}")
        discard_stdout()
        code = EXIT_FAILURE
    flush_stdout()
    sys.exit(code)


def make_streams_usable() -> None:
    """Let the standard streams exist, and print every text, whatever the terminal's characters."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed: the next file opened would take its number
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def tell(message: str) -> None:
    """A message on standard error; nothing in it can make a terminal do anything."""
    with suppress(OSError):  # nobody listens any more
        print(CONTINUED.join(map(printable, message.split(CONTINUED))), file=sys.stderr)


def flush_stdout() -> None:
    """Flush; a reader that has left by now (`| head`) has what it wanted."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Let nothing that is still to be written there fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
