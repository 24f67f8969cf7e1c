"""The network as an ONNX graph: grey bytes in, in 32 or 8 bits.

Out come logits, P(defect) and, where the model has a gate, the distance from its training images.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dataset.batches import unit_range
from inspection.engines import INPUT, LOGITS, adds_without_saturation, outputs_of
from inspection.onnx_file import NO_SEAL, SEAL, sealed
from model import Checkpoint
from networks.classes import class_probabilities, defect_flags, defect_margin
from networks.features import logits_and_features
from networks.grey_stem import GreyStem

OPSET = 20
# The first convolution and those of the first stage, which have 1 % of the weights and see the
# finest image: in 8 bits they would scatter logits by 0.7, all others together scatter them by
# 0.03. The last layer, residual sums and the average keep 32 bits too.
IN_32_BITS = 5


class FixedStem(nn.Module):
    """`GreyStem` with its weights computed, for a graph that holds constants."""

    def __init__(self, stem: GreyStem):
        super().__init__()
        self.register_buffer("middle", stem.middle.detach())
        self.register_buffer("weight", stem.two_channels().detach().contiguous())

    def forward(self, grey: Tensor) -> Tensor:
        images = grey - self.middle
        both = torch.cat([images, torch.ones_like(images)], dim=1)
        return conv2d(both, self.weight, stride=2, padding=3)


class Inspection(nn.Module):
    """Grey bytes uint8 (N, S, S) to logits (N, C), calibrated P(defect) (N,), distance (N,)."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        self.network = checkpoint.model().to(memory_format=torch.contiguous_format)
        if isinstance(self.network.conv1, GreyStem):
            self.network.conv1 = FixedStem(self.network.conv1)
        self.class_names, self.temperature = checkpoint.class_names, checkpoint.temperature
        self.register_buffer("defects", defect_flags(checkpoint.class_names).float())
        self.distance = checkpoint.distance()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        logits, features = logits_and_features(self.network, unit_range(images))
        probabilities = class_probabilities(logits, self.class_names, self.temperature)
        outputs = logits, (probabilities * self.defects).sum(dim=1)
        return (*outputs, self.distance(features)) if self.distance else outputs


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """The checkpoint's network as a 32-bit ONNX model, any number of images at a time."""
    size, inspection = checkpoint.image_size_px, Inspection(checkpoint).eval()
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            inspection,
            (torch.zeros(2, size, size, dtype=torch.uint8),),
            dynamo=True,
            input_names=[INPUT],
            output_names=outputs_of(checkpoint),
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            verbose=False,
        )
    return program.model_proto.SerializeToString()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the exporter logs about optional packages."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def quantised(
    model: bytes, calibration: np.ndarray, reduce_range: bool, class_names: Sequence[str]
) -> bytes:
    """The model with 8-bit convolutions: static, QDQ, weights per channel, MinMax ranges.

    Args:
        calibration: resized grey images uint8 (N, S, S) that the ranges of activations come from.
        reduce_range: 7-bit weights, for processors whose 8-bit sums saturate.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, prepared, small = (Path(folder) / f"{name}.onnx" for name in "abc")
        plain.write_bytes(model)
        # Folds BatchNorm into the convolutions before their ranges are measured
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
        last = [node.name for node in heads(graph, class_names)]
        quantize_static(
            prepared,
            small,
            Batches(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool"],
            nodes_to_exclude=convolutions[:IN_32_BITS] + last,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return centred(small.read_bytes(), model, calibration, class_names)


def centred(
    small: bytes, model: bytes, calibration: np.ndarray, class_names: Sequence[str]
) -> bytes:
    """The 8-bit model with its bias corrected, and leaning to the safe side.

    Rounding shifts logits more than it scatters them: the last layer's bias takes the mean shift on
    the calibration images back (after Nagel et al., Data-free quantization, 2019). What scatter is
    left would miss as many defects as it raises alarms: by one deviation it leans to the latter.
    """
    import onnx

    proto = onnx.load_model_from_string(small)
    exact, rounded = _logits(model, calibration), _logits(small, calibration)
    correction = (exact - rounded).mean(axis=0)
    scatter = float((defect_margin(rounded, class_names) - defect_margin(exact, class_names)).std())
    if len(correction) == 1:
        correction += scatter
    else:
        correction += torch.where(defect_flags(class_names), scatter / 2, -scatter / 2)
    bias = last_bias(proto.graph, class_names)
    value = onnx.numpy_helper.to_array(bias) + correction.numpy()
    bias.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float32), bias.name))
    return proto.SerializeToString()


def heads(graph, class_names: Sequence[str]) -> list:
    """The layers that make logits: of the part (Gemm), or of cells (Conv), of each scale."""
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}

    def makes_logits(node) -> bool:
        if node.op_type != "Conv":
            return node.op_type == "Gemm"
        outputs, _, *kernel = shapes.get(node.input[1], (0, 0))
        return outputs in (1, len(class_names)) and kernel == [1, 1]

    return [node for node in graph.node if makes_logits(node)]


def last_bias(graph, class_names: Sequence[str]):
    """The bias of the last of the layers that make logits."""
    last = heads(graph, class_names)[-1]
    return next(one for one in graph.initializer if one.name == last.input[2])


def _logits(model: bytes, images: np.ndarray) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    batches = np.split(images, range(32, len(images), 32))
    found = [session.run([LOGITS], {INPUT: batch})[0] for batch in batches if len(batch)]
    return torch.from_numpy(np.concatenate(found))


class Batches:
    """Calibration images as ONNX Runtime asks for them: one batch a call, then None."""

    def __init__(self, images: np.ndarray, batch_size: int = 16):
        self._batches = iter(np.split(images, range(batch_size, len(images), batch_size)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def with_metadata(model: bytes, values: dict[str, str]) -> bytes:
    """The model with its metadata replaced, and sealed."""
    import onnx

    proto = onnx.load_model_from_string(model)
    onnx.helper.set_model_props(proto, values | {SEAL: NO_SEAL})
    return sealed(proto.SerializeToString())


def metadata(
    checkpoint: Checkpoint, sha256: str, precision: str, reduce_range: bool, gate: str
) -> dict[str, str]:
    """What a client needs to know, as text; `checkpoint` is everything but the weights."""
    description = checkpoint.description()
    return {
        "class_names": json.dumps(checkpoint.class_names),
        "image_size_px": str(checkpoint.image_size_px),
        "threshold": repr(checkpoint.threshold),
        "temperature": repr(checkpoint.temperature),
        "fit": checkpoint.fit,
        "checkpoint_sha256": sha256,
        "precision": precision,
        "reduce_range": str(int(reduce_range)),
        "gate": gate,
        "limits": json.dumps(checkpoint.gate["limits"] if checkpoint.gate else None),
        "checkpoint": json.dumps(description),
    }


def exported(
    checkpoint: Checkpoint, sha256: str, precision: str, calibration: np.ndarray, gate: str
) -> bytes:
    """The ONNX file's bytes, 'fp32', or 'int8' calibrated on images uint8 (N, S, S)."""
    model, reduce_range = to_onnx(checkpoint), False
    if precision == "int8":
        reduce_range = not adds_without_saturation()
        model = quantised(model, calibration, reduce_range, checkpoint.class_names)
    return with_metadata(model, metadata(checkpoint, sha256, precision, reduce_range, gate))
