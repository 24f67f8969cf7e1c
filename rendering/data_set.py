"""Whole data sets of rendered castings, with the truth about each image.

Every casting, good or not, has its own texture, nicks and stains; it is photographed once or more,
and each photograph is copied under rotation, mirroring, shift, zoom, shear and new light.
"""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UserError
from common.files import LOCK, output_folder, read_csv, write_atomic, write_csv
from common.marks import own_mark
from common.progress import ProgressBar
from rendering.casting import COPY, DEFECT, Casting, render_casting
from rendering.options import DEFECT_TYPES, OVERVIEW, RenderOptions, check_options

TRUTH_COLUMNS = ["path", "casting", "photo", "defects"]
PARTS = ("train", "test", "unseen", "masks", OVERVIEW, "truth.csv")
UNFINISHED = ".rendering"


def widen(image: np.ndarray) -> Image.Image:
    """A photograph (H, W) ready for copying: twice as large, its edges continued as ground.

    Doubled because Pillow's bicubic transform leaves edges dotted and its bilinear one blunts them.
    """
    side = image.shape[0]
    doubled = Image.fromarray(image).resize((2 * side, 2 * side), Image.Resampling.BICUBIC)
    return Image.fromarray(np.pad(np.asarray(doubled), side // 2, mode="edge"))


def copy_photo(
    photo: Image.Image, mask: Image.Image | None, image_size_px: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One image from a widened photograph: any rotation, mirroring, shift, zoom, shear; new light.

    Returns grey levels float32 (H, W) and mask uint8 (H, W) of 0 or 255. The whole movement is one
    resampling, so copies stay sharp.
    """
    size = image_size_px
    angle, zoom = random.uniform(0, 2 * np.pi), random.uniform(0.93, 1.06)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([random.choice([-1.0, 1.0]), 1.0])
    shear = np.array([[1.0, random.uniform(-0.06, 0.06)], [0.0, 1.0]])
    move = 2 / zoom * turn @ mirror @ shear
    middle = photo.width / 2 + random.uniform(-0.04, 0.04, 2) * size
    matrix = np.column_stack([move, middle - move @ np.full(2, size / 2)]).ravel()

    def warp(image: Image.Image) -> np.ndarray:
        affine, smooth = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        return np.asarray(image.transform((size, size), affine, matrix, smooth))

    image = warp(photo)
    covered = np.zeros_like(image) if mask is None else (warp(mask) >= 64).astype(np.uint8) * 255
    gain, gamma = random.uniform(0.92, 1.08), random.uniform(0.88, 1.14)
    levels = (255 * gain * (np.arange(256) / 255) ** gamma).astype(np.float32)
    slope = random.uniform(0, 0.08)
    side = random.uniform(0, 2 * np.pi)
    ramp = np.linspace(-slope, slope, size, dtype=np.float32)
    light = 1 + np.cos(side) * ramp[:, None] + np.sin(side) * ramp[None]
    noise = random.standard_normal((size, size), dtype=np.float32)
    grey = levels[image] * light + random.uniform(0.4, 1.4) * noise
    return grey, covered


@dataclass(frozen=True)
class Copy:
    """One image to be: which casting and photo it shows, and where it goes."""

    casting: Casting
    photo: int
    number: int  # of the copy within the casting
    folder: str

    @property
    def stem(self) -> str:
        """'def' or 'ok', or the defect type: names class folder and file."""
        return self.folder.partition("/")[2].removesuffix("_front")


def make_castings(options: RenderOptions, group: int, count: int) -> list[Casting]:
    """Castings of one group (0: train and test, 1: unseen), every other one defective."""
    castings = []
    for number in range(count):
        key = (options.seed, group, number)
        types: tuple[str, ...] = ()
        if number % 2 == 0:
            random = np.random.default_rng([*key, DEFECT])
            first = DEFECT_TYPES[number // 2 % len(DEFECT_TYPES)]
            more = 0 if options.classes == "type" else random.choice([0, 1, 2], p=[0.65, 0.25, 0.1])
            others = [name for name in DEFECT_TYPES if name != first]
            types = (first, *map(str, random.choice(others, more, replace=False)))
        castings.append(Casting(f"{'cu'[group]}{number:03d}", key, types, options.sizes))
    return castings


def class_folder(casting: Casting, options: RenderOptions) -> str:
    """The folder that a casting's images go to."""
    if not casting.types:
        return "ok_front"
    return casting.types[0] if options.classes == "type" else "def_front"


def part_for_test(count: int, fraction: float, what: str) -> int:
    """How many of `count` go to test: the fraction, but at least one on either side."""
    if count < 2:
        raise UserError(f"{what}: at least 2 are needed to have some in train and some in test")
    return min(max(round(count * fraction), 1), count - 1)


def plan(options: RenderOptions) -> Iterator[Copy]:
    """Every image of the data set, grouped by casting."""
    groups: dict[str, list[Casting]] = {}
    for casting in make_castings(options, 0, options.castings):
        groups.setdefault(class_folder(casting, options), []).append(casting)
    for folder, castings in groups.items():
        random = np.random.default_rng([options.seed, len(castings)])
        test_castings = set()
        if not options.leak:
            count = part_for_test(len(castings), options.test_fraction, f"castings of {folder}")
            test_castings = set(random.permutation(len(castings))[:count].tolist())
        for number, casting in enumerate(castings):
            test_copies = range(options.copies if number in test_castings else 0)
            if options.leak:
                # Fractions of a copy are carried over, so that the whole set has the fraction.
                exact = options.copies * options.test_fraction
                count = int((number + 1) * exact + 0.5) - int(number * exact + 0.5)
                count = min(max(count, 1), max(options.copies - 1, 0))
                test_copies = casting.random(COPY).permutation(options.copies)[:count]
            for copy in range(options.copies):
                split = "test" if copy in test_copies else "train"
                yield Copy(casting, copy % options.photos, copy, f"{split}/{folder}")
    for casting in make_castings(options, 1, options.unseen_castings):
        for copy in range(options.unseen_copies):
            folder = f"unseen/{class_folder(casting, options)}"
            yield Copy(casting, copy % options.photos, copy, folder)


def name_files(copies: list[Copy], seed: int) -> list[str]:
    """A path for each copy: unique names, numbered so that they do not tell the casting."""
    total = {stem: sum(copy.stem == stem for copy in copies) for stem in {c.stem for c in copies}}
    numbers = {
        stem: iter(np.random.default_rng([seed, count]).permutation(count))
        for stem, count in total.items()
    }
    return [f"{c.folder}/cast_{c.stem}_0_{next(numbers[c.stem])}.jpeg" for c in copies]


def check_folder(out: Path) -> None:
    """Raise UserError unless the folder is absent, empty, or holds an earlier rendering only."""
    present = {path.name for path in out.iterdir()} if out.is_dir() else set()
    present = {name for name in present if not name.startswith((UNFINISHED, LOCK))}
    if not present:
        return
    known: set[str] = {"truth.csv", OVERVIEW}
    if "truth.csv" in present:
        names = {row["path"] for row in read_csv(out / "truth.csv", TRUTH_COLUMNS)}
        known |= names | {mask_path(name) for name in names}
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out).as_posix()
        own = relative in known or relative.startswith((UNFINISHED, LOCK))
        if path.is_file() and not own:
            raise UserError(f"{out} holds {relative}, not rendered here; choose another --out")


def mask_path(path: str) -> str:
    """Where the mask of an image lies, relative to the data set."""
    return f"masks/{path.removesuffix('.jpeg')}.png"


def render_images(
    folder: Path, copies: list[Copy], paths: list[str], options: RenderOptions, progress: bool
) -> None:
    """Write every image, and its mask if asked for, below a folder."""
    size, photographed, photo, mask = options.image_size_px, None, None, None
    order = sorted(range(len(copies)), key=lambda i: (copies[i].casting.key, copies[i].photo))
    for i in ProgressBar(order, desc="rendering", unit="images", disable=not progress):
        copy, target = copies[i], folder / paths[i]
        if photographed != (copy.casting, copy.photo):
            photographed = (copy.casting, copy.photo)
            canvas, marked = render_casting(copy.casting, copy.photo, size)
            photo = widen(canvas)
            mask = widen(marked.astype(np.uint8) * 255) if options.masks else None
        random = copy.casting.random(COPY, copy.number)
        grey, covered = copy_photo(photo, mask, size, random)
        grey = grey + (options.brightness_gap if copy.casting.types else 0.0)
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
        image.save(target, quality=int(random.integers(88, 95)))
        if options.masks:
            target = folder / mask_path(paths[i])
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(covered).save(target, pnginfo=own_mark())


def render_dataset(out: Path, options: RenderOptions, *, progress: bool = True) -> None:
    """Render a data set into a folder; what was rendered there before is replaced.

    The same options give the same bytes. Images appear under their final names only when all are
    rendered, and truth.csv last: a folder without it is not a data set.

    Raises:
        UserError: the options cannot be met, or the folder holds something else.
    """
    out = Path(out)
    check_options(options)
    check_folder(out)
    with output_folder(out):
        _render_into(out, options, progress)


def _render_into(out: Path, options: RenderOptions, progress: bool) -> None:
    copies = list(plan(options))
    paths = name_files(copies, options.seed)
    for old in out.glob(f"{UNFINISHED}*"):
        shutil.rmtree(old)
    unfinished = out / UNFINISHED
    try:
        render_images(unfinished, copies, paths, options, progress)
        for part in reversed(PARTS):
            old = out / part
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        for new in unfinished.iterdir():
            new.rename(out / new.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    rows = [
        [path, copy.casting.name, f"{copy.casting.name}-{copy.photo}", "+".join(copy.casting.types)]
        for path, copy in zip(paths, copies, strict=True)
    ]
    draw_sheet(out, rows)
    write_csv(out / "truth.csv", TRUTH_COLUMNS, sorted(rows))


def draw_sheet(out: Path, rows: list[list[str]]) -> None:
    """castings.png: good castings above, defective ones below, one image of each casting."""
    by_casting = {row[1]: row for row in rows}.values()
    good = [row[0] for row in by_casting if not row[3]]
    defective = [row[0] for row in by_casting if row[3]]
    size, space, columns = 200, 4, 6
    sheet = Image.new("L", (columns * (size + space) - space, 4 * (size + space) - space), 255)
    for line, paths in enumerate((good[:6], good[6:12], defective[:6], defective[6:12])):
        for column, path in enumerate(paths):
            with Image.open(out / path) as image:
                tile = image.resize((size, size), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * (size + space), line * (size + space)))
    buffer = io.BytesIO()
    sheet.save(buffer, format="png", pnginfo=own_mark())
    write_atomic(out / OVERVIEW, buffer.getvalue())
