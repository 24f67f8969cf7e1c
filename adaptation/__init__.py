"""A trained model fitted to a new line by a few photographs of good parts, and what it is worth."""
