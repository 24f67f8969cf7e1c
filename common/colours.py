"""The colours of figures and overlays."""

GOOD_COLOUR, DEFECT_COLOUR = "#2a9d5c", "#c8413a"
LINE_COLOUR = "#1f5fa8"  # of what is neither
RIGHT_COLOUR, WRONG_COLOUR = GOOD_COLOUR, DEFECT_COLOUR
REVIEW_COLOUR, UNDECIDED_COLOUR = "#c78a1e", "#7d8794"
OUTCOME_COLOURS = {"ok": GOOD_COLOUR, "defect": DEFECT_COLOUR, "review": REVIEW_COLOUR}


def outcome_colour(outcome: str) -> str:
    """The colour of a decision, or of none."""
    return OUTCOME_COLOURS.get(outcome, UNDECIDED_COLOUR)
