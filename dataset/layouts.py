"""How photographs are sorted into folders, and what follows from it for their split.

Three layouts are taken: `train/` and `test/` with a folder a class in each (Kaggle's casting set);
the same with `val/`, or with good parts alone in `train/` (MVTec's layout); and a folder a class
with nothing above it. Of any other a message says what to do.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.labels import is_defect, label_of
from imaging.photographs import why_not_by_path, why_not_folder

TRAIN, TEST = "train", "test"
VALIDATION_FOLDERS = ("val", "valid", "validation")
MASKS = ("ground_truth", "masks", "mask")  # of defects, as data sets bring them along
DOUBLED = "casting_data"  # Kaggle's archive doubles the folder: casting_data/casting_data/train
PEEKED = 1000  # entries of a folder, to see whether it holds photographs


@dataclass(frozen=True)
class Layout:
    """The folders that hold class folders, by the split that each is for."""

    parts: dict[str, str]  # 'train' to 'train', 'val' to 'valid'; or '' to '': class folders alone

    @property
    def has_validation(self) -> bool:
        return "val" in self.parts

    @property
    def has_parts(self) -> bool:
        """Whether somebody has divided the photographs into training and test."""
        return TRAIN in self.parts


def layout_of(root: Path) -> Layout:
    """The layout of a folder that `root_below` has found."""
    if not all((root / part).is_dir() for part in (TRAIN, TEST)):
        return Layout({"": ""})
    validation = [name for name in VALIDATION_FOLDERS if (root / name).is_dir()]
    return Layout({TRAIN: TRAIN, TEST: TEST} | ({"val": validation[0]} if validation else {}))


def root_below(folder: Path, source: str, ways: str) -> Path:
    """The folder in which a layout begins: `folder`, or where Kaggle's archive has it below.

    Args:
        source: what the user has named the folder by.
        ways: to come to data.

    Raises:
        UserError: there is no layout to take.
    """
    candidates = (folder, folder / DOUBLED, folder / DOUBLED / DOUBLED)
    for root in candidates:
        if all((root / part).is_dir() for part in (TRAIN, TEST)):
            return root
    if not folder.is_dir():
        raise UserError(f"{source}: no such folder: {folder}; {ways}")
    for part, other in ((TRAIN, TEST), (TEST, TRAIN)):
        if (folder / part).is_dir():
            raise UserError(
                f"{source}: {folder} has no folder {other}/ beside {part}/; add it, or name the "
                f"folder of classes itself, {folder / part}: then whole parts are held out"
            )
    folders = sorted(entry for entry in folder.iterdir() if is_class_folder(entry))
    if any(holds_photographs(entry) for entry in folders):
        return folder
    raise UserError(f"{source}: {folder} {advice(folder, folders)}")


def advice(folder: Path, folders: list[Path]) -> str:
    """What is wrong with a folder without class folders, and what to do."""
    wanted = "a folder a class is expected, such as ok/ and scratch/"
    if holds_photographs(folder):
        return f"holds photographs themselves; {wanted}: move them there"
    deeper = [entry for one in folders for entry in sorted(one.iterdir()) if is_class_folder(entry)]
    if found := next((one for one in deeper if holds_photographs(one)), None):
        return (
            f"holds photographs two folders down, in {found.relative_to(folder)} first; {wanted}: "
            f"name a folder of such folders, {found.parent} say, or move them up"
        )
    return f"has no folder train/ and test/, and no photographs; {wanted}, or train/ and test/"


def is_class_folder(entry: Path) -> bool:
    """Whether a folder may be a class: none of the system's, and none of masks."""
    stray = why_not_folder(entry.name) or entry.name.startswith("_") or entry.name in MASKS
    return not stray and entry.is_dir()


def holds_photographs(folder: Path) -> bool:
    """Whether some of the first files of a folder are photographs, by their names."""
    for number, entry in enumerate(folder.iterdir()):
        if number == PEEKED:
            break
        if not why_not_by_path(Path(entry.name)) and entry.is_file():
            return True
    return False


def learns_from_good_only(root: Path, good: str | None = None) -> bool:
    """Whether the photographs to train on are of good parts alone, as in MVTec's sets."""
    layout = layout_of(root)
    entries = (root / layout.parts.get(TRAIN, "")).iterdir()
    names = [one.name for one in entries if is_class_folder(one) and holds_photographs(one)]
    return bool(names) and not any(is_defect(label_of(name, good)) for name in names)
