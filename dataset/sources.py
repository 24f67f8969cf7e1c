"""Where the data lies: a folder that somebody names, a variable, rendered, or downloaded."""

import os
import sys
from pathlib import Path

from common.errors import UserError
from dataset.layouts import TRAIN, root_below
from dataset.releases import DataFolder, find_second

SYNTHETIC = Path("data/synthetic")
KAGGLE_FOLDER = Path("data/casting_data")
KAGGLE_HANDLE = "ravirajsinh45/real-life-industrial-dataset-of-casting-product/versions/2"


def find_data(
    argument: str | None = None, second: str | None = None, *, download: bool = True
) -> DataFolder:
    """The folder in which a layout begins (dataset/layouts.py), and that of the second release.

    Order: `argument` ('synthetic' renders), the variable CASTING_DATA, data/casting_data, Kaggle.
    The second release is in the folder `second` ('none' leaves it out), or found near the first.

    Raises:
        UserError: nothing was found; the message lists the ways.
    """
    root = _find_root(argument, download)
    return DataFolder(root, find_second(root, second))


def _find_root(argument: str | None, download: bool) -> Path:
    if argument == "synthetic":
        return _rendered()
    if argument == "":
        raise UserError(f"--data is empty; {_ways_to_data(download)}")
    given = argument or os.environ.get("CASTING_DATA")
    if given:
        return root_below(
            Path(given).expanduser(), "--data" if argument else "CASTING_DATA", _ways_to_data()
        )
    if KAGGLE_FOLDER.is_dir():
        return root_below(KAGGLE_FOLDER, "data/casting_data", _ways_to_data())
    if download:
        return _downloaded()
    raise UserError(f"no images found; {_ways_to_data(download)}")


def _rendered() -> Path:
    if not (SYNTHETIC / "truth.csv").is_file():
        from rendering.data_set import render_dataset
        from rendering.options import RenderOptions

        print(f"rendering synthetic castings into {SYNTHETIC}", file=sys.stderr)
        render_dataset(SYNTHETIC, RenderOptions())
    return SYNTHETIC


def _downloaded() -> Path:
    """Kaggle's public set, version pinned, kept in kagglehub's cache (about 100 MB, no account)."""
    try:
        import kagglehub
    except ImportError:
        raise UserError(
            "no images found, and kagglehub, which would download them, is missing: pip install "
            f"-r requirements.txt; or {_ways_to_data(download=False)}"
        ) from None
    try:
        print("downloading the casting set from Kaggle", file=sys.stderr)
        folder = Path(kagglehub.dataset_download(KAGGLE_HANDLE))
    except Exception as error:  # requests' and kagglehub's errors: network, quota, disk
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(
            f"no images found, and Kaggle cannot be reached ({reason}); {_ways_to_data()}"
        ) from error
    return root_below(folder, "kagglehub", _ways_to_data())


def _ways_to_data(download: bool = True) -> str:
    kaggle = "connect to the network for Kaggle, " if download else ""
    return (
        "give --data FOLDER, set CASTING_DATA=FOLDER, put the set into data/casting_data, "
        f"{kaggle}or use --data synthetic"
    )


def data_name(root: Path | DataFolder) -> str:
    """What reports and figures call this data; rendered images are always named as such."""
    folder = root.root if isinstance(root, DataFolder) else root
    if (folder / "truth.csv").is_file():
        return "synthetic castings"
    published = [folder / TRAIN / name for name in ("ok_front", "def_front")]
    return "castings" if all(one.is_dir() for one in published) else folder.resolve().name
