"""Which images there are, which casting each one shows, and batches of them."""
