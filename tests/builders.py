"""What several test files build: held-out images, checkpoints, small data sets."""

import hashlib
import io
import os
import shutil
import struct
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from log_records import record
from PIL import Image

from common.files import sha256_of_file
from dataset.folds import SplitOptions, assign_castings
from dataset.listing import ImageRow
from evaluation.held_out import EvaluatedImage, Evaluation
from inspection.predictor import Prediction
from model import Checkpoint, build_model
from networks.classes import defect_flags
from traceability.log import InspectionLog


def evaluation_of(*images: str) -> Evaluation:
    """Held-out images from `casting label probability fold seen`; '-' is an unknown casting.

    A sixth word is the photo session.
    """
    found = []
    for number, text in enumerate(images):
        casting, label, probability, fold, is_seen, session = [*text.split(), ""][:6]
        value, threshold = float(probability), 0.1 * int(fold)
        decision = "defect" if value >= threshold else "ok"
        found.append(
            EvaluatedImage(
                ImageRow(f"{number}.png", label, "test", casting.strip("-"), session=session),
                Prediction("ok", decision, value, decision, (value, 1 - value), threshold, 0.0),
                fold=int(fold),
                seen=is_seen == "yes",
                temperature=float(fold),
            )
        )
    return Evaluation("test", Path(), found, ["defect", "ok"])


def promote(new: Path, path: Path) -> None:
    """Put a model in another's place in one step, as it is put into use."""
    copy = path.with_name("new.tmp")
    shutil.copy(new, copy)
    os.replace(copy, path)


def write_image(path):
    """A small image that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4])
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


def make_set(root, classes=("def_front", "ok_front"), each=4):
    for part in ("train", "test"):
        for name in classes:
            for n in range(each):
                write_image(root / part / name / f"{part}_{n}.jpeg")
    return root


def parts_by_casting(rows):
    parts = defaultdict(set)
    for row in rows:
        parts[row.casting].add(row.split)
    return parts


def fold_of_castings(rows, fold, **options):
    return assign_castings(rows, SplitOptions("casting", fold=fold, **options))


SIZE_PX = 64


@cache
def random_weights(
    class_names: tuple[str, ...], head: str, size_px: int, network: str
) -> dict[str, torch.Tensor]:
    """Those of a network that has learned nothing, but whose BatchNorm has seen images."""
    torch.manual_seed(0)
    defects = defect_flags(class_names).tolist()
    model = build_model(len(class_names), "none", head, network=network, defects=defects).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, 1, size_px, size_px))
    return model.state_dict()


def checkpoint_of(
    class_names: list[str], head: str = "softmax", size_px: int = SIZE_PX, network: str = "resnet18"
):
    """A network with random weights, the same at each call; put others in their place only."""
    weights = dict(random_weights(tuple(class_names), head, size_px, network))
    return Checkpoint(
        weights=weights, head=head, class_names=class_names, image_size_px=size_px,
        mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], threshold=0.5, temperature=1.0,
        protocol="kaggle", fold=None, epoch=1, validation={}, training={}, data="castings",
        split_sha256="", torch_version="", architecture=network,
    )  # fmt: skip


def images_of(count: int = 3, size_px: int = SIZE_PX) -> torch.Tensor:
    random = np.random.default_rng(1)
    return torch.from_numpy(random.integers(0, 256, (count, size_px, size_px)).astype(np.uint8))


def zero_block(path: Path, offset: int, size: int = 4096) -> None:
    """Overwrite a part of a file with zeros, as a failing disk does."""
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes(len(data[offset : offset + size]))
    path.write_bytes(data)


def flip_byte(path: Path, offset: int) -> None:
    """Turn all bits of one byte round."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def jpeg_like_photograph(size_px: int = 300, **options) -> bytes:
    """A JPEG with texture everywhere."""
    random = np.random.default_rng(2)
    coarse = Image.fromarray(random.integers(40, 216, (40, 40)).astype(np.uint8))
    texture = np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC), float)
    texture += random.normal(0, 2, texture.shape)
    image = Image.fromarray(texture.clip(0, 255).astype(np.uint8)).convert(options.pop("mode", "L"))
    return encoded(image, "JPEG", **{"quality": 90} | options)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """An image as the bytes of a file."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def tiff_file(
    values: np.ndarray,
    photometric: int | None = 1,
    order: str = "<",
    tags: dict[int, int | list[int]] | None = None,
    raw: bytes | None = None,
) -> bytes:
    """An uncompressed TIFF of one strip, with any tags; `raw` in place of the values' bytes.

    Pillow writes neither all of the layouts that there are, nor big-endian ones.
    """
    height, width, samples = *values.shape[:2], int(np.prod(values.shape[2:]))
    raw = values.astype(values.dtype.newbyteorder(order)).tobytes() if raw is None else raw
    found = {256: width, 257: height, 258: [values.itemsize * 8] * samples, 259: 1, 273: 0,
             277: samples, 278: height, 279: len(raw), 284: 1}  # fmt: skip
    found |= {} if photometric is None else {262: photometric}
    found = dict(sorted((found | (tags or {})).items()))
    at = 14 + 12 * len(found)  # behind the directory
    lists = {tag: value for tag, value in found.items() if isinstance(value, list)}
    pixels_at = at + sum(4 * len(value) for value in lists.values())
    found |= {} if 273 in lists else {273: pixels_at}
    directory, behind = struct.pack(f"{order}H", len(found)), b""
    for tag, value in found.items():
        several = value if isinstance(value, list) else [value]
        packed = struct.pack(f"{order}{len(several)}I", *several)
        if len(several) > 1:
            packed, behind = struct.pack(f"{order}I", at + len(behind)), behind + packed
        directory += struct.pack(f"{order}HHI", tag, 4, len(several)) + packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (
        mark
        + struct.pack(f"{order}I", 8)
        + directory
        + bytes(4)
        + behind.ljust(pixels_at - at, b"\0")
        + raw
    )


def spoken_on(log, path, verdict):
    """Add an inspection of a photograph, and a verdict."""
    with InspectionLog(log, "append") as opened:
        (number,) = opened.append([record(file=str(path), sha256=sha256_of_file(path))])
        opened.add_disposition(number, verdict, "Maier")


def plate(number: int, defect: str = "") -> Image.Image:
    """A brushed plate, 96 x 56 px, each of its own texture; with a 'hole' or a 'scratch'."""
    random = np.random.default_rng(number)
    brushed = random.normal(0, 18, (1, 96)) + random.normal(0, 9, (56, 96))
    grey = np.clip(130 + brushed, 0, 255)
    y, x = random.integers(12, 44), random.integers(12, 84)
    if defect == "hole":
        grey[y - 3 : y + 4, x - 3 : x + 4] = 15
    elif defect == "scratch":
        grey[y : y + 2, x - 10 : x + 11] = 245
    return Image.fromarray(grey.astype(np.uint8))


def make_plates(
    folder: Path, counts: dict[str, int], defects: dict[str, str] | None = None
) -> Path:
    """Plates in class folders; `defects` says what a class shows, by default what it is called."""
    numbers = iter(range(1000 * len(str(folder)), 10**9))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            shown = (defects or {}).get(name, name)
            plate(next(numbers), shown).save(folder / name / f"{index}.png")
    return folder
