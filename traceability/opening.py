"""Opening a log: finding it, making one if need be, and giving an old one the present tables."""

import sqlite3
from pathlib import Path

from common.errors import EXIT_FAILURE, UserError, tell
from traceability.access import beside, transaction
from traceability.acknowledged import Acknowledged
from traceability.schema import (
    READABLE,
    SCHEMA_VERSION,
    STANDING,
    changed_rules,
    schema,
    show_as_present,
    upgrade,
    version_of,
)

APPLICATION_ID = 0x43415354  # 'CAST': marks the file as an inspection log
SQLITE_START, ID_PLACE = b"SQLite format 3\0", slice(68, 72)  # of SQLite's file format


def open_log(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    """The database of a log; see `log.InspectionLog` for `mode` and `busy_s`.

    Raises:
        UserError: it is missing, foreign or of a newer version.
        OSError, sqlite3.Error: it cannot be opened.
    """
    if not path.is_file():
        check_may_begin(path, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path, mode, busy_s)
    try:
        if mode == "create":
            create_if_empty(connection, path)
        check_identity(connection, path)
        if mode != "read":
            make_durable(connection, path)
            upgrade_if_old(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
        elif version_of(connection) < SCHEMA_VERSION:
            show_as_present(connection)
        connection.execute(STANDING)
    except BaseException:
        connection.close()
        raise
    return connection


def refuse_foreign(path: Path) -> None:
    """Raise UserError for a file that is plainly no log; opens no database, which would leave files
    beside it.
    """
    try:
        with open(path, "rb") as file:
            begins = file.read(ID_PLACE.stop)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    own = APPLICATION_ID.to_bytes(4, "big")
    # The mark of a new log may still be in the file beside it
    is_marked = begins[ID_PLACE] == own or beside(path)[0].exists()
    if begins and not (begins.startswith(SQLITE_START) and is_marked):
        raise UserError(f"{path} is no inspection log; name another file")


def check_may_begin(path: Path, mode: str) -> None:
    """Whether a log may begin where there is none: not over the rest of another, nor silently.

    Raises:
        UserError: it may not.
    """
    if mode != "create":
        raise UserError(
            f"no inspection log {path}; predict.py --log, watch.py, serve.py and app.py write one"
        )
    rest, _ = beside(path)
    if rest.is_file() and rest.stat().st_size:
        raise UserError(
            f"{path} is gone, and {rest.name} holds records of it that a new log would destroy: "
            "put it back, or remove that file too",
            EXIT_FAILURE,
        )
    note = Acknowledged(path).path
    if note.exists():
        tell(
            f"warning: {path} begins anew, although {note.name} says that there was a log: put it "
            "back, or remove that file"
        )


def connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    """A connection that can read."""
    access = {"read": "ro", "append": "rw", "create": "rwc"}[mode]
    address = f"{path.resolve().as_uri()}?mode={access}"
    options = {"timeout": busy_s, "isolation_level": None, "uri": True}
    connection = sqlite3.connect(address, **options)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        # A copy in a place where nothing can be written: SQLite wants to be told
        is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        if mode != "read" or is_busy or beside(path)[0].exists():
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", **options)
    return connection


def create_if_empty(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a log in a database that has none at all."""

    def is_empty() -> bool:
        return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    if not is_empty():
        return
    make_durable(connection, path)
    with transaction(connection):
        if is_empty():  # else another process was faster
            for statement in schema():
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise UserError unless this is a log of a version that can be read."""
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    version = version_of(connection)
    if identity != APPLICATION_ID:
        raise UserError(f"{path} is no inspection log; name another file")
    if version not in READABLE:
        raise UserError(
            f"{path} has schema version {version}, this program reads "
            f"{' and '.join(map(str, READABLE))}; use the program that wrote it"
        )


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """Other journals lock readers out; FULL: what is acknowledged survives a power cut."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise UserError(f"{path} lies where SQLite cannot share a log; use a local disk")
    connection.execute("PRAGMA synchronous = FULL")


def upgrade_if_old(connection: sqlite3.Connection, path: Path) -> None:
    """Give a log of an earlier version the present tables, all at once."""
    if version_of(connection) == SCHEMA_VERSION:
        return
    # Else the dispositions would follow the old table under its new name
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    with transaction(connection):
        if version_of(connection) == SCHEMA_VERSION:  # another process was faster
            return
        if problems := changed_rules(connection):  # which new rules would hide
            raise UserError(f"{path}: {problems[0]}; see records.py verify", EXIT_FAILURE)
        upgrade(connection)
