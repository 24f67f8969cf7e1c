"""The gate's limits, and its word on a photograph.

A photograph outside the limits of a measure is not judged at all, and so is one whose distance from
the training images is beyond `refuse`: whatever the network says of it would be a guess. A distance
beyond `review` is that of a sound photograph of something that the training images do not show,
another part or another light: a person decides.
"""

from dataclasses import asdict, dataclass

from gate.measures import HUB

NOT_JUDGED, REVIEW = "not_judged", "review"
# Of each measure, in the order in which they are asked: what is wrong when it is too low, too high.
# {value}, {low}, {high}: of the photograph, and what the training images span.
REASONS = {
    "white": (
        "",
        "overexposed: {value:.0%} of the pixels are white; the model knows up to {high:.0%}",
    ),
    "black": (
        "",
        "underexposed: {value:.0%} of the pixels are black; the model knows up to {high:.0%}",
    ),
    "side_px": ("only {value:.0f} px on its shorter side; the model knows from {low:.0f}", ""),
    "aspect": (
        "too narrow: {value:.2f} times as wide as high; the model knows {low:.2f} to {high:.2f}",
        "too wide: {value:.2f} times as wide as high; the model knows {low:.2f} to {high:.2f}",
    ),
    "hub_size": (
        "the part is too small: its hub is {value:.0%} of the width; the model knows {low:.0%} to "
        "{high:.0%}",
        "the part is too large: its hub is {value:.0%} of the width; the model knows {low:.0%} to "
        "{high:.0%}",
    ),
    "hub_roundness": (
        "no whole part found: its hub is {value:.0%} as wide as long; the model knows from "
        "{low:.0%}",
        "",
    ),
    "hub_x": (
        "the part is {value:.0%} of the width beside the middle; the model knows {low:.0%} to "
        "{high:.0%}",
    )
    * 2,
    "hub_y": (
        "the part is {value:.0%} of the height beside the middle; the model knows {low:.0%} to "
        "{high:.0%}",
    )
    * 2,
    "contrast": (
        "hardly any contrast: grey values deviate by {value:.1f}; the model knows from {low:.0f}",
        "",
    ),
    "detail": (
        "blurred: detail {value:.2f}; the model knows {low:.2f} to {high:.2f}",
        "noisy: detail {value:.2f}; the model knows {low:.2f} to {high:.2f}",
    ),
}
NO_PART = "no part found: its dark hub is missing or cut off"
UNLIKE = "unlike all training photographs (distance {distance:.1f}; they reach {known:.1f})"


@dataclass(frozen=True)
class Interval:
    """What the training images span, and how far a photograph may go beyond."""

    low: float
    high: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Limits:
    """What a photograph must be like.

    `known`, `review`, `refuse`: the distance that validation images reach, and from where on a
    person decides, or nobody.
    """

    measures: dict[str, Interval]
    known: float
    review: float
    refuse: float

    @property
    def with_hub(self) -> bool:
        """Whether parts are pump impellers, with a hub that can be found."""
        return HUB[0] in self.measures

    def refusal(self, measured: dict[str, float]) -> str:
        """Why a photograph with these measures is not judged; empty when they are sound."""
        for name, reasons in REASONS.items():
            interval, value = self.measures.get(name), measured.get(name)
            if interval is None or value is None:
                continue
            # No number is outside on both sides
            outside = (not value >= interval.lowest, not value <= interval.highest)
            for reason, is_outside in zip(reasons, outside, strict=True):
                if is_outside and reason:
                    return reason.format(value=value, low=interval.low, high=interval.high)
        return NO_PART if self.with_hub and HUB[0] not in measured else ""

    def opinion(self, measured: dict[str, float], distance: float) -> tuple[str, str]:
        """NOT_JUDGED or REVIEW, and why; both empty when nothing speaks against a decision."""
        if reason := self.refusal(measured):
            return NOT_JUDGED, reason
        return self.opinion_on(distance)

    def opinion_on(self, distance: float) -> tuple[str, str]:
        """The same by the distance from the training images alone."""
        unlike = UNLIKE.format(distance=distance, known=self.known)
        if not distance <= self.refuse:  # no number is no distance either
            return NOT_JUDGED, f"no part found: {unlike}"
        return (REVIEW, unlike) if distance > self.review else ("", "")

    def as_dict(self) -> dict:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Limits":
        """The limits of `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: they are not whole, or no numbers in order.
        """
        measures = {
            name: Interval(**{bound: float(value) for bound, value in each.items()})
            for name, each in values["measures"].items()
        }
        limits = cls(measures, *(float(values[name]) for name in ("known", "review", "refuse")))
        hub = set(measures) & set(HUB)
        if set(measures) - hub != set(REASONS) - set(HUB) or hub not in (set(), set(HUB)):
            raise ValueError("the gate measures other things than are known here")
        if not 0 < limits.known <= limits.review <= limits.refuse < float("inf"):
            raise ValueError("the gate's distances are not in order")
        for name, each in measures.items():
            if not each.lowest <= each.low <= each.high <= each.highest:
                raise ValueError(f"the gate's limits of {name} are not in order")
        return limits
