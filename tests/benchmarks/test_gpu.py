"""`make gpu` without a GPU: parts are told apart, kept as they end, and their commands exist."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import benchmark
from benchmarks import gpu as benchmark_gpu
from benchmarks.gpu import Part, last_json, last_line, parts_of
from benchmarks.options import NAMES
from benchmarks.options import build_parser as benchmark_parser
from common.errors import UserError
from common.files import ROOT
from networks.devices import choose_device
from training.options import build_parser as train_parser


def run(castings, out: Path, *options: str) -> int:
    own = ["gpu", "--device", "cpu", "--tiny", "--data", str(castings), "--out", str(out)]
    return benchmark.main([*own, *options])


def kept(out: Path) -> dict:
    return json.loads((out / "gpu.json").read_text())["outcomes"]


@pytest.fixture
def small_parts(monkeypatch, tmp_path):
    """Three parts: one fails, one hangs, one tells whether the others are in gpu.json already."""
    look = (
        f"import json; print(json.dumps({{'kept': open({str(tmp_path / 'gpu.json')!r}).read()}}))"
    )
    parts = {
        "tests": Part(
            [["-c", "print('a'); print('no such thing'); raise SystemExit(3)"]], last_line
        ),
        "eager": Part(
            [["-c", "import time; print('begun', flush=True); time.sleep(60)"]],
            last_json,
            limit_s=2,
        ),
        "graph": Part([["-c", "print(1)"], ["-c", look]], last_json),
    }
    monkeypatch.setattr(benchmark_gpu, "parts_of", lambda *_: parts)


def test_a_part_that_fails_or_hangs_does_not_stop_the_next(small_parts, castings, tmp_path, capsys):
    assert run(castings, tmp_path, "--parts", "tests", "eager", "graph") == 1
    found = kept(tmp_path)
    assert found["tests"]["error"].splitlines() == ["exit code 3", "a", "no such thing"]
    assert found["eager"]["error"].splitlines() == ["cut short after 2 s", "begun"]
    assert "error" not in found["graph"]
    assert list(json.loads(found["graph"]["figures"]["kept"])["outcomes"]) == ["eager"]
    assert all(one["seconds"] >= 0 for one in found.values())
    assert (tmp_path / "tests.log").read_text().endswith("no such thing\n")
    printed = capsys.readouterr()
    assert "2 of 3: graph" in printed.err  # the timed ones first
    assert json.loads(printed.out.splitlines()[-1])["outcomes"] == found


def test_another_call_keeps_what_other_parts_have_found(small_parts, castings, tmp_path):
    run(castings, tmp_path, "--parts", "tests")
    assert run(castings, tmp_path, "--parts", "graph") == 1  # the failure is there still
    assert list(kept(tmp_path)) == ["tests", "graph"]
    (tmp_path / "gpu.json").write_text("{}")
    assert run(castings, tmp_path, "--parts", "graph") == 0
    assert list(kept(tmp_path)) == ["graph"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("tiny", [[], ["--tiny"]])
def test_the_commands_of_all_parts_are_ones_that_exist(device, tiny, castings, tmp_path):
    options = ["gpu", "--castings", "a table.csv", *tiny]
    args = benchmark_parser("").parse_args(options)
    device = choose_device("cpu") if device == "cpu" else benchmark_gpu.torch.device("cuda")
    parts = parts_of(args, device, castings, tmp_path)
    assert sorted(parts) == sorted(NAMES)
    commands = [command for part in parts.values() for command in part.commands]
    for command in commands:
        if "train.py" in command:
            parsed = train_parser("").parse_args(command[command.index("train.py") + 1 :])
            assert (parsed.device, parsed.castings) == (
                device.type,
                str(Path("a table.csv").resolve()),
            )
            assert parsed.epochs == 1 or not tiny
        elif command[0] == "benchmark.py":
            benchmark_parser("").parse_args(command[1:])
    trained = [command for command in commands if "train.py" in command]
    recorded = sum("--cuda-graph" in command for command in trained)
    assert recorded == (0 if device.type == "cpu" else 5)


@pytest.mark.slow
def test_parts_run_on_a_cpu(castings, tmp_path):
    assert run(castings, tmp_path, "--parts", "fast", "heatmaps") == 0
    found = {name: one["figures"] for name, one in kept(tmp_path).items()}
    assert found["fast"]["epochs"] == 1
    assert found["fast"]["images"] > 0
    assert "0 unreadable" in found["heatmaps"]["text"]


MANY = """
import sys, json
sys.path.insert(0, {root!r})
from benchmarks import gpu
from benchmarks.gpu import Part, last_line
from common.errors import run_script
sleep = "import os, time; open({folder!r} + f'/{{os.getpid()}}', 'w'); time.sleep(600)"
names = {names!r}
parts = {{name: Part([["-c", sleep], ["-c", sleep]], last_line) for name in names}}
run_script(lambda: len(list(gpu.outcomes(parts, __import__("pathlib").Path({out!r})))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", [["eager"], ["reference", "robust", "tests"]], ids=str)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_that_it_has_started(names, number, code, tmp_path):
    (begun := tmp_path / "begun").mkdir()
    text = MANY.format(root=str(ROOT), folder=str(begun), names=names, out=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(begun.iterdir()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{path.name}").exists() for path in begun.iterdir())


def test_without_a_gpu_it_says_so():
    with pytest.raises(UserError, match=r"benchmark\.py gpu needs a CUDA GPU"):
        benchmark.main(["gpu"])
