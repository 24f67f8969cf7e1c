"""A camera that delivers the same picture again and again shows no parts: none must be judged.

A frozen camera, a stuck trigger, a program that copies an old file: every part would get the
decision of the first. Two photographs of parts never have the same pixels, not even of one part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inspection.predictor import Prediction
from traceability.subgroups import FROZEN, RUN

REASON = f"{FROZEN} the same picture {RUN} times in a row"


@dataclass(frozen=True)
class Picture:
    """What tells two pictures apart."""

    sha256: str  # of the file
    brightness: float | None  # mean grey value
    pixels: str = ""  # SHA-256 of the resized grey pixels; the log does not keep it

    def equals(self, other: "Picture") -> bool:
        """Whether the files are the same, or the pixels, as far as they are known."""
        if self.sha256 and self.sha256 == other.sha256:
            return True
        if self.pixels and other.pixels:
            return self.pixels == other.pixels
        return self.brightness is not None and self.brightness == other.brightness


class FrozenCamera:
    """Counts equal pictures in a row at one station.

    Args:
        before: SHA-256 and brightness of those that the log holds, the oldest first.
    """

    def __init__(self, before: Sequence[tuple[str, float | None]] = ()):
        self.has_just_frozen = False  # with the last picture, or was so when this one began
        self._last: Picture | None = None
        self._count, self._told = 0, False
        for sha256, brightness in before:
            self._add(Picture(sha256, brightness))

    def judged(self, prediction: Prediction) -> Prediction:
        """The prediction itself, or from the third equal picture on that there is none.

        A photograph that cannot be read neither counts nor ends a row.
        """
        self.has_just_frozen = False
        if prediction.status == "error":
            return prediction
        self._add(Picture(prediction.sha256, prediction.brightness, prediction.pixels))
        if self._count < RUN:
            self._told = False
            return prediction
        self.has_just_frozen, self._told = not self._told, True
        reason = f"{REASON}; {prediction.error}" if prediction.error else REASON
        return prediction.not_judged(reason)

    def _add(self, picture: Picture) -> None:
        same = self._last is not None and picture.equals(self._last)
        self._count = self._count + 1 if same else 1
        self._last = picture
