"""What every script shares: errors a person can act on, files never half-written, paths."""

import argparse
import csv
import hashlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CHECKPOINTS = Path("checkpoints")

# Exit codes, the same for every script.
EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_GATE, EXIT_UNREADABLE = 0, 1, 2, 3, 4


class UserError(Exception):
    """A failure that a person can act on: what, where, what to do, in one line."""

    def __init__(self, message: str, exit_code: int = EXIT_USAGE):
        super().__init__(message)
        self.exit_code = exit_code


def script_parser(description: str) -> argparse.ArgumentParser:
    """A parser that shows the description as it is written, and takes no abbreviated options."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


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


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old file or the new one.

    Raises:
        UserError: the folder or disk refuses (exit code 1); the previous file is intact.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass  # the first error is the one worth telling
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}", EXIT_FAILURE) from error


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, columns: list[str], rows: Iterable[Iterable]) -> None:
    """Write a header and rows as CSV with plain line feeds, atomically."""
    with CsvFile(path, columns) as file:
        for row in rows:
            file.write(row)


# What a spreadsheet would take for a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(value: object) -> object:
    """A text that a spreadsheet does not run as a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


class CsvFile:
    """Rows streamed to a temporary file, which takes its name when the `with` block ends.

    When the block is cut short, an earlier file of that name stays; what was written so far is kept
    as `partial`, if given, and removed otherwise.

    Raises:
        UserError: the folder or disk refuses (exit code 1).
    """

    def __init__(self, path: Path, columns: list[str], partial: Path | None = None):
        self.path, self.partial, self.rows = Path(path), partial, 0
        self._temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(columns)

    def write(self, row: Iterable) -> None:
        """Add a row."""
        # Python before 3.13 leaves a lone carriage return unquoted: readers see a line end
        safe = [cell.replace("\r", "\\r") if isinstance(cell, str) else cell for cell in row]
        with self._reported():
            self._writer.writerow(safe)
        self.rows += 1

    def __enter__(self) -> "CsvFile":
        return self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        target = self.path if kind is None else self.partial
        try:
            with self._reported():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                if target and (self.rows or kind is None):
                    os.replace(self._temporary, target)
                    if kind is not None:
                        rows = count_of(self.rows, "line")
                        print(f"cut short; {rows} so far are in {target}", file=sys.stderr)
        finally:
            with suppress(OSError):  # what went wrong before is worth telling
                self._file.close()
                self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"cannot write {self.path}: {reason}", EXIT_FAILURE) from error


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def usable_folder(path: Path) -> Path:
    """Create a folder if need be and prove that it takes files, before hours of work depend on it.

    Raises:
        UserError: a file stands in its place, or it cannot be written to.
    """
    path = Path(path)
    probe = path / f"probe.{os.getpid()}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot use {path} as output folder: {error.strerror}; choose another with --out"
        ) from error
    return path


@contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold a lock file while the block runs; the lock goes when the process does.

    Raises:
        UserError: another process holds it; `message` says what that means.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(message) from None
    try:
        yield
    finally:
        lock.release()


def require_packages(*names: str) -> None:
    """Raise UserError unless these packages of requirements-deploy.txt can be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"{error.name or name} is missing; install it with: "
                "pip install -r requirements-deploy.txt"
            ) from None


def cache_folder() -> Path:
    """Where decoded images and recognised castings are kept: CASTING_CACHE, else .cache here.

    It may be deleted at any time.
    """
    return Path(os.environ.get("CASTING_CACHE") or ROOT / ".cache")


def is_defect(label: str) -> bool:
    """Whether a class folder holds defective parts: all but those that begin with 'ok' do."""
    return not label.lower().startswith("ok")


def count_of(number: int, noun: str) -> str:
    """'1 image', '7,348 images'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
