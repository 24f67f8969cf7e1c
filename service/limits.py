"""How much one request may hold; light to import."""

MAX_BATCH_PARTS = 64
MAX_BATCH_BYTES = 128 << 20
