"""Files of tensors and plain values: reading one runs no code, and notices every damaged byte.

What `to_bytes` writes is sealed: the comment at the end of torch.save's zip archive is the SHA-256
of all bytes before it. Other archives are held against the checksums of their records.
"""

import hashlib
import io
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError

SEAL_DIGITS = 64
SEAL_LENGTH = SEAL_DIGITS.to_bytes(2, "little")  # as it stands before the comment
END_OF_ARCHIVE, END_BYTES = b"PK\x05\x06", 22  # of the last record of a zip file, without comment
# torchvision's names end in the first digits of the file's SHA-256; a date is none
TORCHVISION_NAME = re.compile(r"resnet18-(?=\d*[a-f])([0-9a-f]{8})\.pth")


def to_bytes(content: dict) -> bytes:
    """A dictionary of tensors and plain values as torch.save writes it, sealed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-len(SEAL_LENGTH), io.SEEK_END)
    buffer.write(SEAL_LENGTH)
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    return buffer.getvalue()


def load_tensors(path: Path) -> tuple[dict, str]:
    """The content of a file of tensors and plain values, and the SHA-256 of the file.

    Raises:
        UserError: missing, damaged, without checksums, unsafe, or not a dictionary.
    """
    if not Path(path).is_file():  # a device, which may have no end, is none
        raise UserError(f"no such file: {path}")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    sha256 = checked_sha256(Path(path), data)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling fails in many ways
        raise UserError(
            f"{path} is not a checkpoint, damaged, or unsafe to load ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint of this repository: {type(content).__name__}")
    return content, sha256


def checked_sha256(path: Path, data: bytes) -> str:
    """The SHA-256 of a file's bytes, which fit the checksums that they come with.

    Raises:
        UserError: they do not, or there are none.
    """
    digest = hashlib.sha256(memoryview(data)[:-SEAL_DIGITS])
    seal = digest.hexdigest().encode()
    digest.update(data[-SEAL_DIGITS:])
    sha256 = digest.hexdigest()
    end = data[-SEAL_DIGITS - END_BYTES : -SEAL_DIGITS]
    if named := TORCHVISION_NAME.fullmatch(path.name):
        sound = sha256.startswith(named[1])
    elif end.startswith(END_OF_ARCHIVE) and end.endswith(SEAL_LENGTH):
        sound = data.endswith(seal)
    elif data[-END_BYTES:].startswith(END_OF_ARCHIVE) and data.endswith(b"\0\0"):  # no comment
        sound = records_are_sound(data)
    else:
        raise UserError(
            f"{path} is not a checkpoint, or damaged: it does not end as torch.save ends files"
        )
    if not sound:
        raise UserError(
            f"{path} is damaged: its bytes do not fit their checksum; copy it anew from where it "
            "came from, or train again"
        )
    return sha256


def records_are_sound(data: bytes) -> bool:
    """Whether each record of a zip archive fits its CRC-32, which PyTorch does not look at."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch.save compresses nothing: whatever is small here stays small
            stored = all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())
            return stored and archive.testzip() is None
    except Exception:  # zipfile, struct and zlib raise many types
        return False


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless these are the finite tensors of a network with BatchNorm."""
    if not isinstance(weights, Mapping):
        raise ValueError("its weights are no dictionary")
    for name, tensor in weights.items():
        plain = isinstance(name, str) and isinstance(tensor, Tensor)
        if not plain or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"its weights hold {name!r:.80}, which is no plain tensor")
        if tensor.is_floating_point() == name.endswith("num_batches_tracked"):
            raise ValueError(f"{name} is of type {tensor.dtype}")
        check_finite(name, tensor, name.endswith(("running_var", "num_batches_tracked")))


def check_finite(name: str, tensor: Tensor, not_negative: bool = False) -> None:
    """Raise ValueError, which names the tensor, unless all its numbers are finite."""
    low, high = map(float, tensor.aminmax())  # NaN, if there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} holds numbers that are not finite")
    if not_negative and low < 0:
        raise ValueError(f"{name} holds negative numbers")
