"""The log's file while it is in use: whether it is still the one, and what SQLite's errors mean."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import EXIT_FAILURE, UserError

# Another program's lock, a full disk, a disk that is read-only or fails for a while
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
PASSING = BUSY | {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip


class LogUnavailableError(UserError):
    """The log takes nothing just now, and may do so again: nothing was recorded."""

    def __init__(self, message: str):
        super().__init__(message, EXIT_FAILURE)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """What goes wrong with the log's file in the block becomes a UserError.

    Raises:
        LogUnavailableError: it may pass.
        UserError: it will not: a damaged file, say, or a record that the log refuses.
    """
    try:
        yield
    except OSError as error:
        raise LogUnavailableError(f"inspection log {path}: {error}") from error
    # A damaged table's name gets into SQLite's words, and these need not be UTF-8 then
    except (sqlite3.Error, UnicodeDecodeError) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details of extended codes
        words = str(error).encode("unicode_escape").decode()  # in one line
        if code in BUSY:
            words = f"another program holds it ({words}); try again"
        text = f"inspection log {path}: {words}"
        if code in PASSING:
            raise LogUnavailableError(text) from error
        raise UserError(text, EXIT_FAILURE) from error


def beside(path: Path) -> tuple[Path, Path]:
    """The two files in which SQLite keeps what is not in the log's own file yet."""
    real = path.resolve()
    return real.with_name(f"{real.name}-wal"), real.with_name(f"{real.name}-shm")


class OpenedFiles:
    """The files of an open log, so that it is noticed when one goes or another takes its place.

    SQLite goes on writing into a file that was deleted or renamed, and says that all is well.
    """

    def __init__(self, path: Path):
        self._identities = {file: _identity(file) for file in (path, *beside(path))}

    def check(self) -> None:
        """Raise LogUnavailableError unless all files are those that were opened."""
        for file, opened in self._identities.items():
            try:
                found = _identity(file)
            except OSError as error:
                state = f"is gone ({error.strerror})"
            else:
                if found == opened:
                    continue
                state = "is not the file any more that was opened"
            raise LogUnavailableError(f"{file} {state}: put it back, or restart")


@contextmanager
def transaction(connection: sqlite3.Connection, files: OpenedFiles | None = None) -> Iterator[None]:
    """All or nothing; no other writer in between, so that the chain cannot fork.

    Raises:
        LogUnavailableError: one of the files, if given, is not there any more.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if files:
            files.check()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if files:
        files.check()  # it may have gone just before the commit


def _identity(file: Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino
