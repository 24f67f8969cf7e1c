"""The model that a command line names: loaded, told, and loaded anew when its file is another one.

Whoever brings a new model puts it in the file's place in one step (`os.replace`). A file that is no
usable model, for whatever reason, changes nothing: the model in use goes on.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from common.errors import UserError, tell
from common.origin import CASTINGS
from common.text import printable
from inspection.options import checked_band
from inspection.predictor import Predictor, load_predictor
from inspection.recording import doubts
from model import Checkpoint, find_checkpoint

RESEARCH_ONLY = "Research only: do not sort real parts with this model."  # as CASTINGS' licence
LOOK_S = 1.0  # a file is looked at no more often
Signature = tuple[int, int, int] | None  # inode, size, time of the last change; None: no file


class ModelFile:
    """A model's file, which may be replaced while the program runs.

    For one thread, but for `ask`.

    Args:
        load: makes a predictor of what lies there now, as at the program's start; may raise.
    """

    def __init__(self, path: Path, load: Callable[[], Predictor]):
        self.path, self._load = path, load
        self._asked, self._refused = False, False
        self._tried = self._seen = (None, None)  # as it was when it was loaded, and looked at, last
        self._next_look = 0.0

    @classmethod
    def of(cls, args: argparse.Namespace) -> "ModelFile":
        """The one that `add_inspection_arguments` asked for; it keeps its path from now on.

        Raises:
            UserError: there is none.
        """
        path = find_checkpoint(args.checkpoint)
        return cls(path, lambda: predictor_of(args, path).warm_up())

    def load(self) -> Predictor:
        """The model that lies there now.

        Raises:
            UserError: it cannot be used.
        """
        self._asked, self._refused = False, True  # until it is loaded
        self._tried = self._seen = self._signatures()  # before: what changes meanwhile is seen
        predictor = self._load()
        self._refused = False
        return predictor

    def ask(self) -> None:
        """Have the file loaded anew at the next look, changed or not; any signal may call it."""
        self._asked = True

    def is_due(self) -> bool:
        """Whether to `reload`; to be called as often as one likes.

        After a file that could not be used, the next one has to stay the same for one look: a slow
        copy would be tried, and complained of, again and again.
        """
        if self._asked:
            return True
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_S
        before, self._seen = self._seen, self._signatures()
        if self._refused:
            return before == self._seen != self._tried
        return self._seen[0] != self._tried[0]

    def reload(self, old: Predictor) -> Predictor:
        """The model that lies there now, to take the place of `old`.

        Raises:
            UserError: whatever is wrong with it; `old` is to go on.
        """
        try:
            new = self.load()
            check_same_classes(old, new)
        except Exception as error:  # not even a bug may end an inspection that goes on without it
            self._refused = True
            known = isinstance(error, UserError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            raise UserError(
                f"model {old.model_id} goes on, the new one is no use: {reason}"
            ) from error
        return new

    def _signatures(self) -> tuple[Signature, Signature]:
        """Of the file, and of the description beside it, which may be why it cannot be used."""
        return signature(self.path), signature(self.path.with_suffix(".json"))


def predictor_of(args: argparse.Namespace, path: Path) -> Predictor:
    """The model of a file, with the options of `add_inspection_arguments`.

    Raises:
        UserError: it cannot be used, or an option is wrong.
    """
    review = checked_band(args.review)
    return load_predictor(path, args.device, args.threshold, review, not args.no_gate)


def signature(path: Path) -> Signature:
    """What tells a file from the one that was there before."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def check_same_classes(old: Predictor, new: Predictor) -> None:
    """Raise UserError unless both tell the same classes apart: else it is another inspection."""
    before, now = (sorted(one.checkpoint.class_names) for one in (old, new))
    if before != now:
        raise UserError(
            f"it knows the classes {', '.join(now)}, not {', '.join(before)}: restart to use it"
        )


def reload_on_hangup(file: ModelFile) -> None:
    """Let SIGHUP have the file loaded anew; on Windows there is none.

    A terminal that closes sends it too. Then the program ends as by SIGTERM, as it would without
    this, unless it was started with nohup.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    ends = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def hung_up(signum, frame) -> None:
        if ends and not has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            file.ask()

    signal.signal(signal.SIGHUP, hung_up)


def has_terminal() -> bool:
    """Whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


# --- what a person hears -------------------------------------------------------------------------


def restriction(checkpoint: Checkpoint) -> str:
    """What the model card says of a model's use; empty for a model of somebody's own product."""
    return RESEARCH_ONLY if checkpoint.data in CASTINGS else ""


def announce(path: Path, predictor: Predictor) -> None:
    """Print which model inspects, and what it must not be used for."""
    data = printable(predictor.checkpoint.data)
    print(f"checkpoint {printable(path)} ({predictor.model_id}), trained on {data}")
    if limit := restriction(predictor.checkpoint):
        print(limit)  # not on standard error, which is the service's log
    if warning := predictor.without_gate:
        tell(f"warning: {warning}")


def announced_predictor(args: argparse.Namespace) -> Predictor:
    """The predictor that `add_inspection_arguments` asked for; prints which it is."""
    path = find_checkpoint(args.checkpoint)
    predictor = predictor_of(args, path)
    announce(path, predictor)
    return predictor


def cautions(predictor: Predictor) -> list[str]:
    """What a person must hear before trusting a model."""
    return [text for text in (doubts(predictor.checkpoint), predictor.without_gate) if text]


def change_text(old: Predictor, new: Predictor) -> str:
    """'model 0f3a... -> 91bc..., threshold 0.500 -> 0.310', and what is to be said of the new."""
    what = f"model {old.model_id} -> {new.model_id}, threshold {old.threshold:.3f}"
    return "; ".join([f"{what} -> {new.threshold:.3f}", *cautions(new)])
