"""Layers, losses, and what a network's outputs mean."""
