"""The colours of figures and overlays."""

GOOD_COLOUR, DEFECT_COLOUR = "#2a9d5c", "#c8413a"
LINE_COLOUR = "#1f5fa8"  # of what is neither
RIGHT_COLOUR, WRONG_COLOUR = GOOD_COLOUR, DEFECT_COLOUR
