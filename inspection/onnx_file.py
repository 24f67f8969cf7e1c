"""The bytes of an exported model: sealed with their own SHA-256, and checked before they are used.

The file's metadata hold `sha256`: that of the file with these 64 digits replaced by zeros. So any
client can check it with the standard library, as examples/edge_infer.py does.
"""

import hashlib
from pathlib import Path

from common.errors import UserError

SEAL = "sha256"
NO_SEAL = "0" * 64
BEFORE_SEAL = b"\n\x06sha256\x12\x40"  # its key and its length, as protobuf writes them


def seal_of(before: bytes, after: bytes) -> bytes:
    """The digits that belong between the bytes before and after them."""
    return hashlib.sha256(before + NO_SEAL.encode() + after).hexdigest().encode()


def sealed(model: bytes) -> bytes:
    """The model whose metadata hold a seal, with the one that fits in its place."""
    before, _, after = parted(model)
    return before + seal_of(before, after) + after


def parted(model: bytes) -> tuple[bytes, bytes, bytes]:
    """What lies before the seal, the seal, and what lies after it; nothing without one."""
    start = model.rfind(BEFORE_SEAL) + len(BEFORE_SEAL)
    if start < len(BEFORE_SEAL):
        return b"", b"", b""
    return model[:start], model[start : start + len(NO_SEAL)], model[start + len(NO_SEAL) :]


def read_sealed(path: Path) -> bytes:
    """The bytes of an exported model, which are those that were written.

    Raises:
        UserError: missing, foreign, damaged, or of a version that wrote no checksum.
    """
    try:
        model = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    before, seal, after = parted(model)
    if not seal:
        raise UserError(
            f"{path} is no model of export.py, damaged, or of an earlier version, which wrote no "
            "checksum: export it anew"
        )
    if seal != seal_of(before, after):
        raise UserError(
            f"{path} is damaged: its bytes do not fit their checksum; copy it anew, or export it "
            "anew"
        )
    return model
