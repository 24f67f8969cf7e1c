"""Layers, losses, what a network's outputs mean, and where it computes."""
