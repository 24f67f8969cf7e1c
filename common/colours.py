"""The colours of good and bad, in every figure and overlay."""

GOOD_COLOUR, DEFECT_COLOUR = "#2a9d5c", "#c8413a"
RIGHT_COLOUR, WRONG_COLOUR = GOOD_COLOUR, DEFECT_COLOUR
