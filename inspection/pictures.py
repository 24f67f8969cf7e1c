"""Photographs kept beside a log: of parts that did not pass, and of those that persons judged.

A verdict is worth a photograph: the next model learns from both (adaptation/verdicts.py).
"""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from common.errors import tell
from imaging.reading import UnreadableImageError, read_file
from traceability.log import InspectionLog

FREE_BYTES = 1 << 30
# Suffixes by the first bytes, so that a file manager shows what was kept
SUFFIXES = {
    b"\xff\xd8": ".jpeg", b"\x89P": ".png", b"BM": ".bmp", b"II": ".tiff", b"MM": ".tiff",
    b"RI": ".webp", b"GI": ".gif",
}  # fmt: skip
SHA256 = re.compile(r"[0-9a-f]{64}")


class KeptImages:
    """Photographs by their SHA-256, in a folder beside the log.

    None is kept when less than FREE_BYTES are left for the log on their disk.
    """

    def __init__(self, log: Path, folder: Path | None = None):
        self.folder = folder or log.with_name(f"{log.stem}_pictures")
        self._complained = False

    def keep(self, sha256: str, data: bytes) -> None:
        """Store a photograph; what prevents it costs the image, never the decision."""
        target = self.folder / f"{sha256}{SUFFIXES.get(data[:2], '')}"
        temporary = target.with_name(f"{sha256}.{os.getpid()}.tmp")
        try:
            if target.exists() and target.stat().st_size == len(data):
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < FREE_BYTES:
                raise OSError("the disk is nearly full")
            temporary.write_bytes(data)
            os.replace(temporary, target)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._complained:
                tell(f"warning: images are not kept: {self.folder}: {error}")
            self._complained = True

    def find(self, sha256: str, file: str) -> bytes | None:
        """The photograph of a record: kept here, or still where it was inspected, and unchanged."""
        found = self.locate(sha256, file)
        return found and found[1]

    def locate(self, sha256: str, file: str) -> tuple[Path, bytes] | None:
        """The same, with the file that holds it."""
        if not SHA256.fullmatch(sha256):
            return None
        for path in (*self.folder.glob(f"{sha256}*"), Path(file)):
            with suppress(UnreadableImageError):
                data = read_file(path)
                if hashlib.sha256(data).hexdigest() == sha256:
                    return path, data
        return None


def keep_judged(log: InspectionLog, inspection_id: int, data: bytes | None = None) -> None:
    """Keep the photograph of a part on which a person has spoken, if it can still be had.

    Args:
        data: the photograph, where it is at hand; else it is read from where it was inspected.
    """
    images = KeptImages(log.path)
    own = "SELECT sha256, file FROM inspections WHERE id = ?"
    for sha256, file in log.query(own, [inspection_id]):
        data = data or images.find(sha256, file)
        if data and hashlib.sha256(data).hexdigest() == sha256:
            images.keep(sha256, data)
