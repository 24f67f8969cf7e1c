"""Layers, losses, what a network's outputs mean, where it computes, and files of its weights."""
