"""Errors that a person can act on, and how a command ends: one line, and an exit code."""

import os
import signal
import sys
from collections.abc import Callable

# Exit codes, the same for every script.
EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_GATE, EXIT_UNREADABLE = 0, 1, 2, 3, 4


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

    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        code = main()
        flush_stdout()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Terminated:
        print("terminated", file=sys.stderr)
        code = 143
    except BrokenPipeError:  # the reader left early, and the work was cut short
        code = 141
    flush_stdout()
    sys.exit(code)


def flush_stdout() -> None:
    """Flush; a reader that has left by now (`| head`) has what it wanted."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
