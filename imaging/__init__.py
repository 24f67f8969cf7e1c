"""Pixels of photographs: reading them, finding them, drawing over them. No torch."""
