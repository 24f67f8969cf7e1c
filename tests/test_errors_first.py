"""What is wrong with a command line is said before anything heavy is imported or data is read."""

import socket
import subprocess
import sys

import pytest

from common.errors import EXIT_USAGE, UserError
from common.files import ROOT

WRONG = [
    ("train --epochs 0", "argument --epochs: must be from 1 to 100,000, not '0'"),
    ("train --image-size 9", "argument --image-size: must be from 32 to 2,048, not '9'"),
    ("train --epochs 99999999999999999999", "--epochs: must be from 1 to 100,000, not '99999"),
    ("train --epochs many", "argument --epochs: must be a whole number, not 'many'"),
    ("train --seed 99999999999999999999", "--seed: must be from 0 to 1,000,000,000, not '99999"),
    ("train --batch-size 1000000", "argument --batch-size: must be from 1 to 65,536"),
    ("train --lr 0,5", "argument --lr: must be a number, such as 0.5, not '0,5'"),
    ("train --lr nan", "argument --lr: must be a finite number above 0"),
    ("train --parts 0", "argument --parts: must be at least 3, not '0'"),
    ("train --folds 1", "argument --folds: must be from 2 to 1,000, not '1'"),
    ("train --fold 0", "must be from 1 to 1,000, not '0'; 'none' holds out validation only"),
    ("train --operating-point most", "must be none, balanced or a share of defects"),
    ("predict README.md --threads 100000", "--threads: must be from 1 to "),
    ("predict README.md --threads 100000", "not '100000'; this machine has "),
    ("predict README.md --threshold 0,5", "must be a number, such as 0.5, not '0,5'"),
    ("predict README.md --review 0,2 0,8", "must be a number, such as 0.5, not '0,2'"),
    ("predict README.md --batch-size 0", "argument --batch-size: must be from 1 to 65,536"),
    ("probe --images 0", "argument --images: must be at least 1"),
    ("benchmark train --batch-size 1000000", "argument --batch-size: must be from 1 to 65,536"),
    ("records verdict one ok --by Huber", "must be a whole number, not 'one'"),
    ("serve --port 99999999", "argument --port: must be from 0 to 65,535"),
    ("synthetic --castings 999999999999", "--castings: must be from 0 to 1,000,000,000"),
    ("synthetic --castings 1000000", "castings must be from 2 to 100,000"),
    ("synthetic --castings 90000 --copies 100", "9,000,080 images are too many"),
    ("synthetic --copies 1001", "copies, photos and unseen-copies must be from 1 to 1,000"),
    ("synthetic --unseen-castings -1", "argument --unseen-castings: must be at least 0"),
    ("train --device gpu", "argument --device: must be cpu, cuda, cuda:1 or the like, or mps"),
    ("explain README.md --device gpu", "argument --device: must be cpu, cuda, cuda:1"),
    ("predict README.md --device meta", "argument --device: must be cpu, cuda, cuda:1"),
    ("test --device cuda:x", "argument --device: must be cpu, cuda, cuda:1"),
    ("train --out README.md", "cannot use README.md as output folder: README.md is not a folder"),
    ("train --out README.md/run", "cannot use README.md/run as output folder: README.md is not"),
    ("train --resume --out nowhere", "no run to resume in nowhere: it holds no last.pth"),
    ("train --castings nowhere.csv", "no such file: nowhere.csv"),
    ("train --castings docs/results.json", "docs/results.json has no column path"),
    ("train --second-release nowhere", "--second-release: nowhere holds no class folders"),
    ("data_split --castings nowhere.csv", "no such file: nowhere.csv"),
    ("test --data nowhere", "--data: no such folder: nowhere"),
    ("test --protocol casting --checkpoint docs", "docs holds no folds; name the folder of"),
    ("test --external .ci", "holds no class folder with images"),
    ("probe --protocol casting --checkpoint docs", "docs holds no folds"),
    ("probe --gate --external docs nowhere", "--external: no such folder: nowhere"),
    ("export --data nowhere", "--data: no such folder: nowhere"),
    ("adapt nowhere/", "no such file or folder: nowhere/"),
    ("adapt README.md --defects nowhere/*.png", "no file matches nowhere/*.png"),
    ("adapt README.md --old nowhere", "--old: no such folder: nowhere"),
    ("adapt README.md --out a.csv/x.pth", "a.csv is the name of a file; name a folder"),
    ("adapt --from-log nowhere.db --old docs", "--from-log: no such file: nowhere.db"),
    ("predict README.md --log docs", "docs is a folder or a device; name a file for the log"),
    ("predict README.md --log README.md/log.db", "README.md is not a folder"),
    ("predict README.md --log README.md", "README.md is no inspection log; name another file"),
    ("serve --port {port}", "Address already in use; choose another --port"),
    ("serve --log docs", "docs is a folder or a device; name a file for the log"),
    ("train --network local", "--network local learns from --drawn-defects; give both"),
    ("train --drawn-defects 0.5", "--drawn-defects are for --network local and multiscale"),
    ("train --recipe robust --weights imagenet", "ImageNet's weights fit --network resnet18 only"),
    ("train --good-only", "use --recipe product, or robust for castings"),
    ("train --weights none.pth", "none.pth: No such file or directory"),
    ("train --weights README.md", "README.md holds no weights"),
    ("train --resume --overwrite", "give one"),
    ("train --fold 2", "belong to --protocol casting"),
    ("train --protocol casting --fold 9", "--fold 9: there are 5 folds"),
    ("test --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("test --checkpoint README.md", "README.md is not a checkpoint, or damaged"),
    ("test --review 0.8 0.2", "--review needs 0 <= LOW < HIGH <= 1"),
    ("test --out README.md", "cannot use README.md as output folder"),
    ("predict README.md --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("predict parts.csv", "parts.csv is a table, no photograph; a list of files is read from -"),
    ("predict README.md --out table.xlsx", "must end in .csv"),
    ("watch nowhere", "no such folder: nowhere"),
    ("explain README.md --checkpoint none.onnx", "no such checkpoint: none.onnx"),
    ("export --out model.pth", "must end in .onnx"),
    ("adapt README.md --rollback", "name either photographs of good parts"),
    ("probe --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("serve --checkpoint none.pth", "no such checkpoint: none.pth"),
    ("serve --queue 1", "argument --queue: must be from 64 to 10,000, not '1'"),
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
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = "\n".join(line.format(port=port) for line, _ in WRONG)
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
