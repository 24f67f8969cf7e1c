"""Commands run as a person runs them, and the rendered castings that they are run on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNREADABLE, UserError, tell
from common.files import CHECKPOINTS, ROOT, read_csv

RELEASED = CHECKPOINTS / "released.pth"
REVIEW = ("0.2", "0.8")  # as make app has it
LEARNED = 20  # good castings by which the model is fitted


class Workshop:
    """A temporary folder in which commands run, with a cache of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("CASTING_")}
        self.env |= {"CASTING_CACHE": str(folder / "cache")}

    def run(self, *words: str | Path) -> None:
        """Run a command as a person would; photographs that it does not judge are no failure.

        Raises:
            UserError: it fails.
        """
        shown = " ".join(map(str, words)).replace(f"{self.folder}/", "").replace(f"{ROOT}/", "")
        tell(f"python {shown}")
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True)
        if done.returncode not in (EXIT_OK, EXIT_UNREADABLE):
            last = done.stderr.strip().rpartition("\n")[2]
            raise UserError(f"{words[0]} ends with {done.returncode}: {last}", EXIT_FAILURE)

    def copies(self, name: str, paths: Iterable[Path], pattern: str) -> Path:
        """A folder with these files, numbered by a pattern such as 'S{:03d}.jpeg'."""
        folder = self.folder / name
        folder.mkdir()
        for number, path in enumerate(paths, 1):
            shutil.copy(path, folder / pattern.format(number))
        return folder


class Castings:
    """Rendered castings: a data set with copies, and single castings by what a model says of them.

    The model is the released one, with decision and gate fitted by twenty good castings (adapt.py),
    as a person does on a new line. Otherwise its gate hands rendered castings to a person. A model
    that was trained on them would be surer than anybody's will be on a new line.
    """

    def __init__(self, shop: Workshop):
        self.root, self.model = shop.folder / "castings", shop.folder / "line3.pth"
        shop.run("synthetic.py", "--out", self.root, "--castings", "24", "--copies", "8",
                 "--unseen-castings", "120", "--unseen-copies", "1")  # fmt: skip
        truth = read_csv(self.root / "truth.csv", ["path", "casting", "defects"])
        single = [row for row in truth if row["path"].startswith("unseen/")]
        single.sort(key=lambda row: row["casting"])
        self.kinds = {self.root / row["path"]: row["defects"] for row in single}
        learned = [path for path, kind in self.kinds.items() if not kind][:LEARNED]
        good = shop.copies("line3_good", learned, "good_{:02d}.jpeg")
        shop.run(
            "adapt.py", good, "--checkpoint", RELEASED, "--threshold-only", "--out", self.model
        )
        table = shop.folder / "decided.csv"
        shop.run("predict.py", self.root / "unseen", "--checkpoint", self.model,
                 "--review", *REVIEW, "--out", table)  # fmt: skip
        decided = {
            Path(row["path"]): row["decision"] for row in read_csv(table, ["path", "decision"])
        }
        self.left = {path: decided[path] for path in self.kinds if path not in learned}

    def take(self, count: int, decision: str, kind: str | None = None) -> list[Path]:
        """So many castings on which the model decides so; each is given once.

        Args:
            kind: the type of its one defect; default: any, or none.

        Raises:
            UserError: there are not so many.
        """
        found = [
            path
            for path, said in self.left.items()
            if said == decision and kind in (None, self.kinds[path])
        ][:count]
        if len(found) < count:
            what = f"rendered castings on which the model says {decision}"
            raise UserError(f"{len(found)} {what} are left, {count} are needed", EXIT_FAILURE)
        for path in found:
            del self.left[path]
        return found

    def brightness(self) -> float:
        """Their mean grey value."""
        return float(np.mean([np.asarray(Image.open(path)).mean() for path in self.left]))
