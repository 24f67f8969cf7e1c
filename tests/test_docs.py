"""The repository keeps to its own layout, and its pages name only what exists."""

import ast
import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from common.files import ROOT
from evaluation.published import MARKS, leak_text, results_table, service_text, speed_table

SCRIPTS = (
    "data_split.py", "synthetic.py", "train.py", "test.py", "predict.py", "probe.py", "release.py",
    "results.py", "benchmark.py", "watch.py", "explain.py", "export.py", "records.py",
    "serve.py", "app.py",
)  # fmt: skip
# Who may import whom; everybody may import common.
ALLOWED = {
    "common": set(),
    "images": set(),
    "synthetic_casting": set(),
    "synthetic": {"synthetic_casting"},
    "metrics": set(),
    "plots": set(),
    "process_plots": {"plots"},
    "process_control": {"process_plots"},
    "records": {"process_control"},
    "overlays": set(),
    "image_files": {"images"},
    "grey_stem": set(),
    "winograd": set(),
    "local_network": set(),
    "local_loss": {"local_network", "model"},
    "model": {"grey_stem", "local_network", "winograd"},
    "processes": set(),
    "schedule": set(),
    "training_step": {"local_loss", "model", "processes"},
    "calibration": set(),
    "operating_point": {"calibration"},
    "castings": set(),
    "run_state": {"model", "processes"},
    "dataset": {"images", "synthetic"},
    "casting_table": {"castings", "dataset", "images"},
    "audit": {"casting_table", "castings", "dataset", "images", "metrics", "plots"},
    "data_split": {"audit", "casting_table", "dataset"},
    "augment": set(),
    "drawn_defects": {"augment"},
    "data": {"augment", "dataset", "drawn_defects", "images"},
    "train_options": {"data_split"},
    "run_setup": {
        "data", "data_split", "dataset", "local_loss", "local_network", "model",
        "operating_point", "processes", "run_state", "train_options", "training_step",
    },
    "validation_file": set(),
    "validate": {
        "metrics", "model", "operating_point", "processes", "run_setup", "validation_file",
    },
    "train": {
        "data", "data_split", "dataset", "model", "plots", "processes", "run_setup", "run_state",
        "schedule", "train_options", "validate",
    },
    "onnx_network": {"model"},
    "predict": {
        "data", "image_files", "images", "local_network", "model", "onnx_network", "records",
    },
    "arrivals": {"images"},
    "watch": {"arrivals", "images", "predict", "records"},
    "heatmap": {"data", "local_network", "model"},
    "inspector": {"images", "model", "predict", "records"},
    "log_search": {"records"},
    "batching": {"inspector", "predict", "records"},
    "service_guard": set(),
    "service_answers": {"inspector", "log_search"},
    "service": {
        "batching", "explain", "heatmap", "inspector", "predict", "records", "service_guard",
    },
    "service_routes": {
        "inspector", "log_search", "predict", "records", "service", "service_answers",
        "service_guard", "service_requests",
    },
    "service_requests": {"inspector", "service_guard"},
    "listening": set(),
    "serve": {
        "inspector", "listening", "predict", "records", "service", "service_guard",
        "service_requests", "service_routes",
    },
    "samples": {"synthetic", "synthetic_casting"},
    "uploads": {"images", "inspector"},
    "page_parts": {
        "explain", "heatmap", "images", "inspector", "log_search", "predict", "records",
        "samples",
    },
    "page_inspect": {
        "inspector", "log_search", "page_parts", "predict", "records", "samples",
    },
    "page_batch": {"images", "inspector", "page_parts", "predict", "uploads"},
    "page_process": {
        "log_search", "page_parts", "predict", "process_control", "records",
    },
    "page_model": {"metrics", "page_parts", "results", "validation_file"},
    "app": {
        "listening", "model", "page_batch", "page_inspect", "page_model", "page_parts",
        "page_process", "predict", "records",
    },
    "explain": {"heatmap", "image_files", "images", "overlays", "predict", "records"},
    "onnx_graph": {"data", "grey_stem", "model", "onnx_network"},
    "export": {
        "data", "dataset", "held_out", "model", "onnx_graph", "onnx_network", "predict",
        "synthetic",
    },
    "held_out": {
        "casting_table", "data", "data_split", "dataset", "metrics", "model", "predict",
    },
    "test": {
        "calibration", "dataset", "explain", "heatmap", "held_out", "images", "metrics", "plots",
        "predict",
    },
    "picture_changes": {"castings", "images"},
    "probe": {
        "dataset", "held_out", "images", "metrics", "picture_changes", "plots", "predict",
    },
    "plain_loop": {"model"},
    "measuring": set(),
    "benchmark_train": {
        "data", "data_split", "dataset", "measuring", "model", "plain_loop", "run_setup",
        "run_state", "train", "train_options", "validate",
    },
    "benchmark_infer": {
        "data_split", "dataset", "export", "images", "measuring", "model", "plain_loop",
        "predict",
    },
    "benchmark_heatmaps": {
        "heatmap", "images", "measuring", "model", "synthetic",
    },
    "benchmark_serve": {"data_split", "dataset", "measuring", "model", "predict"},
    "benchmark_gpu": {"benchmark_train", "dataset", "measuring", "model"},
    "benchmark": {
        "benchmark_gpu", "benchmark_heatmaps", "benchmark_infer", "benchmark_serve",
        "benchmark_train",
        "synthetic_casting", "train_options",
    },
    "results": set(),
    "release": {
        "data_split", "dataset", "held_out", "metrics", "model", "results", "validation_file",
    },
}  # fmt: skip


def tracked_text_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in names if not name.endswith((".png", ".pth"))]
    return [path for path in paths if path.is_file()]


def local_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found & set(ALLOWED) - {"common"}


def test_imports_point_one_way():
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert modules == set(ALLOWED)
    for name, allowed in ALLOWED.items():
        assert local_imports(ROOT / f"{name}.py") <= allowed, name


def flags_of(script: str, capsys) -> set[str]:
    module = importlib.import_module(script.removesuffix(".py"))
    with pytest.raises(SystemExit) as leaving:
        module.main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for command in re.findall(r"\{([a-z0-9,]+)\} \.\.\.", text)[:1]:
        for name in command.split(","):
            with pytest.raises(SystemExit):
                module.main([name, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]+", text + capsys.readouterr().out))


def test_every_script_explains_itself_and_the_readme_names_only_real_flags(capsys):
    flags = {script: flags_of(script, capsys) for script in SCRIPTS}
    readme = (ROOT / "README.md").read_text()
    readme = re.sub(r"torchrun .*?(?=train\.py)", "", readme)  # the launcher's own flags
    readme = re.sub(r"^curl .*$", "", readme, flags=re.MULTILINE)
    for line in readme.splitlines():
        for script in re.findall(r"(?<![\w/])(\w+\.py)", line):
            assert (ROOT / script).is_file(), script
    for command in re.findall(r"python (\w+\.py)([^\n`]*)", readme):
        script, arguments = command
        assert set(re.findall(r"--[a-z][a-z0-9-]+", arguments)) <= flags[script], command
    known = set().union(*flags.values())
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", readme)) <= known


def test_every_file_that_the_readme_links_exists():
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target
    listed = set(re.findall(r"^\| `([\w.]+\.py)`", readme, re.MULTILINE))
    assert listed == {path.name for path in ROOT.glob("*.py")}


def test_every_make_target_that_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"`make ([a-z-]+)`", readme))
    assert {"demo", "test", "test-all", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readmes_figures_are_the_published_ones():
    readme = (ROOT / "README.md").read_text()
    results = json.loads((ROOT / "docs" / "results.json").read_text())
    texts = {"table": results_table(results), "leak": leak_text(results)}
    texts |= {"speed": speed_table(results), "service": service_text(results)}
    for part, expected in texts.items():
        begin, end = MARKS[part]
        assert readme.split(begin)[1].split(end)[0].strip() == expected.strip()


def test_the_section_about_the_famous_number_is_short():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Why 99.4 % is not the number")[1].split("\n## ")[0]
    assert len([line for line in section.splitlines() if line.strip()]) <= 15


def test_unsafe_loading_and_machine_paths_appear_nowhere():
    unsafe, machine = "weights_only=" + "False", re.compile(r"(?<![\w.])/(home|work|root)/\w")
    for path in tracked_text_files():
        text = path.read_text()
        assert unsafe not in text, path
        assert not machine.search(text), path


def test_no_photograph_of_the_licensed_set_is_tracked():
    for path in tracked_text_files():
        assert not re.fullmatch(r"(cast_(def|ok)_0_|new__0_)\d+\.(jpe?g|png)", path.name)
    assert not [p for p in tracked_text_files() if p.suffix in (".jpeg", ".jpg")]
