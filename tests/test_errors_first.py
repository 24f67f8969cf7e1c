"""What is wrong with a command line is said before anything heavy is imported or data is read."""

import subprocess
import sys

import pytest

from common.errors import EXIT_USAGE, UserError
from common.files import ROOT

WRONG = [
    ("train --epochs 0", "argument --epochs: must be at least 1"),
    ("train --image-size 9", "argument --image-size: must be from 32 to 2048"),
    ("train --network local", "--network local learns from --drawn-defects; give both"),
    ("train --drawn-defects 0.5", "--drawn-defects are for --network local and multiscale"),
    ("train --recipe robust --weights imagenet", "ImageNet's weights fit --network resnet18 only"),
    ("train --good-only", "use --recipe product, or robust for castings"),
    ("train --weights none.pth", "no such file: none.pth"),
    ("train --resume --overwrite", "give one"),
    ("train --fold 2", "belong to --protocol casting"),
    ("train --protocol casting --fold 9", "--fold 9: there are 5 folds"),
    ("test --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("test --checkpoint README.md", "README.md is not a checkpoint, or damaged"),
    ("test --review 0.8 0.2", "--review needs 0 <= LOW < HIGH <= 1"),
    ("test --out README.md", "cannot use README.md as output folder"),
    ("predict README.md --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("predict README.md --out table.xlsx", "must end in .csv"),
    ("watch nowhere", "no such folder: nowhere"),
    ("explain README.md --checkpoint none.onnx", "no such checkpoint: none.onnx"),
    ("export --out model.pth", "must end in .onnx"),
    ("adapt README.md --rollback", "name either photographs of good parts"),
    ("probe --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("serve --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("serve --queue 1", "--queue must be at least 64"),
    ("serve --host 0.0.0.0", "--host 0.0.0.0 needs a key"),
    ("serve --review 1 0", "--review needs 0 <= LOW < HIGH <= 1"),
    ("app --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("benchmark infer --checkpoint none.pth", "no such checkpoint: none.pth"),
]
CODE = """
import contextlib, importlib, io, sys
sys.path.insert(0, "")
from common.errors import UserError
heavy = {"torch", "torchvision", "matplotlib", "sklearn", "scipy", "fastapi", "streamlit"}
for line in sys.stdin.read().splitlines():
    name, *options = line.split()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            importlib.import_module(name).main(options)
        print("it began")
    except UserError as error:
        print(error.exit_code, sorted(heavy & set(sys.modules)), error)
    except SystemExit as leaving:
        print(leaving.code, sorted(heavy & set(sys.modules)), said.getvalue().strip())
"""


def test_a_wrong_command_line_is_refused_at_once():
    lines = "\n".join(line for line, _ in WRONG)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout.splitlines()
    assert len(told) == len(WRONG), done.stdout
    for (line, message), said in zip(WRONG, told, strict=True):
        assert said.startswith(f"{EXIT_USAGE} [] "), (line, said)
        assert message in said, line


def test_a_device_that_is_not_there_is_named_with_those_that_are():
    from networks.devices import choose_device

    for name in ("mps", "xpu", "abacus"):
        with pytest.raises(UserError, match=f"cannot use device '{name}': .* has cpu") as caught:
            choose_device(name)
        assert "\n" not in str(caught.value)
