"""The colours of figures, overlays and pages: apart for the colour-blind, and in grey print.

Okabe and Ito's blue, vermillion and amber; never red against green. Beside each stands a word, a
hatch, a marker or a line style that says the same.
"""

GOOD_COLOUR, DEFECT_COLOUR, REVIEW_COLOUR = "#0072b2", "#d55e00", "#e69f00"
UNDECIDED_COLOUR = "#7d8794"
RIGHT_COLOUR, WRONG_COLOUR = GOOD_COLOUR, DEFECT_COLOUR
LINE_COLOUR, PALE_COLOUR = "#34495e", "#8c8c8c"  # of what is neither good nor bad
OUTCOME_COLOURS = {"ok": GOOD_COLOUR, "defect": DEFECT_COLOUR, "review": REVIEW_COLOUR}


def outcome_colour(outcome: str) -> str:
    """The colour of a decision, or of none."""
    return OUTCOME_COLOURS.get(outcome, UNDECIDED_COLOUR)
