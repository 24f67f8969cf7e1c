"""Figures on held-out images, and how they are published."""
