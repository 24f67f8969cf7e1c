"""From a photograph to a recorded decision, and to what explains it."""
