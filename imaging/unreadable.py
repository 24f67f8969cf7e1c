"""The one error of a photograph that must not be inspected."""


class UnreadableImageError(ValueError):
    """A file that must not be inspected; the message says why in a few words."""
