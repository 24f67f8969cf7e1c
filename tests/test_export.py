"""An exported model decides as PyTorch does, says what it is, or does not come into being."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from builders import checkpoint_of, flip_byte, images_of, zero_block
from PIL import Image

import export
import predict
from common.arguments import FITS
from common.errors import EXIT_GATE, UserError
from common.files import ROOT, sha256_of_file
from common.packages import EXPORT_PACKAGES, require_packages
from dataset.batches import unit_range
from evaluation.parity import Images, Parity, compare
from imaging.framing import framed
from imaging.overlays import png
from imaging.reading import read_framed
from inspection import engines, onnx_graph
from inspection.engines import OnnxNetwork
from inspection.onnx_file import sealed
from inspection.onnx_graph import exported, to_onnx
from inspection.predictor import load_predictor
from model import Checkpoint, load_checkpoint
from networks.classes import class_probabilities

CLASSES = ["def_front", "ok_front"]


def written(path, checkpoint, precision="fp32", calibration=None):
    calibration = images_of(8).numpy() if calibration is None else calibration
    path.write_bytes(exported(checkpoint, "c" * 64, precision, calibration, "validation"))
    return path


@pytest.fixture(scope="module", autouse=True)
def each_network_becomes_a_graph_once():
    """That takes seconds, and many tests begin with it."""
    graphs, original = {}, to_onnx

    def once(checkpoint: Checkpoint) -> bytes:
        digest = hashlib.sha256(repr(checkpoint.description()).encode())
        for weights in checkpoint.weights.values():
            digest.update(weights.contiguous().numpy().tobytes())
        key = digest.digest()
        if key not in graphs:
            graphs[key] = original(checkpoint)
        return graphs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "to_onnx", once)
        yield


@pytest.fixture(scope="module")
def resnet() -> Checkpoint:
    """An untrained ResNet-18 of two classes."""
    return replace(checkpoint_of(CLASSES), temperature=1.7)


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory):
    """The same as a graph; exporting one takes seconds."""
    return written(tmp_path_factory.mktemp("exported") / "resnet.onnx", resnet)


def with_more_bias(path, more: tuple[float, float], target):
    """A copy of an exported model whose last layer adds `more` to its two logits."""
    model = onnx.load(path)
    (bias,) = [one for one in model.graph.initializer if one.name.endswith("fc.bias")]
    values = onnx.numpy_helper.to_array(bias) + np.array(more, np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    target.write_bytes(sealed(model.SerializeToString()))
    return target


@pytest.fixture(scope="module")
def model_file(trained, castings, tmp_path_factory):
    """model.onnx of the small trained network, gated on its own validation part."""
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    own = ["--checkpoint", str(trained / "best.pth"), "--data", str(castings)]
    assert export.main([*own, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def int8_file(trained, castings, tmp_path_factory):
    """The same in 8 bits; ungated, since a network of two epochs decides by a hair."""
    checkpoint = load_checkpoint(trained / "best.pth")
    paths = sorted((castings / "train").rglob("*.jpeg"))
    calibration = np.stack([read_framed(path, checkpoint.image_size_px) for path in paths])
    out = tmp_path_factory.mktemp("exported") / "int8.onnx"
    return written(out, checkpoint, "int8", calibration)


KINDS = ["burr", "ok_front", "scratch"]
PARITY = [
    ("resnet18", "softmax", CLASSES),
    ("local", "sigmoid", CLASSES),
    pytest.param("local", "softmax", KINDS, marks=pytest.mark.slow),
    pytest.param("multiscale", "softmax", KINDS, marks=pytest.mark.slow),
    pytest.param("local", "softmax", CLASSES, marks=pytest.mark.slow),
    pytest.param("resnet18", "softmax", KINDS, marks=pytest.mark.slow),
    pytest.param("resnet18", "sigmoid", CLASSES, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("network", "head", "class_names"), PARITY)
def test_logits_and_probability_equal_pytorchs(
    tmp_path, resnet, resnet_file, network, head, class_names
):
    checkpoint, path = resnet, resnet_file
    if (network, head, class_names) != PARITY[0]:
        checkpoint = replace(checkpoint_of(class_names, head, network=network), temperature=1.7)
        path = written(tmp_path / "model.onnx", checkpoint)
    session = onnxruntime.InferenceSession(str(path))
    for count in (1, 3, 32):
        grey = images_of(count)
        logits, prob_defect = session.run(["logits", "prob_defect"], {"images": grey.numpy()})
        with torch.inference_mode():
            plain = checkpoint.model()(unit_range(grey))
            probabilities = class_probabilities(plain, class_names, 1.7)
        assert logits.shape == plain.shape
        assert np.abs(logits - plain.numpy()).max() <= 1e-3
        good = class_names.index("ok_front")
        assert np.allclose(prob_defect, 1 - probabilities[:, good].numpy(), atol=1e-4)


@pytest.mark.slow
def test_a_network_of_three_scales_in_8_bits_stays_near_itself(tmp_path):
    checkpoint = checkpoint_of(KINDS, network="multiscale")
    small = OnnxNetwork(written(tmp_path / "int8.onnx", checkpoint, "int8"))
    plain = checkpoint.model()(unit_range(images_of(8))).detach()
    logits, _ = small(images_of(8))
    assert (logits - plain).abs().mean() < 0.2 * plain.abs().mean()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(90, 30), (31, 77), (64, 64), (2, 300)])
def test_the_edge_example_frames_a_photograph_as_the_model_was_taught(fit, size):
    random = np.random.default_rng(0)
    grey = Image.fromarray(random.integers(0, 256, size[::-1]).astype(np.uint8))
    assert np.array_equal(load_edge_example().squared(grey, 48, fit), framed(grey, 48, fit))


@pytest.mark.parametrize("head", ["sigmoid", pytest.param("softmax", marks=pytest.mark.slow)])
def test_the_local_network_in_8_bits_stays_near_itself(tmp_path, head):
    checkpoint = replace(checkpoint_of(CLASSES, head, network="local"), temperature=1.7)
    small = OnnxNetwork(written(tmp_path / "int8.onnx", checkpoint, "int8"))
    plain = checkpoint.model()(unit_range(images_of(8))).detach()
    logits, _ = small(images_of(8))
    assert (logits - plain).abs().max() < 0.2 * plain.abs().max()


def test_the_graph_takes_grey_bytes_of_any_number(model_file):
    (images,) = onnx.load(model_file).graph.input
    shape = images.type.tensor_type.shape.dim
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert shape[0].dim_param
    assert [dim.dim_value for dim in shape[1:]] == [32, 32]


def test_metadata_say_what_the_model_is(model_file, trained):
    metadata = OnnxNetwork(model_file).metadata
    checkpoint = load_checkpoint(trained / "best.pth")
    assert json.loads(metadata["class_names"]) == checkpoint.class_names
    assert float(metadata["threshold"]) == checkpoint.threshold
    assert float(metadata["temperature"]) == checkpoint.temperature
    assert int(metadata["image_size_px"]) == checkpoint.image_size_px
    assert metadata["checkpoint_sha256"] == sha256_of_file(trained / "best.pth")
    assert metadata["gate"] == "synthetic"  # its data are rendered castings
    assert OnnxNetwork(model_file).checkpoint.description() == checkpoint.description()


def test_the_engines_give_the_same_decisions(model_file, trained, castings):
    paths = sorted((castings / "test").rglob("*.jpeg"))
    here = load_predictor(trained / "best.pth", "cpu").predict(paths)
    there = load_predictor(model_file).predict(paths)
    for one, other in zip(here, there, strict=True):
        assert one.decision == other.decision
        assert one.prob_defect == pytest.approx(other.prob_defect, abs=1e-4)


def test_predict_runs_on_an_exported_model(model_file, castings, tmp_path):
    arguments = [str(castings / "unseen"), "--out", str(tmp_path / "a.csv")]
    assert predict.main([*arguments, "--checkpoint", str(model_file)]) == 0
    with pytest.raises(UserError, match="runs on the CPU"):
        predict.main([*arguments, "--checkpoint", str(model_file), "--device", "cuda"])


def test_a_foreign_or_damaged_file_is_refused(model_file, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model_file.read_bytes()[:1000])
    with pytest.raises(UserError, match="no model of export"):
        OnnxNetwork(damaged)
    foreign = onnx.load(model_file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match="no model of export"):
        OnnxNetwork(tmp_path / "foreign.onnx")


def changed(model_file, path, change, values=None):
    """A sealed copy whose protobuf went through `change`, with other metadata."""
    model = onnx.load(model_file)
    change(model)
    metadata = {one.key: one.value for one in model.metadata_props} | (values or {})
    metadata = {name: text for name, text in metadata.items() if text is not None}
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(sealed(model.SerializeToString()))
    return path


def refused(path, match="model.onnx"):
    with pytest.raises(UserError, match=match) as failure:
        OnnxNetwork(path)
    assert failure.value.exit_code == 2
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_no_damaged_byte_is_overlooked_here_or_at_the_edge(model_file, tmp_path):
    path, data = tmp_path / "model.onnx", model_file.read_bytes()
    edge = load_edge_example()
    for damage in (zero_block, flip_byte):
        for offset in (
            *range(0, len(data), len(data) // 25),
            len(data) - 1,
            data.rindex(b"sha256"),
        ):
            path.write_bytes(data)
            damage(path, offset)
            if path.read_bytes() != data:
                refused(path, "damaged")
                with pytest.raises(SystemExit) as leaving:
                    edge.load(str(path))
                assert leaving.value.code == 2
    path.write_bytes(data)
    edge.load(str(path))


def load_edge_example():
    spec = importlib.util.spec_from_file_location("edge", ROOT / "examples" / "edge_infer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRONG_METADATA = [
    {"precision": None}, {"precision": "fp16"}, {"reduce_range": None}, {"reduce_range": "yes"},
    {"threshold": "0.25"}, {"threshold": "half"}, {"threshold": None}, {"temperature": "2.0"},
    {"class_names": '["a", "ok"]'}, {"class_names": "def"}, {"image_size_px": "64"},
    {"fit": "letterbox"}, {"fit": None},
    {"checkpoint": None}, {"checkpoint": "{"}, {"checkpoint": "[]"}, {"checkpoint": "null"},
]  # fmt: skip


@pytest.mark.parametrize("values", WRONG_METADATA, ids=str)
def test_metadata_that_contradict_themselves_are_refused(model_file, tmp_path, values):
    refused(changed(model_file, tmp_path / "model.onnx", lambda model: None, values))


WRONG_DESCRIPTIONS = [
    {"threshold": 2.0}, {"temperature": 1.5}, {"image_size_px": 48}, {"head": "sigmoid"},
    {"class_names": ["def", "ok", "other"]}, {"class_names": ["ok", "def"]}, {"colour": "red"},
]  # fmt: skip


@pytest.mark.parametrize("values", WRONG_DESCRIPTIONS, ids=str)
def test_a_description_of_another_graph_is_refused(model_file, tmp_path, values):
    stored = json.loads(OnnxNetwork(model_file).metadata["checkpoint"]) | values
    same = {name: json.dumps(value) for name, value in values.items()}
    path = tmp_path / "model.onnx"
    refused(changed(model_file, path, lambda _: None, same | {"checkpoint": json.dumps(stored)}))


def rename_input(model):
    onnx.compose.add_prefix_graph(model.graph, "my_", inplace=True)


def rename_output(model):
    model.graph.output[1].name = model.graph.output[0].name


def drop_an_output(model):
    del model.graph.output[1]


def fix_the_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def take_floats(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def swap_the_classes_of_p_defect(model):
    (flags,) = [one for one in model.graph.initializer if "defects" in one.name]
    values = 1 - onnx.numpy_helper.to_array(flags)
    flags.CopyFrom(onnx.numpy_helper.from_array(values, flags.name))


def spoil_weights(model):
    weights = next(one for one in model.graph.initializer if one.name.endswith("fc.bias"))
    values = onnx.numpy_helper.to_array(weights) * np.float32("nan")
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))


@pytest.mark.parametrize(
    "change",
    [
        rename_input, rename_output, drop_an_output, fix_the_batch, take_floats,
        swap_the_classes_of_p_defect, spoil_weights,
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_a_graph_with_other_ends_is_refused(model_file, tmp_path, change):
    refused(changed(model_file, tmp_path / "model.onnx", change), "no model of export")


def test_a_file_without_a_checksum_is_to_be_exported_anew(model_file, tmp_path):
    path = changed(model_file, tmp_path / "model.onnx", lambda _: None)
    model = onnx.load(path)
    rest = {one.key: one.value for one in model.metadata_props if one.key != "sha256"}
    onnx.helper.set_model_props(model, rest)
    onnx.save(model, path)
    refused(path, "export it anew")
    refused(tmp_path / "none.onnx", "no such file")


# --- INT8 ----------------------------------------------------------------------------------------


def test_int8_is_smaller_and_close(int8_file, model_file, trained, castings):
    assert int8_file.stat().st_size < 0.6 * model_file.stat().st_size
    paths = sorted((castings / "test").rglob("*.jpeg"))
    here = load_predictor(trained / "best.pth", "cpu").predict(paths)
    there = load_predictor(int8_file).predict(paths)
    differences = [abs(a.prob_defect - b.prob_defect) for a, b in zip(here, there, strict=True)]
    assert max(differences) < 0.1
    assert max(differences) > 0


@pytest.mark.slow
def test_int8_weights_are_7_bits_where_8_would_saturate(
    resnet, resnet_file, tmp_path, monkeypatch, capsys
):
    largest = {}
    for exact in (False, True):
        monkeypatch.setattr(onnx_graph, "adds_without_saturation", lambda exact=exact: exact)
        path = written(tmp_path / "model.onnx", resnet, "int8")
        assert path.stat().st_size < 12e6 < resnet_file.stat().st_size  # a quarter of it
        model = onnx.load(path)
        weights = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer]
        kernels = [w.astype(int) for w in weights if w.dtype == np.int8 and w.ndim == 4]
        largest[exact] = max(np.abs(kernel).max() for kernel in kernels)
        metadata = {one.key: one.value for one in model.metadata_props}
        assert metadata["reduce_range"] == str(int(not exact))
    assert largest[False] <= 64 < largest[True]
    for here in (True, False):  # the last one is for processors that add exactly
        monkeypatch.setattr(engines, "adds_without_saturation", lambda here=here: here)
        OnnxNetwork(path)
        assert ("another processor" in capsys.readouterr().err) == (not here)


# --- the gate ------------------------------------------------------------------------------------


def parity(**changes):
    plain = Parity(
        images=300, good=200, caught=90, passed=190, max_logit_difference=0.0,
        other_decisions=0, new_missed=0, new_false_alarms=0, other_opinions=0,
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("precision", "changes", "passes"),
    [
        ("fp32", {"max_logit_difference": 0.9e-3}, True),
        ("fp32", {"max_logit_difference": 1.1e-3}, False),
        ("fp32", {"other_decisions": 1}, False),
        ("fp32", {"max_logit_difference": float("nan")}, False),
        ("int8", {"max_logit_difference": float("nan")}, False),
        ("int8", {"max_logit_difference": 0.5, "other_decisions": 9, "new_false_alarms": 2}, True),
        ("int8", {"new_false_alarms": 3}, False),
        ("int8", {"new_missed": 1}, False),
        ("fp32", {"other_opinions": 1}, False),
        ("int8", {"other_opinions": 6}, True),
        ("int8", {"other_opinions": 7}, False),
    ],
)
def test_what_the_gate_lets_through(precision, changes, passes):
    assert (parity(**changes).failure(precision) is None) == passes


class Changed:
    """A session with other outputs."""

    def __init__(self, session, change):
        self.session, self.change = session, change

    def run(self, names, inputs):
        return self.change(*self.session.run(names, inputs))


def test_comparison_counts_new_errors_only(tmp_path, resnet, resnet_file):
    grey = images_of(40)
    with torch.inference_mode():
        plain = resnet.model()(unit_range(grey))
    prob = class_probabilities(plain, CLASSES, resnet.temperature)[:, 0]
    checkpoint = replace(resnet, threshold=float(prob.median()) + 1e-6)
    images = Images(grey.numpy(), grey.numpy(), np.arange(40) % 2 == 0, "validation")
    path = with_more_bias(resnet_file, (-20, 20), tmp_path / "passes everything.onnx")
    found = compare(checkpoint, OnnxNetwork(path), images)
    rejected = prob.numpy() >= checkpoint.threshold
    assert found.new_missed == (rejected & images.is_defect).sum() > 0
    assert found.new_false_alarms == 0
    assert found.other_decisions == rejected.sum()
    assert found.max_logit_difference == pytest.approx(20, abs=1e-2)
    assert found.good == 20
    assert found.caught + found.passed == (rejected == images.is_defect).sum()
    network = OnnxNetwork(resnet_file)
    network.session = Changed(
        network.session, lambda logits, prob: (logits * np.nan, prob * np.nan)
    )
    found = compare(checkpoint, network, images)
    assert found.other_decisions == 40
    assert found.failure("int8") == found.failure("fp32") == "logits are no finite numbers"


@pytest.mark.parametrize("size", [1, 3])
def test_small_batches_are_compared_too(resnet, resnet_file, size):
    grey = images_of(6).numpy()
    images = Images(grey, grey, np.arange(6) < 3, "validation")
    network = OnnxNetwork(resnet_file)

    def wrong_in_small_batches(logits, prob):
        return (logits, 1 - prob) if len(prob) == size else (logits, prob)

    network.session = Changed(network.session, wrong_in_small_batches)
    assert compare(resnet, network, images).other_decisions == 6


def test_a_model_that_fails_the_gate_leaves_no_file(
    trained, castings, model_file, tmp_path, tmp_path_factory, monkeypatch
):
    broken = tmp_path_factory.mktemp("exported") / "broken.onnx"
    with_more_bias(model_file, (-9, 9), broken)
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda checkpoint: broken.read_bytes())
    out = tmp_path / "model.onnx"
    out.write_text("an earlier file")
    own = ["--checkpoint", str(trained / "best.pth"), "--data", str(castings), "--out", str(out)]
    with pytest.raises(UserError, match="no file written") as failure:
        export.main(own)
    assert failure.value.exit_code == EXIT_GATE
    assert out.read_text() == "an earlier file"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_other_data_than_the_checkpoints_are_refused_when_named(trained, sharp_castings, tmp_path):
    own = ["--checkpoint", str(trained / "best.pth"), "--out", str(tmp_path / "model.onnx")]
    with pytest.raises(UserError, match="is not the data"):
        export.main([*own, "--data", str(sharp_castings)])


def test_without_data_rendered_castings_take_their_place(trained, tmp_path, monkeypatch, capsys):
    from rendering.options import RenderOptions

    few = RenderOptions(castings=4, copies=2, unseen_castings=4, image_size_px=64)
    monkeypatch.setattr("rendering.options.RenderOptions", lambda **_: few)
    monkeypatch.chdir(tmp_path)  # no data/casting_data here
    own = ["--checkpoint", str(trained / "best.pth"), "--out", "model.onnx"]
    assert export.main(own) == 0
    output = capsys.readouterr()
    assert "rendered castings instead" in output.err
    assert "gate=synthetic" in output.out
    assert OnnxNetwork(tmp_path / "model.onnx").metadata["gate"] == "synthetic"


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        require_packages(*EXPORT_PACKAGES)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        OnnxNetwork("model.onnx")


# --- the edge ------------------------------------------------------------------------------------


def test_the_edge_example_decides_as_predict_does(model_file, castings, tmp_path):
    paths = sorted((castings / "unseen").rglob("*.jpeg"))
    Image.fromarray(np.full((9, 9), 1023, np.uint16)).save(tmp_path / "deep.png")
    os.mkfifo(tmp_path / "pipe.jpeg")
    bad_paths = [tmp_path / name for name in ("bad.png", "deep.png", "pipe.jpeg")]
    bad_paths[0].write_text("<html>")
    command = [sys.executable, str(ROOT / "examples" / "edge_infer.py"), str(model_file)]
    done = subprocess.run(
        [*command, *map(str, [*paths, *bad_paths])],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    lines, bad = lines[:-3], lines[-3:]
    for line, verdict in zip(lines, load_predictor(model_file).predict(paths), strict=True):
        assert line["decision"] == verdict.decision
        assert line["prob_defect"] == pytest.approx(verdict.prob_defect, abs=1e-5)
    assert [(one["decision"], bool(one["error"])) for one in bad] == [("", True)] * 3


def test_pictures_of_nothing_are_not_judged_by_any_engine(
    trained, model_file, int8_file, paths, tmp_path
):
    ramp = np.tile(np.linspace(40, 220, 64).astype(np.uint8), (64, 1))
    pictures = {
        "black": Image.new("L", (64, 64), 0),
        "grey": Image.new("L", (64, 64), 130),
        "ramp": Image.fromarray(ramp),
        "strip": Image.open(paths[0]).convert("L").crop((0, 0, 64, 20)),
    }
    files = [tmp_path / f"{name}.png" for name in pictures]
    for path, picture in zip(files, pictures.values(), strict=True):
        picture.save(path)
    for model in (trained / "best.pth", model_file, int8_file):
        found = load_predictor(model).predict([*files, paths[0]])
        assert [one.status for one in found] == [*["not_judged"] * 4, "ok"]
        assert {one.decision for one in found[:4]} == {""}
        unlike = load_predictor(model, gate=False).predict(files)
        assert {one.status for one in unlike} == {"ok"}
    command = [sys.executable, str(ROOT / "examples" / "edge_infer.py"), str(model_file)]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 4
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(line["status"], line["decision"]) for line in lines} == {("not_judged", "")}
    assert "black 1.00" in lines[0]["error"]


def test_onnx_runtime_is_given_the_bytes_that_pytorch_is(trained, model_file, paths, monkeypatch):
    given = []
    for model in (trained / "best.pth", model_file):
        predictor = load_predictor(model, "cpu")
        network = predictor.network

        def noting(grey, network=network):
            given.append(grey.numpy().copy())
            return network(grey)

        monkeypatch.setattr(predictor, "network", noting)
        predictor.predict(paths[:5])
    assert np.array_equal(*given)


def test_what_is_unlike_training_is_for_review_in_every_engine(
    trained, model_file, paths, tmp_path, monkeypatch
):
    here, there = (load_predictor(model) for model in (trained / "best.pth", model_file))
    distances = [one.distance for one in here.predict(paths)]
    assert [one.distance for one in there.predict(paths)] == pytest.approx(distances, rel=1e-3)
    for predictor in (here, there):
        strict = replace(predictor.limits, review=0.999 * max(distances))
        monkeypatch.setattr(predictor, "limits", strict)
        reviewed = [one for one in predictor.predict(paths) if one.error]
        assert [(one.status, one.decision) for one in reviewed] == [("ok", "review")]
        assert "unlike all training photographs" in reviewed[0].error
        assert reviewed[0].prob_defect is not None


@pytest.mark.parametrize("name", ["edge_infer.py", "ray_batch.py"])
def test_examples_stay_short(name):
    assert len((ROOT / "examples" / name).read_text().splitlines()) <= 120


def test_the_edge_example_needs_three_packages_only():
    import ast

    tree = ast.parse((ROOT / "examples" / "edge_infer.py").read_text())
    modules = {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}


@pytest.mark.slow
def test_ray_predicts_every_file_once_with_two_workers(trained, castings, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ray[data]'")
    import pandas

    paths = sorted((castings / "test").rglob("*.jpeg"))
    (castings_out := tmp_path / "parts").mkdir()
    for number in range(150):
        (castings_out / f"{number}.jpeg").write_bytes(paths[number % len(paths)].read_bytes())
    (castings_out / "bad.jpeg").write_text("<html>")
    expected_paths = sorted(str(path) for path in castings_out.iterdir())
    (castings_out / "._7.jpeg").write_bytes(b"what a Mac keeps beside it")
    (castings_out / "heatmap.png").write_bytes(png(Image.new("RGB", (9, 9))))
    command = [sys.executable, str(ROOT / "examples" / "ray_batch.py"), str(castings_out)]
    command += ["--out", str(tmp_path / "out"), "--checkpoint", str(trained / "best.pth")]
    subprocess.run([*command, "--workers", "2"], check=True, capture_output=True, timeout=200)
    table = pandas.read_parquet(tmp_path / "out")
    assert sorted(table["path"]) == expected_paths
    assert (table["status"] == "error").sum() == 1
    expected = load_predictor(trained / "best.pth", "cpu").predict([castings_out / "7.jpeg"])[0]
    (row,) = table[table["path"] == str(castings_out / "7.jpeg")].to_dict("records")
    assert row["decision"] == expected.decision
    assert row["sha256"] == expected.sha256
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "holds files" in again.stderr
