"""What a checkpoint may say of its model: values that predictions and reports can rest on."""

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping

from common.arguments import FITS, IMAGE_SIZES_PX
from common.labels import is_defect

HEADS = ("softmax", "sigmoid")
NETWORKS = ("resnet18", "local", "multiscale")
NO_IMAGENET = "ImageNet's weights fit --network resnet18 only; use --weights none"
TEMPERATURES = (0.01, 100.0)  # far beyond what is ever fitted

Check = tuple[Callable[[object], bool], str]  # and what the value should be


def check_description(described: Mapping[str, object]) -> None:
    """Raise ValueError, which names the first wrong value, unless all are usable."""
    check_values(described, DESCRIPTION)
    check_values(described["training"], TRAINING, "training's ")
    check_values(described["operating_point"] or {}, OPERATING_POINT, "operating point's ")


def check_values(values: Mapping, checks: Mapping[str, Check], of: str = "") -> None:
    """Raise ValueError unless each of the values that are there passes its check."""
    for name, (passes, wanted) in checks.items():
        if name in values and not passes(values[name]):
            raise ValueError(f"its {of}{name} is {reprlib.repr(values[name])}, not {wanted}")


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether it is a finite number from `low` to `high`."""
    plain = type(value) in (int, float)  # one of NumPy's would be refused when it is read again
    return plain and low <= value <= high and math.isfinite(value)


def is_whole(value: object, low: int = 0, high: int = 2**63 - 1) -> bool:
    """Whether it is a whole number from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are(values: object, passes: Callable[[object], bool], count: int) -> bool:
    return isinstance(values, list | tuple) and len(values) == count and all(map(passes, values))


def _are_classes(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return False
    if not all(name and name.isprintable() for name in value):
        return False
    return len(set(value)) == len(value) and {*map(is_defect, value)} == {True, False}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool) or isinstance(value, str) or is_number(value)


def _is_table(table: object, passes: Callable[[object], bool]) -> bool:
    return isinstance(table, dict) and all(
        isinstance(name, str) and passes(value) for name, value in table.items()
    )


def _is_json(value: object) -> bool:
    """Whether JSON can hold it, and tables in it have names."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    return all(map(_is_json, value)) if isinstance(value, list) else _is_plain(value)


def _is_adaptation(value: object) -> bool:
    if not isinstance(value, dict) or not _is_json(value) or not isinstance(value["parent"], str):
        return False
    held_out = value["figures"]["held_out"]
    rate = held_out["parts"] if held_out else {"count": 0, "of": 0}
    verdicts = value.get("verdicts", {"learned": []})
    named = value["mode"] in ("network", "threshold") and bool(value["good"])
    return (
        named
        and all(map(is_whole, (rate["count"], rate["of"])))
        and all(_is_listed(value[kind]) for kind in ("good", "defective", "old"))
        and isinstance(verdicts, dict)
        and isinstance(verdicts["learned"], list)
        and all(isinstance(one, str) for one in verdicts["learned"])
    )


def _is_listed(value: object) -> bool:
    """Whether it is a list of files, each with its path and SHA-256."""
    return isinstance(value, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(k), str) for k in ("path", "sha256"))
        for one in value
    )


def number(low: float, high: float) -> Check:
    """A finite number within bounds."""
    return lambda value: is_number(value, low, high), f"a number from {low:g} to {high:g}"


def whole(low: int, high: int = 2**63 - 1) -> Check:
    """A whole number within bounds."""
    return lambda value: is_whole(value, low, high), f"a whole number from {low} to {high}"


def choice(names: Iterable[str]) -> Check:
    """One of some names."""
    names = tuple(names)
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


def or_none(check: Check) -> Check:
    """Nothing is fine too."""
    return lambda value: value is None or check[0](value), f"{check[1]}, or nothing"


TEXT: Check = (lambda value: isinstance(value, str)), "text"
YES_OR_NO: Check = (lambda value: isinstance(value, bool)), "true or false"
DESCRIPTION: dict[str, Check] = {
    "class_names": (_are_classes, "a list of different names, of good parts and of defects"),
    "image_size_px": whole(*IMAGE_SIZES_PX),
    "mean": (lambda value: _are(value, is_number, 3), "three finite numbers"),
    "std": (lambda value: _are(value, lambda v: is_number(v) and v > 0, 3), "three above 0"),
    "fit": choice(FITS),
    "threshold": number(0, 1),
    "temperature": number(*TEMPERATURES),
    "head": choice(HEADS),
    "architecture": choice(NETWORKS),
    "format": whole(1),
    "protocol": TEXT,
    "fold": or_none(whole(0)),
    "epoch": whole(0),
    "validation": (lambda value: _is_table(value, is_number), "a table of finite numbers"),
    "training": (lambda value: _is_table(value, _is_plain), "a table of plain values"),
    "data": TEXT,
    "split_sha256": TEXT,
    "torch_version": TEXT,
    "adaptation": or_none((_is_adaptation, "a table with its parent and its photographs")),
    "operating_point": or_none((lambda value: _is_table(value, _is_plain), "a table of values")),
}
TRAINING = {
    "recipe": or_none(TEXT),
    "weights": or_none(TEXT),
    "castings": or_none(TEXT),
    "corrected_labels": or_none(TEXT),
    "folds": or_none(whole(2)),
    "fold": or_none(whole(0)),
    "fold_seed": or_none(whole(0, 2**32 - 1)),
}
OPERATING_POINT = {
    "fitted": YES_OR_NO,
    "temperature": number(*TEMPERATURES),
    "cut": number(-1e6, 1e6),
    "min_recall": or_none(number(0, 1)),
    "castings_defective": whole(0),
    "castings_good": whole(0),
    "note": TEXT,
} | dict.fromkeys(("threshold", "threshold_low", "threshold_high"), number(0, 1))
