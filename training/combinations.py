"""Which of a run's options go together; light to import, so that a wrong pair is told at once."""

from collections.abc import Mapping

from common.errors import UserError
from networks.description import NO_IMAGENET

BY_CLASS = ("class", "kind")  # samplers


def refuse_combinations(values: Mapping, explicit: Mapping) -> None:
    """Raise UserError for options that exclude each other.

    Args:
        values: of all settings.
        explicit: of those that the command line names.
    """
    network, drawn = values["network"], values["drawn_defects"] is not None
    if values.get("good_only"):
        refuse_for_good_only(values, explicit)
        drawn = True
    if network == "local" and not drawn:
        raise UserError("--network local learns from --drawn-defects; give both")
    if network == "resnet18" and explicit.get("drawn_defects") is not None:
        raise UserError("--drawn-defects are for --network local and multiscale")
    if "drawn_where" in explicit and not drawn:
        raise UserError("--drawn-where belongs to --drawn-defects or --good-only")
    if "real_defects" in explicit and values["sampler"] not in BY_CLASS:
        raise UserError("--real-defects belongs to --sampler class or kind")
    if network != "resnet18" and values["weights"] == "imagenet":
        raise UserError(NO_IMAGENET)


def refuse_for_good_only(values: Mapping, explicit: Mapping) -> None:
    """Raise UserError for what does not learn without photographs of defects."""
    if explicit.get("real_defects"):
        raise UserError("--real-defects: there are none with good parts alone")
    if values["network"] == "resnet18":
        raise UserError(
            "photographs of good parts alone: defects are drawn on them, from which --network "
            "resnet18 does not learn; use --recipe product, or robust for castings"
        )
    if values["sampler"] not in BY_CLASS:
        raise UserError("photographs of good parts alone: use --sampler class or kind")
