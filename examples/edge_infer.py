"""Inspect photographs with an exported model and nothing but onnxruntime, numpy and Pillow.

    pip install onnxruntime numpy pillow
    python edge_infer.py model-int8.onnx part.jpeg ...

Copy this file and the model to the device; docs/deploy.md has the commands for Arm boards. Size
and threshold come from the model. An image that cannot be read, or whose grey values are not plain
8 bits, is an error, never ok, and gives exit code 4; predict.py notices more kinds of damage.
"""

import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(path: str) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """The model and its metadata."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, session.get_modelmeta().custom_metadata_map


def read(path: Path, size_px: int) -> np.ndarray:
    """A photograph as the model wants it: uint8 (1, S, S)."""
    data = path.read_bytes() if path.is_file() else b""  # a pipe would keep us waiting
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "BMP")) as image:
        deep = image.format == "PNG" and data[24] > 8  # bits, which Pillow cuts down silently
        if image.mode not in ("L", "RGB") or image.has_transparency_data or deep:
            raise ValueError(f"mode {image.mode}; 8 bits of grey or RGB expected")
        grey = ImageOps.exif_transpose(image).convert("L")
    return np.asarray(grey.resize((size_px, size_px), Image.Resampling.BILINEAR))[None]


def main(model: str, *paths: str) -> int:
    session, about = load(model)
    threshold, unreadable = float(about["threshold"]), 0
    for path in paths:
        started = time.perf_counter()
        line = {"path": path, "decision": "", "error": ""}
        try:
            grey = read(Path(path), int(about["image_size_px"]))
            (prob_defect,) = session.run(["prob_defect"], {"images": grey})[0].tolist()
            line |= {"decision": "ok" if prob_defect < threshold else "defect"}  # no number: defect
            line |= {"prob_defect": round(prob_defect, 6), "threshold": threshold}
        except Exception as error:  # whatever a damaged file makes Pillow raise
            unreadable += 1
            line["error"] = str(error)
        line["latency_ms"] = round((time.perf_counter() - started) * 1000, 1)
        print(json.dumps(line))
    return 4 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
