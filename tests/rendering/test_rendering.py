"""Rendered castings: truth.csv says what the images show, and nothing else gives it away."""

import csv
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from common.errors import UserError
from rendering.casting import Casting, Scene, render_casting
from rendering.data_set import render_dataset
from rendering.options import DEFECT_SIZES, DEFECT_TYPES, SIZE_RANGES_PX, RenderOptions
from synthetic import main

SMALL = RenderOptions(castings=8, copies=4, unseen_castings=4, image_size_px=64)


def read_truth(folder):
    with open(folder / "truth.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def grey(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(float)


def castings_by_split(rows):
    found = defaultdict(set)
    for row in rows:
        found[row["path"].split("/")[0]].add(row["casting"])
    return found


def auc(negatives, positives):
    return np.mean(np.asarray(positives)[:, None] > np.asarray(negatives)[None])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "small"
    render_dataset(folder, replace(SMALL, masks=True), progress=False)
    return folder


def test_same_options_give_the_same_bytes(small, tmp_path):
    render_dataset(tmp_path / "again", replace(SMALL, masks=True), progress=False)
    assert contents(tmp_path / "again") == contents(small)
    render_dataset(tmp_path / "other", replace(SMALL, seed=1), progress=False)
    images = {data for path, data in contents(small).items() if path.suffix == ".jpeg"}
    assert not images & set(contents(tmp_path / "other").values())


def test_more_castings_do_not_change_the_earlier_ones(small, tmp_path):
    render_dataset(tmp_path, replace(SMALL, castings=10), progress=False)
    images = set(contents(tmp_path).values())
    earlier = {data for path, data in contents(small).items() if path.suffix == ".jpeg"}
    assert earlier <= images


def test_files_and_truth_agree(small):
    rows = read_truth(small)
    files = {p.relative_to(small).as_posix() for p in small.rglob("*.jpeg")}
    assert {row["path"] for row in rows} == files
    assert len(rows) == 8 * 4 + 4 * 2
    assert len({path.rsplit("/")[-1] for path in files}) == len(files)
    for row in rows:
        _, folder, name = row["path"].split("/")
        stem = "def" if row["defects"] else "ok"
        assert folder == f"{stem}_front"
        assert name.startswith(f"cast_{stem}_0_")
        assert set(filter(None, row["defects"].split("+"))) <= set(DEFECT_TYPES)
        assert row["photo"].startswith(row["casting"])
    with Image.open(small / rows[0]["path"]) as image:
        assert (image.size, image.mode, image.format) == ((64, 64), "L", "JPEG")
    defective = {row["casting"] for row in rows if row["defects"]}
    assert len(defective) == (8 + 4) / 2


def test_copies_leak_by_default_and_unseen_castings_do_not(small):
    found = castings_by_split(read_truth(small))
    assert found["train"] == found["test"]
    assert len(found["unseen"]) == 4
    assert not found["unseen"] & found["train"]


def test_without_leak_no_casting_is_on_both_sides(tmp_path):
    render_dataset(tmp_path, replace(SMALL, leak=False, test_fraction=0.25), progress=False)
    rows = read_truth(tmp_path)
    found = castings_by_split(rows)
    assert not found["train"] & found["test"]
    assert len(found["test"]) == 2
    test_folders = {row["path"].split("/")[1] for row in rows if row["path"].startswith("test")}
    assert test_folders == {"def_front", "ok_front"}


@pytest.mark.parametrize("leak", [True, False])
def test_one_folder_per_defect_type(tmp_path, leak):
    options = RenderOptions(
        castings=24, copies=2, photos=1, unseen_castings=12, unseen_copies=1, leak=leak,
        classes="type", image_size_px=32,
    )  # fmt: skip
    render_dataset(tmp_path, options, progress=False)
    for split in ("train", "test", "unseen"):
        present = {path.name for path in (tmp_path / split).iterdir()}
        assert present == {*DEFECT_TYPES, "ok_front"}
    for row in read_truth(tmp_path):
        folder = row["path"].split("/")[1]
        assert folder == (row["defects"] or "ok_front")


def test_test_fraction_holds_over_the_whole_set(tmp_path):
    options = RenderOptions(castings=10, copies=8, unseen_castings=0, photos=1, image_size_px=32)
    render_dataset(tmp_path, options, progress=False)
    splits = Counter(row["path"].split("/")[0] for row in read_truth(tmp_path))
    assert splits == {"train": 64, "test": 16}


def test_masks_mark_defective_images_only(small):
    for row in read_truth(small):
        mask = grey(small / "masks" / row["path"].replace(".jpeg", ".png"))
        assert mask.shape == (64, 64)
        assert set(np.unique(mask)) <= {0, 255}
        assert mask.any() == bool(row["defects"])


@pytest.mark.parametrize("size", DEFECT_SIZES)
@pytest.mark.parametrize("name", DEFECT_TYPES)
def test_a_defect_changes_its_mask_and_nothing_else(name, size):
    casting = Casting("c", (0, 0, 1), (name,), (size,))
    damaged, mask = render_casting(casting, 0, 150)
    sound, empty = render_casting(casting, 0, 150, with_defects=False)
    assert not empty.any()
    assert np.array_equal(damaged[~mask], sound[~mask])
    difference = np.abs(damaged.astype(int) - sound)[mask]
    assert (difference > 5).mean() > 0.5
    assert difference.max() > 40
    assert mask.mean() < 0.1


def test_sizes_differ_as_documented():
    extents = {}
    for size in DEFECT_SIZES:
        widths = []
        for number in range(5):
            _, mask = render_casting(Casting("c", (0, 0, number), ("blow_hole",), (size,)), 0)
            parts = ndimage.find_objects(ndimage.label(mask)[0])
            widths += [max(r.stop - r.start, c.stop - c.start) for r, c in parts]
        extents[size] = widths
    # The lit lip and the soft edge add up to 5 px to the hole, a slanted view takes some away.
    for size, widths in extents.items():
        low, high = SIZE_RANGES_PX[size]
        assert max(widths) <= high + 5
        assert min(widths) >= 0.85 * low
    assert max(extents["small"]) < np.median(extents["medium"]) < min(extents["large"])


def test_every_casting_has_a_dark_centred_eye(small):
    y, x = np.mgrid[:64, :64] - 31.5
    for row in read_truth(small):
        blurred = ndimage.gaussian_filter(grey(small / row["path"]), 0.3)
        labels, count = ndimage.label((blurred < 60) & (np.hypot(x, y) < 19))
        areas = ndimage.sum_labels(labels > 0, labels, range(1, count + 1))
        eye = ndimage.binary_fill_holes(labels == 1 + np.argmax(areas))
        radius_px = np.sqrt(eye.sum() / np.pi) * 300 / 64
        assert 55 < radius_px < 75
        assert np.hypot(x[eye].mean(), y[eye].mean()) < 3


def test_copies_share_their_castings_texture_and_castings_do_not():
    def ring(casting, photo):
        """Machined face, unrolled along the part's own angle, freed from light: (16, 360)."""
        scene = Scene(casting, photo, 300)
        canvas = render_casting(casting, photo)[0].astype(float)
        angle = np.linspace(0, 2 * np.pi, 360, endpoint=False) + scene.turn
        radius = np.linspace(90, 112, 16)[:, None]
        places = np.stack([radius * np.cos(angle), radius * np.sin(angle)]).reshape(2, -1)
        columns, rows = scene.to_pixels @ places + scene.middle
        face = ndimage.map_coordinates(canvas, [rows, columns], order=1).reshape(16, 360)
        face -= ndimage.uniform_filter(face, (5, 15), mode="nearest")
        return (face - face.mean()) / face.std()

    first, second = Casting("a", (0, 0, 1)), Casting("b", (0, 0, 3))
    assert np.mean(ring(first, 0) * ring(first, 1)) > 0.6
    assert abs(np.mean(ring(first, 0) * ring(second, 0))) < 0.2


def mean_brightness(folder, **changes):
    """Mean grey level of each image, good ones under False, defective ones under True."""
    options = RenderOptions(copies=2, unseen_castings=0, image_size_px=48, **changes)
    render_dataset(folder, options, progress=False)
    levels = defaultdict(list)
    for row in read_truth(folder):
        levels[bool(row["defects"])].append(grey(folder / row["path"]).mean())
    return levels


def test_brightness_tells_nothing(tmp_path):
    levels = mean_brightness(tmp_path, castings=80)
    assert 0.35 < auc(levels[False], levels[True]) < 0.65


def test_a_planted_brightness_gap_tells_the_classes_apart(tmp_path):
    plain = mean_brightness(tmp_path / "plain", castings=12)
    darker = mean_brightness(tmp_path / "darker", castings=12, brightness_gap=-40.0)
    assert darker[False] == plain[False]
    # Grey levels stop at 0, and the dark eye is there already.
    assert -40 < np.mean(darker[True]) - np.mean(plain[True]) < -30
    assert auc(darker[False], darker[True]) < 0.05


def test_refuses_a_folder_with_anything_else_in_it(small, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        render_dataset(tmp_path, SMALL, progress=False)
    (tmp_path / "thesis.txt").unlink()
    render_dataset(tmp_path, replace(SMALL, masks=True, castings=2), progress=False)
    mine = tmp_path / "train" / "ok_front" / "my_own.jpeg"
    mine.write_text("precious")
    with pytest.raises(UserError, match="my_own"):
        render_dataset(tmp_path, SMALL, progress=False)
    mine.unlink()
    render_dataset(tmp_path, SMALL, progress=False)
    expected = {p: data for p, data in contents(small).items() if p.parts[0] != "masks"}
    assert contents(tmp_path) == expected


def test_an_interrupted_rendering_leaves_the_earlier_one(tmp_path, monkeypatch):
    render_dataset(tmp_path, replace(SMALL, castings=2), progress=False)
    before = contents(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rendering.data_set.copy_photo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        render_dataset(tmp_path, SMALL, progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"castings": 1}, "castings"),
        ({"castings": 10, "classes": "type"}, "12"),
        (
            {"castings": 12, "unseen_castings": 0, "classes": "type", "leak": False},
            "at least 2",
        ),
        ({"unseen_castings": 6, "classes": "type", "castings": 12}, "unseen"),
        ({"copies": 1}, "leak"),
        ({"photos": 0}, "photos"),
        ({"test_fraction": 1.0}, "fraction"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": ("huge",)}, "sizes"),
        ({"classes": "three"}, "classes"),
        ({"image_size_px": 8}, "image-size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_cannot_be_met(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        render_dataset(tmp_path / "out", replace(SMALL, **changes), progress=False)
    assert not (tmp_path / "out" / "truth.csv").exists()


def test_command_line(small, tmp_path):
    arguments = ["--castings", "8", "--copies", "4", "--unseen-castings", "4", "--masks"]
    assert main(["--out", str(tmp_path / "out"), *arguments, "--image-size-px", "64"]) == 0
    assert contents(tmp_path / "out") == contents(small)
    assert main(["--out", str(tmp_path / "ok"), *arguments, "--image-size-px", "32", "--no-leak",
                 "--sizes", "large", "--classes", "two", "--brightness-gap", "3"]) == 0  # fmt: skip
