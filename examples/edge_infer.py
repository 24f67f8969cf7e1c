"""Inspect photographs with an exported model and nothing but onnxruntime, numpy and Pillow.

    pip install onnxruntime numpy pillow
    python edge_infer.py model-int8.onnx part.jpeg ...

Copy this file and the model to the device (docs/deploy.md). A damaged model is refused (exit code
2). What is no sound photograph of a part gets status not_judged, an image that cannot be read, or
has not plain 8 bits, error; neither is ever ok, and both give exit code 4. A part unlike all that
the model was trained on is for review.
"""

import hashlib
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MAX_PIXELS = 64_000_000


def load(path: str) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """The model and its metadata, whose sha256 is the file's with zeros in its own place."""
    model = Path(path).read_bytes() if Path(path).is_file() else b""
    before, key, after = model.rpartition(b"\n\x06sha256\x12\x40")
    if after[:64] != hashlib.sha256(before + key + b"0" * 64 + after[64:]).hexdigest().encode():
        print(f"error: {path} is missing, damaged, or no model of export.py", file=sys.stderr)
        sys.exit(2)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session, session.get_modelmeta().custom_metadata_map


def squared(grey: Image.Image, side_px: int, fit: str) -> np.ndarray:
    """Uint8 (S, S): stretched, or, of a letterbox, as it is, with mean grey beside it."""
    shape = (side_px, side_px)
    if fit == "letterbox":
        shape = tuple(max(1, round(side_px * side / max(grey.size))) for side in grey.size)
    part = np.asarray(grey.resize(shape, Image.Resampling.BILINEAR))
    square = np.full((side_px, side_px), round(float(part.mean())), np.uint8)
    top, left = ((side_px - side) // 2 for side in part.shape)
    square[top : top + part.shape[0], left : left + part.shape[1]] = part
    return square


def read(path: Path, side_px: int, fit: str) -> tuple[np.ndarray, dict[str, float]]:
    """A photograph as the model wants it, uint8 (1, S, S), and what the limits are about."""
    data = path.read_bytes() if path.is_file() else b""  # a pipe would keep us waiting
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "BMP")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        deep = image.format == "PNG" and data[24] > 8  # bits, which Pillow cuts down silently
        if image.mode not in ("L", "RGB") or image.has_transparency_data or deep:
            raise ValueError(f"mode {image.mode}; 8 bits of grey or RGB expected")
        grey = ImageOps.exif_transpose(image).convert("L")
    small = squared(grey, side_px, fit)
    x = small.astype(np.float32)
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    step = np.abs(np.diff(x, axis=1)).mean() + 0.1
    return small[None], {
        "side_px": min(grey.size),
        "aspect": grey.width / grey.height,
        "white": (small >= 250).mean(),
        "black": (small <= 5).mean(),
        "contrast": x.std(),
        "detail": np.abs(4 * x[1:-1, 1:-1] - around).mean() / step,
    }


def judge(prob_defect: float, threshold: float) -> str:
    """No number is never ok."""
    return "ok" if prob_defect < threshold else "defect"


def gated(limits: dict | None, measures: dict[str, float], distance: float) -> tuple[str, str]:
    """'not_judged' or 'review', and why; both empty when nothing speaks against a decision."""
    if limits is None:  # a model without a gate
        return "", ""
    for name, value in measures.items():
        limit = limits["measures"][name]
        if not limit["lowest"] <= value <= limit["highest"]:
            return "not_judged", f"{name} {value:.2f}, known {limit['low']:.2f}-{limit['high']:.2f}"
    reason = f"unlike all training photographs (distance {distance:.1f})"
    if not distance <= limits["refuse"]:
        return "not_judged", reason
    return ("review", reason) if distance > limits["review"] else ("", "")


def main(model: str, *paths: str) -> int:
    session, about = load(model)
    threshold, limits, undecided = float(about["threshold"]), json.loads(about["limits"]), 0
    side_px, fit = int(about["image_size_px"]), about.get("fit", "stretch")
    outputs = ["prob_defect", *(["distance"] if limits else [])]
    for path in paths:
        started = time.perf_counter()
        line = {"path": path, "status": "ok", "decision": "", "error": ""}
        try:
            grey, measures = read(Path(path), side_px, fit)
            (prob_defect,), *more = (one.tolist() for one in session.run(outputs, {"images": grey}))
            opinion, reason = gated(limits, measures, more[0][0] if more else 0.0)
            if opinion == "not_judged":
                line |= {"status": opinion, "error": reason}
            else:
                line |= {"decision": opinion or judge(prob_defect, threshold), "error": reason}
                line |= {"prob_defect": round(prob_defect, 6), "threshold": threshold}
        except Exception as error:  # whatever a damaged file makes Pillow raise
            line |= {"status": "error", "error": str(error)}
        undecided += not line["decision"]
        line["latency_ms"] = round((time.perf_counter() - started) * 1000, 1)
        print(json.dumps(line))
    return 4 if undecided else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
