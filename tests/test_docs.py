"""The repository keeps to its own layout, and its pages name only what exists."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.files import ROOT
from docs.pictures import PICTURES
from evaluation.publish import PARTS
from evaluation.published import folds_of
from inspection.options import HEATMAP_METHODS

COMMANDS = (
    "data_split", "synthetic", "train", "test", "predict", "probe", "benchmark", "watch",
    "explain", "export", "records", "serve", "app", "adapt",
)  # fmt: skip
MODULES = ("evaluation.publish", "evaluation.release", "docs.pictures")  # commands for maintainers
# Which folders, and data_split and model, may import which others; everybody may import common.
BASE = {"imaging", "metrics", "rendering"}
DATA = BASE | {"dataset", "data_split"}
MODEL = DATA | {"networks", "gate", "model"}
INSPECTION = MODEL | {"traceability", "inspection"}
ALLOWED = {
    "common": set(),
    "imaging": set(),
    "metrics": set(),
    "networks": set(),
    "rendering": set(),
    "dataset": BASE,
    "traceability": BASE,
    "gate": {"dataset"},
    "data_split": DATA,
    "model": {"imaging", "networks", "gate"},
    "training": MODEL,
    "inspection": INSPECTION,
    "evaluation": INSPECTION,
    "adaptation": INSPECTION | {"training"},
    "service": INSPECTION,
    "page": INSPECTION | {"evaluation"},
    "benchmarks": INSPECTION | {"training", "evaluation", "adaptation"},
    "docs": BASE | {"traceability"},  # all else it starts as commands, as a person would
}  # fmt: skip
PAGES = ("README.md", "docs/results.md", "docs/training.md", "docs/inspection.md",
         "docs/service.md", "docs/speed.md", "docs/deploy.md")  # fmt: skip


def tracked_text_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in names if not name.endswith((".png", ".pth"))]
    return [path for path in paths if path.is_file()]


def imports_of(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


def test_the_root_holds_what_a_person_runs_and_every_folder_says_what_belongs_in_it():
    assert {path.stem for path in ROOT.glob("*.py")} == {*COMMANDS, "model"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(ALLOWED) - {"data_split", "model"}
    for folder in folders:
        text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text()))
        assert text.count(".") >= 1, folder


@pytest.mark.parametrize("name", ALLOWED)
def test_imports_point_one_way(name):
    own = {*ALLOWED, *COMMANDS}
    folder = ROOT / name
    for path in folder.glob("*.py") if folder.is_dir() else [ROOT / f"{name}.py"]:
        allowed = ALLOWED[name] | {name, "common"}
        assert imports_of(path) & own <= allowed, path


@pytest.mark.parametrize("name", ["common", "imaging"])
def test_no_torch_below(name):
    for path in (ROOT / name).glob("*.py"):
        assert not imports_of(path) & {"torch", "torchvision"}, path


def test_help_comes_before_anything_heavy_is_imported():
    """In one process for all commands, each with what the others have imported gone."""
    code = """
import contextlib, importlib, io, sys
heavy = {"torch", "torchvision", "matplotlib", "sklearn", "scipy", "fastapi", "streamlit"}
for name in sys.argv[1:]:
    command = importlib.import_module(name)
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        command.main(["--help"])
    print(name, *sorted(heavy & set(sys.modules)))
"""
    names = [*COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == [*names, ""]


def flags_of(name: str, capsys) -> set[str]:
    module = importlib.import_module(name)
    with pytest.raises(SystemExit) as leaving:
        module.main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for command in re.findall(r"\{([a-z0-9,]+)\} \.\.\.", text)[:1]:
        for sub in command.split(","):
            with pytest.raises(SystemExit):
                module.main([sub, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]+", text + capsys.readouterr().out))


def page_text(page: str) -> str:
    text = (ROOT / page).read_text()
    text = re.sub(r"torchrun .*?(?=train\.py)", "", text)  # the launcher's own flags
    text = re.sub(r"^curl .*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(pip|docker|uv|systemctl|nginx) [^`\n]*", "", text)


def test_every_command_explains_itself_and_the_pages_name_only_real_flags(capsys):
    flags = {name: flags_of(name, capsys) for name in (*COMMANDS, *MODULES)}
    known = set().union(*flags.values())
    for page in PAGES:
        text = page_text(page)
        for script, arguments in re.findall(r"python (\w+)\.py([^\n`]*)", text):
            if (ROOT / "examples" / f"{script}.py").is_file():
                continue
            used = set(re.findall(r"--[a-z][a-z0-9-]+", arguments.split("#")[0]))
            assert used <= flags[script], (page, script, used - flags[script])
        if page != "docs/deploy.md":  # which names those of other programs
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) <= known, page


@pytest.mark.parametrize("page", [*PAGES, "docs/experiments.md", "CHANGELOG.md"])
def test_every_file_that_a_page_links_or_runs_exists(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
    if page in PAGES:
        for script in re.findall(r"python (\w+\.py)", path.read_text()):
            assert any((ROOT / folder / script).is_file() for folder in (".", "examples")), script


def test_every_picture_is_shown_and_made_by_one_command():
    shown = set()
    for page in (*PAGES, "docs/experiments.md"):
        shown |= set(re.findall(r"\]\((?:docs/)?img/([^)]+)\)", (ROOT / page).read_text()))
    there = {path.name for path in (ROOT / "docs" / "img").iterdir()}
    assert there == shown
    assert there - {"learning_curves.png"} == set(PICTURES)  # which evaluation.publish draws


def test_the_readme_is_short_and_names_every_folder():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= 9000
    for folder in set(ALLOWED) - {"data_split", "model"}:
        assert f"`{folder}/`" in text, folder
    for command in COMMANDS:
        assert f"{command}.py" in text, command


def test_every_make_target_that_a_page_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set()
    for page in PAGES:
        targets |= set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()))
    assert {"demo", "app", "test", "test-all", "check", "gpu", "pictures"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_pages_figures_are_the_published_ones(part):
    results = json.loads((ROOT / "docs" / "results.json").read_text())
    begin, end = part.marks
    text = (ROOT / part.page).read_text()
    published = part.text(results).strip() if part.needs in results else ""
    assert text.split(begin)[1].split(end)[0].strip() == published


def test_recipe_robust_says_what_is_published_of_it():
    results = json.loads((ROOT / "docs" / "results.json").read_text())
    (tier,) = folds_of("robust", results)["tiers"].values()
    text = (ROOT / "training" / "recipes.py").read_text()
    right, auc = tier["rates"]["accuracy"]["rate"], tier["roc_auc"]["mean"]
    for figure in (f"{tier['images']:,} images", f"{100 * right:.1f} %", f"ROC-AUC {auc:.3f}"):
        assert figure in text


def test_the_heatmap_methods_of_the_command_line_are_those_there_are():
    from inspection.heatmap import CELLS, METHODS

    assert HEATMAP_METHODS == (CELLS, *METHODS)


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
