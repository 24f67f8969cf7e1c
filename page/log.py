"""The log behind the page: opened anew for each look, and always the same one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traceability.access import LogUnavailableError
from traceability.log import SHORT_BUSY_S, InspectionLog


class PageLog:
    """A log by its path; what it held once it must go on holding, as long as the page runs."""

    def __init__(self, path: Path):
        self.path = path
        self._known: tuple[int, str] | None = None  # a record seen in it, and its hash

    def exists(self) -> bool:
        """Whether there is a log yet.

        Raises:
            LogUnavailableError: there was one.
        """
        if self.path.exists():
            return True
        if self._known:
            raise LogUnavailableError(f"{self.path} is gone: put it back, or restart the page")
        return False

    @contextmanager
    def open(self, mode: str = "read") -> Iterator[InspectionLog]:
        """The log; see `InspectionLog` for `mode`.

        Raises:
            UserError: it cannot be opened, or it is not the one that it was.
        """
        self.exists()
        with InspectionLog(self.path, mode, SHORT_BUSY_S) as log:
            if self._known and not log.holds("inspections", *self._known):
                raise LogUnavailableError(
                    f"{self.path} is another log now: put the former one back, or restart the page"
                )
            yield log
            last = log.last()
            self._known = last if last[0] else self._known
