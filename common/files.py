"""Where things lie, and files that are never half-written."""

import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from common.csv_dialects import PLAIN, CsvDialect, CsvWriter
from common.errors import EXIT_FAILURE, UserError, tell
from common.text import count_of, unescape_formula

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = Path("checkpoints")
# No folder to write into is meant to be called so
SUFFIXES_OF_FILES = (".csv", ".json", ".jpeg", ".jpg", ".onnx", ".pdf", ".png", ".pth", ".svg",
                     ".txt", ".xlsx", ".zip")  # fmt: skip
LARGEST_CSV_BYTES = 1 << 28
LOCK = ".lock"  # in an output folder, or behind the name of an output file


def write_atomic(path: Path, content: bytes | str, outdated: Path | None = None) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old file or the new one.

    Args:
        outdated: a file about the old one, removed before the new one takes its place.

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
        if outdated:
            outdated.unlink(missing_ok=True)
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


def write_csv(
    path: Path, columns: list[str], rows: Iterable[Iterable], dialect: CsvDialect = PLAIN
) -> None:
    """Write a header and rows as CSV with plain line feeds, atomically."""
    with CsvFile(path, columns, dialect=dialect) as file:
        for row in rows:
            file.write(row)


class CsvFile:
    """Rows streamed to a temporary file, which takes its name when the `with` block ends.

    Texts that a spreadsheet would run as formulas are disarmed; `read_csv` gives them back.

    When the block is cut short, an earlier file of that name stays; what was written so far is kept
    as `partial`, if given, and removed otherwise.

    Raises:
        UserError: the folder or disk refuses (exit code 1).
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        partial: Path | None = None,
        dialect: CsvDialect = PLAIN,
    ):
        self.path, self.partial = Path(path), partial
        self._temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "w", newline="", encoding=dialect.encoding)
            self._writer = CsvWriter(self._file, columns, dialect)

    def write(self, row: Iterable) -> None:
        """Add a row."""
        with self._reported():
            self._writer.write(row)

    @property
    def rows(self) -> int:
        """So many have been added."""
        return self._writer.rows

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
                        tell(f"cut short; {rows} so far are in {target}")
        finally:
            for end in (self._file.close, self._temporary.unlink):
                with suppress(OSError):  # what went wrong before is worth telling
                    end()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"cannot write {self.path}: {reason}", EXIT_FAILURE) from error


def read_csv(path: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The lines of a CSV file, with these columns at least; what a short line lacks is ''.

    Texts are as they were before `CsvFile` disarmed them. Commas, semicolons or tabs separate, and
    the columns' names may have capitals and spaces around them, as spreadsheets and people write.

    Raises:
        UserError: missing, no CSV file in UTF-8, or without one of the columns.
    """
    try:
        if path.stat().st_size > LARGEST_CSV_BYTES:
            raise UserError(f"{path} is too large for what it should be")
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets add a mark
            names, separator = _header(file.readline(), columns)
            file.seek(0)
            reader = csv.DictReader(file, restval="", delimiter=separator)
            if reader.fieldnames:
                reader.fieldnames = [names.get(name, name) for name in reader.fieldnames]
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            lines = [{k: unescape_formula(v) for k, v in line.items()} for line in reader]
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file: {error}") from error
    if missing:
        wanted = ",".join(columns)
        raise UserError(f"{path} has no column {missing[0]}; its header needs {wanted}")
    return lines


def _header(line: str, columns: Collection[str]) -> tuple[dict[str, str], str]:
    """By a CSV file's first line: which of its names mean these columns, and what separates."""

    def meant(separator: str) -> dict[str, str]:
        found = next(csv.reader([line], delimiter=separator), [])
        alike = {name.strip().casefold(): name for name in found}
        as_written = {name: name if name in found else alike.get(name) for name in columns}
        return {written: name for name, written in as_written.items() if written is not None}

    # The first of several that do as well
    separator = max(",;\t", key=lambda one: len(meant(one)))
    return meant(separator), separator


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_suffix(option: str, path: Path, *suffixes: str) -> None:
    """Raise UserError unless a file that is to be written is called what it will be."""
    if path.suffix.lower() not in suffixes:
        wanted = " or ".join(suffixes)
        raise UserError(f"{option} {path} must end in {wanted}, which is what is written")


def refuse_no_folder(path: Path) -> None:
    """Raise UserError for what cannot be a folder to write into; makes none."""
    if path.suffix.lower() in SUFFIXES_OF_FILES and not os.path.exists(path):
        raise UserError(f"{path} is the name of a file; name a folder, which gets several")
    there = next(one for one in (path, *path.parents) if os.path.exists(one))
    if not there.is_dir():
        raise UserError(
            f"cannot use {path} as output folder: {there} is not a folder; choose another"
        )


def usable_folder(path: Path) -> Path:
    """Create a folder if need be and prove that it takes files, before hours of work depend on it.

    Raises:
        UserError: it has the name of a file, a file stands in its place, or it cannot be written
            to.
    """
    path = Path(path)
    refuse_no_folder(path)
    probe = path / f"probe.{os.getpid()}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot use {path} as output folder: {error.strerror}; choose another"
        ) from error
    return path


@contextmanager
def output_folder(path: Path, new: bool = False) -> Iterator[None]:
    """A usable folder, empty if it is to be new, that no other run writes into in the block.

    One that was made for the block is gone again, with those above it, if the block failed before
    it wrote anything.

    Raises:
        UserError: a file stands in its place, it cannot be written to, or another run does.
    """
    made = [one for one in (path, *path.parents) if not os.path.exists(one)]
    usable_folder(path)
    message = f"another run is writing into {path}; wait for it, or choose another --out"
    try:
        with locked(path / LOCK, message):
            if new and set(os.listdir(path)) - {LOCK}:
                raise UserError(f"{path} holds files; name a new folder with --out")
            yield
    except BaseException:
        with suppress(OSError):  # something has been written into one
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def output_file(path: Path, *inputs: Path | None) -> Iterator[None]:
    """A file that can be written, is none of `inputs`, and is this run's alone in the block.

    Raises:
        UserError: it is a folder, a device or an input, cannot be written, or another run does.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a folder or a device; name a file to write")
    for one in filter(None, inputs):
        if path.resolve() == one.resolve() or (
            one.exists() and path.exists() and path.samefile(one)
        ):
            raise UserError(f"{path} would be replaced, but it is to be read; name another file")
    usable_folder(path.parent)
    message = f"another run is writing {path}; wait for it, or name another file"
    with locked(path.with_name(f".{path.name}{LOCK}"), message):
        yield


@contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold a lock file while the block runs; the lock goes when the process does, however it ends.

    Raises:
        UserError: another process holds it; `message` says what that means.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(message) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot lock {path}: {reason}", EXIT_FAILURE) from error
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be removed, releasing removes it
            path.unlink()
        lock.release()


def cache_folder() -> Path:
    """Where decoded images and recognised castings are kept: CASTING_CACHE, else .cache here.

    It may be deleted at any time.
    """
    return Path(os.environ.get("CASTING_CACHE") or ROOT / ".cache")


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises:
        UserError: missing, or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return value
