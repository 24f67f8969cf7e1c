"""The photographs of a new line: read, sorted out, and told which show the same part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError, tell
from common.text import count_of, printable
from dataset.hubs import SIZE_PX, NoHubError
from dataset.recognition import fingerprint
from gate.limits import Limits
from gate.measures import measure
from imaging.framing import framed
from imaging.reading import (
    UnreadableImageError,
    decode_grey,
    in_threads,
    read_file,
    refuse_unreadable,
)
from model import Checkpoint

LEAST, MOST = 5, 500
EVEN_SIZE = 1.25  # largest hub over smallest: up to here all are photographed from one distance
EVEN_PLACE = 0.08  # of the width, between the places of the hubs


@dataclass(frozen=True)
class Photograph:
    """One photograph, as the network and as the recognition of castings see it."""

    path: Path
    sha256: str  # of the file
    pixels: np.ndarray  # uint8 (S, S)
    small: np.ndarray  # uint8 (300, 300)
    measures: dict[str, float]  # what the gate looks at

    @property
    def contents(self) -> bytes:
        """Equal for copies of a photograph, whatever they are called."""
        return self.small.tobytes()


def read_photographs(paths: Sequence[Path], checkpoint: Checkpoint) -> list[Photograph]:
    """Decode the files as the checkpoint's network takes them.

    Raises:
        UserError: files that cannot be read, all of them.
    """

    def read(path: Path) -> Photograph | tuple[str, str]:
        try:
            data = read_file(path)
            image = decode_grey(data)
        except UnreadableImageError as error:
            return printable(path), str(error)
        pixels = checkpoint.framed(image)
        small = pixels if pixels.shape == (SIZE_PX, SIZE_PX) else framed(image, SIZE_PX)
        sha256 = hashlib.sha256(data).hexdigest()
        return Photograph(path, sha256, pixels, small, measure(pixels, image.size, hub=True))

    found = in_threads(read, paths, "reading photographs")
    refuse_unreadable((one for one in found if isinstance(one, tuple)), Path("what was named"))
    return found


@dataclass(frozen=True)
class Material:
    """Photographs to learn from, and those that were left out, with the reason."""

    photographs: list[Photograph]
    left_out: list[tuple[Path, str]]
    parts: list[str]  # of each photograph: which part it shows
    recognised: bool  # else each photograph counts as a part of its own

    @property
    def pixels(self) -> np.ndarray:
        """Uint8 (N, S, S)."""
        return np.stack([one.pixels for one in self.photographs])

    @property
    def count(self) -> int:
        """How many parts."""
        return len(set(self.parts))

    def describe(self) -> str:
        """A line for people."""
        text = count_of(len(self.photographs), "photograph")
        if self.recognised:
            return f"{text} of {count_of(self.count, 'part')}"
        return f"{text}; parts cannot be recognised on them, each counts as a part of its own"


def sorted_out(photographs: Sequence[Photograph], limits: Limits | None) -> Material:
    """Without copies, and without what the model's gate would not take for the part at all."""
    kept, left_out, seen = [], [], {}
    for one in photographs:
        reason = limits.refusal(one.measures) if limits else ""
        if one.contents in seen:
            reason = f"the same picture as {printable(seen[one.contents])}"
        if reason:
            left_out.append((one.path, reason))
        else:
            seen[one.contents] = one.path
            kept.append(one)
    parts = recognised_parts(kept)
    own = [f"photograph {number}" for number in range(1, len(kept) + 1)]
    return Material(kept, left_out, parts or own, parts is not None)


def sound(photographs: Sequence[Photograph], limits: Limits | None) -> Material:
    """As `sorted_out`; says what is left out."""
    found = sorted_out(photographs, limits)
    for path, reason in found.left_out:
        tell(f"note: left out {printable(path)}: {reason}")
    return found


def recognised_parts(photographs: Sequence[Photograph]) -> list[str] | None:
    """Which part each photograph shows, 'part 1' and so on; None where that cannot be seen."""
    if len(photographs) < 2:
        return None
    try:
        groups = fingerprint([np.stack([one.small for one in photographs])]).groups()
    except NoHubError:
        return None
    return [f"part {group + 1}" for group in groups.tolist()]


def refuse_many(paths: Sequence[Path]) -> None:
    """Raise UserError for more photographs than are of use here."""
    if len(paths) > MOST:
        raise UserError(
            f"{len(paths):,} photographs: with more than {MOST} of good parts, and some of "
            "defects, train.py makes a better model"
        )


def refuse_few(good: Material) -> None:
    """Raise UserError where there is too little to fit a model by."""
    count, out = len(good.photographs), good.left_out
    if count < LEAST:
        why = f"; {len(out)} left out, first {printable(out[0][0])}: {out[0][1]}" if out else ""
        raise UserError(
            f"{count_of(count, 'usable photograph')} of good parts{why}; at least {LEAST} are "
            "needed, better ten of ten different parts"
        )


def framing(photographs: Sequence[Photograph]) -> str:
    """Whether the parts lie alike in the photographs; words for people."""
    found = [one.measures for one in photographs if "hub_size" in one.measures]
    if not found:
        return "whether the parts lie alike is unknown, for no hub is found"
    sizes = [one["hub_size"] for one in found]
    apart = max(np.ptp([one[name] for one in found]) for name in ("hub_x", "hub_y"))
    text = (
        f"the hub takes {100 * min(sizes):.0f} to {100 * max(sizes):.0f} % of the picture's width "
        f"and moves by {100 * apart:.0f} % of it at most"
    )
    if max(sizes) <= EVEN_SIZE * min(sizes) and apart <= EVEN_PLACE:
        return f"the parts lie alike: {text}"
    return f"the parts do not lie alike: {text}; a camera that stands still makes decisions surer"
