"""Records of the inspection log, for tests and for the light processes that some of them start."""

import hashlib
from dataclasses import replace

from traceability.log import Record


def record(number: int = 0, **changes) -> Record:
    """A good part; every number has its own file and content."""
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    plain = Record(
        station="line1", lot="A1", file=f"parts/{number}.png", sha256=sha256, status="ok",
        model="m" * 64, threshold=0.5, prob_defect=0.25, decision="ok",
        predicted_class="ok_front", brightness=120.5, latency_ms=17.25,
        time="2026-11-24T10:00:00.000Z",
    )  # fmt: skip
    return replace(plain, **changes)
