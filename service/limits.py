"""How much one request may hold, and how many may wait; light to import."""

MAX_BATCH_PARTS = 64
MAX_BATCH_BYTES = 128 << 20
MAX_QUEUE_PARTS = 10_000
MAX_NUMBER = 10**12  # of a record in the log
