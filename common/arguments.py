"""Command lines: the parser that all commands share, and checked numbers for it."""

import argparse
import math
import re
from pathlib import Path
from typing import NoReturn

from common.errors import EXIT_USAGE, UserError, tell

# ResNet-18 reduces the least to one cell; more than the most fit no memory
IMAGE_SIZES_PX = (32, 2048)
ZIP_START = b"PK\x03\x04"  # of what torch.save writes
PICKLE_START = b"\x80"  # and of what it wrote once
DEVICES = r"cpu|mps|(cuda|xpu)(:\d{1,3})?"
MOST = 1_000_000_000  # a count or seed beyond is a slip of the finger
MOST_TOGETHER = 65_536  # images of a batch
LETTERS_SHOWN = 30  # of what somebody wrote
FITS = ("stretch", "letterbox")  # how a photograph becomes a square: imaging/framing.py


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, as all other errors are said."""

    def error(self, message: str) -> NoReturn:
        tell(f"error: {self.prog}: {message}; see --help")
        self.exit(EXIT_USAGE)


def script_parser(
    description: str,
    formatter_class: type[argparse.HelpFormatter] = argparse.RawDescriptionHelpFormatter,
) -> argparse.ArgumentParser:
    """A parser that shows the description as it is written, and takes no abbreviated options."""
    return OneLineParser(
        description=description, formatter_class=formatter_class, allow_abbrev=False
    )


def whole_number(text: str, low: int, high: int = MOST) -> int:
    """A whole number from `low` to `high`, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {shortened(text)}") from None
    if not low <= value <= high:
        is_small = high == MOST and value < low
        bounds = f"at least {low}" if is_small else f"from {low:,} to {high:,}"
        raise argparse.ArgumentTypeError(f"must be {bounds}, not {shortened(text)}")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    return whole_number(text, 1)


def whole_number_or_0(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    return whole_number(text, 0)


def seed(text: str) -> int:
    """A whole number that seeds a generator, for argparse."""
    return whole_number(text, 0)


def image_size(text: str) -> int:
    """Pixels of a network's input, for argparse."""
    return whole_number(text, *IMAGE_SIZES_PX)


def batch_size(text: str) -> int:
    """Images that are computed together, for argparse."""
    return whole_number(text, 1, MOST_TOGETHER)


def number(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number, such as 0.5, not {shortened(text)}"
        ) from None


def positive_number(text: str) -> float:
    """A finite number above 0, for argparse."""
    value = number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("must be a finite number above 0")
    return value


def share(text: str) -> float:
    """A number above 0 and up to 1, for argparse."""
    value = number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must lie above 0 and be at most 1")
    return value


def part_below_one(text: str) -> float:
    """A number from 0 to below 1, for argparse."""
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be at least 0 and below 1")
    return value


def not_negative(text: str) -> float:
    """A finite number of at least 0, for argparse."""
    return 0.0 if number(text) == 0 else positive_number(text)


def probability(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1")
    return value


def shortened(text: str) -> str:
    """What somebody wrote, for a message."""
    return repr(text if len(text) <= LETTERS_SHOWN else f"{text[:LETTERS_SHOWN]}...")


def device(text: str) -> str:
    """The name of a device that there may be, for argparse; PyTorch knows whether it is there."""
    if not re.fullmatch(DEVICES, text):
        raise argparse.ArgumentTypeError(
            f"must be cpu, cuda, cuda:1 or the like, or mps, not {shortened(text)}"
        )
    return text


def weights(text: str) -> str:
    """Where a training starts, for argparse: imagenet, none, or a file that may hold weights.

    Raises:
        UserError: there is no such file, or it is another kind of file.
    """
    if text in ("imagenet", "none"):
        return text
    try:
        with open(text, "rb") as file:
            begins = file.read(len(ZIP_START))
    except OSError as error:
        raise UserError(
            f"--weights takes imagenet, none or a file; {text}: {error.strerror}"
        ) from None
    if begins != ZIP_START and not begins.startswith(PICKLE_START):
        raise UserError(f"{text} holds no weights: it does not begin as torch.save begins files")
    return text


def checkpoint_file(text: str) -> Path:
    """A file that may be a checkpoint or an ONNX model, for argparse.

    Raises:
        UserError: as of `checkpoint`, or it is a folder.
    """
    path = checkpoint(text)
    if not path.is_dir():
        return path
    there = sorted(path.glob("*.pth"))
    example = f", such as {there[0]}" if there else ""
    raise UserError(f"{path} is a folder; name a checkpoint{example}")


def checkpoint(text: str) -> Path:
    """A file that may be a checkpoint or an ONNX model, or a folder of such, for argparse.

    What is none is refused before PyTorch, which takes seconds, is imported.

    Raises:
        UserError: there is none, or it is another kind of file.
    """
    path = Path(text)
    try:
        if path.is_dir():
            return path
        with open(path, "rb") as file:
            begins = file.read(len(ZIP_START))
    except FileNotFoundError:
        raise UserError(f"no such checkpoint: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix != ".onnx" and begins != ZIP_START:
        raise UserError(
            f"{path} is not a checkpoint, or damaged: it does not begin as torch.save begins files"
        )
    return path
