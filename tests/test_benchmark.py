"""The benchmarks run on small data, tell their machine, and end with one JSON."""

import json
import shutil
import statistics

import pytest
import torch
from builders import checkpoint_of
from torchvision.models import resnet18

import benchmark
from benchmarks import service as benchmark_serve
from benchmarks import training as benchmark_train
from benchmarks.baseline import CastingImages
from benchmarks.inference import PlainInference
from benchmarks.timing import Variant, measure_interleaved, training_gflop
from common.errors import UserError
from inspection.predictor import load_predictor
from model import load_checkpoint, save_checkpoint
from training.recipes import RECIPES

CPU = torch.device("cpu")


def run(capsys, *arguments) -> dict:
    assert benchmark.main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def small(castings) -> list[str]:
    size = ["--image-size", "32", "--batch-size", "8"]
    return ["--data", str(castings), "--device", "cpu", *size]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of torch's worker processes
def test_training_variants_are_measured_side_by_side(castings, capsys):
    result = run(capsys, "train", *small(castings), "--batches", "2", "--rounds", "2")
    names = [line["name"] for line in result["variants"]]
    assert names[0] == "plain loop, no workers"
    assert names[1:] == [names[1], "ours, same recipe", "ours, recipe fast"]
    for line in result["variants"]:
        assert line["images_per_s"] > 0
        assert 0 < line["share_of_peak"] < 1
        assert line["epoch_s"] == pytest.approx(38 / line["images_per_s"], rel=0.05, abs=0.06)
    assert result["variants"][0]["ratio_vs_plain"] == 1
    assert result["ratio_vs_plain"] == result["variants"][2]["ratio_vs_plain"]
    assert result["machine"]["torch"] == str(torch.__version__)
    assert result["images_an_epoch"] == 38
    assert [line["image_size"] for line in result["variants"]] == [32, 32, 32, 64]
    assert result["data"] == "synthetic castings"


@pytest.mark.slow
def test_inference_is_measured_part_by_part_and_in_batches(castings, trained, capsys):
    options = ["--data", str(castings), "--device", "cpu", "--parts", "4", "--rounds", "1"]
    result = run(capsys, "infer", *options, "--checkpoint", str(trained / "best.pth"))
    names = [line["name"] for line in result["engines"]]
    assert names == ["eager PyTorch", "predict.py", "ONNX fp32", "ONNX INT8"]
    assert result["engines"][0]["ratio_vs_eager"] == 1
    assert result["onnx_megabytes"]["ONNX INT8"] < result["onnx_megabytes"]["ONNX fp32"]
    for line in result["engines"]:
        assert 0 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"]
        assert all(line[f"images_per_s_{size}"] > 0 for size in (1, 8, 32))


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("hey") and shutil.which("wrk")), reason="needs hey and wrk; apt install both"
)
def test_the_service_is_measured_under_load(castings, trained, capsys, monkeypatch):
    monkeypatch.setattr(benchmark_serve, "PACED_S", 2)
    monkeypatch.setattr(benchmark_serve, "CROWD_S", 1)
    monkeypatch.setattr(benchmark_serve, "LONG_RUN", 20)
    options = ["--data", str(castings), "--device", "cpu", "--parts", "8", "--rounds", "1"]
    result = run(capsys, "serve", *options, "--checkpoint", str(trained / "best.pth"))
    assert result["other_decisions"] == 0
    assert result["largest_difference"] < 1e-4
    assert result["paced"]["errors"] == result["saturated"]["errors"] == 0
    assert 0 < result["paced"]["p50_ms"] <= result["paced"]["p95_ms"]
    assert result["saturated"]["ratio_vs_predict"] > 0
    assert 0 <= result["saturated"]["generator_cpu_share"] < 1
    assert result["memory_mb"]["requests"][-1] >= 20
    assert min(result["memory_mb"]["resident_mb"]) > 0


def test_the_baseline_predicts_like_our_own_path(castings, tmp_path):
    save_checkpoint(tmp_path / "resnet.pth", checkpoint_of(["def_front", "ok_front"]))
    parts = sorted((castings / "test" / "def_front").iterdir())[:3]
    checkpoint = load_checkpoint(tmp_path / "resnet.pth")
    logits = torch.tensor(PlainInference(checkpoint, CPU).predict(parts))
    ours = load_predictor(tmp_path / "resnet.pth", "cpu").predict(parts)
    expected = torch.tensor([part.probabilities for part in ours])
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=1e-3, atol=1e-4)


def test_beside_the_local_network_the_baseline_is_the_published_one(castings):
    plain = PlainInference(checkpoint_of(["def_front", "ok_front"], network="local"), CPU)
    (logits,) = plain.predict(sorted((castings / "test" / "def_front").iterdir())[:1])
    assert plain.size_px == 224
    assert len(logits) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_seconds_to_an_accuracy_end_where_it_is_reached(castings, capsys, monkeypatch):
    monkeypatch.setitem(RECIPES["fast"], "epochs", 1)
    options = [*small(castings), "--seeds", "3", "--epochs", "1"]
    easy = run(capsys, "accuracy", *options, "--target", "0.01")
    assert easy["plain_s"][0] > 0
    assert easy["ours_s"][0] > 0
    monkeypatch.setattr(benchmark_train, "evaluate", lambda *_: {"accuracy": 0.99})
    never = run(capsys, "accuracy", *options, "--target", "1.0")
    assert never["ours_s"] == [None]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_seconds_to_an_accuracy_ask_for_a_gpu():
    with pytest.raises(UserError, match="needs a CUDA GPU"):
        benchmark.main(["accuracy"])


def test_variants_are_interleaved_and_the_warm_up_does_not_count():
    calls = []
    variants = [Variant(name, lambda _, n=name: calls.append(n), 10, 64, 5) for name in "abc"]
    measure_interleaved(variants, 3, CPU)
    assert "".join(calls) == "abc" + "bca" + "cab" + "abc"
    assert all(len(variant.seconds) == 3 for variant in variants)


def test_ratios_are_medians_of_rounds():
    fast, slow = (Variant(str(images), print, images, 64, 5) for images in (20, 10))
    fast.seconds, slow.seconds = [1.0, 2.0, 9.0], [1.0, 3.0, 1.0]
    assert fast.ratio_to(slow) == statistics.median([2.0, 3.0, 2 / 9])
    assert fast.images_per_s() == 10


def test_arithmetic_is_that_of_the_literature():
    # 1.8136 G multiplications and additions forward; twice that backward, but for the first layer,
    # which needs no gradient of its input
    expected = 2 * (3 * 1.8136 - 0.118)
    assert training_gflop(224) == pytest.approx(expected, rel=0.01)
    assert training_gflop(448) == pytest.approx(expected * 4, rel=0.01)


def test_the_plain_loop_sees_what_torchvision_sees(castings):
    paths = sorted((castings / "train" / "ok_front").iterdir())[:2]
    images = CastingImages(paths, [1, 1], 32)
    image, target = images[1]
    assert (image.shape, target, len(images)) == ((3, 32, 32), 1, 2)
    assert resnet18(num_classes=2).eval()(image.unsqueeze(0)).isfinite().all()
