"""The log behind the page: opened anew for each look, and always the same one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traceability.access import LogUnavailableError
from traceability.log import InspectionLog

BUSY_S = 1.0  # how long the page waits for another program's lock: whoever waits for it looks on
GLANCE_S = 0.2  # the same for what is only told beside other things


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

    def count(self) -> int:
        """How many inspections it holds.

        Raises:
            UserError: as `open`, but sooner.
        """
        with self.open(busy_s=GLANCE_S) as log:
            return log.last()[0]

    @contextmanager
    def open(self, mode: str = "read", busy_s: float | None = None) -> Iterator[InspectionLog]:
        """The log; see `InspectionLog` for the arguments.

        Raises:
            UserError: it cannot be opened, or it is not the one that it was.
        """
        self.exists()
        with InspectionLog(self.path, mode, busy_s or BUSY_S) as log:
            if self._known and not log.holds("inspections", *self._known):
                raise LogUnavailableError(
                    f"{self.path} is another log now: put the former one back, or restart the page"
                )
            yield log
            last = log.last()
            self._known = last if last[0] else self._known
