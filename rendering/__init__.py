"""Rendered castings: one photograph, or a whole data set with its ground truth."""
