"""Images are found wherever the data lies; a broken folder says what is wrong with it."""

import hashlib
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import make_set, write_image
from PIL import Image

from common.errors import UserError
from dataset.listing import check_images, hashed, list_class_folders, list_images, report_notes
from dataset.sources import data_name, find_data
from imaging.overlays import png
from rendering import data_set as synthetic


@pytest.fixture
def small_set(tmp_path):
    return make_set(tmp_path / "set")


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The working directory: a folder without any data."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# --- what is in the folder -----------------------------------------------------------------------


def test_all_images_are_listed_with_their_folder_as_label(small_set):
    rows, notes = list_images(small_set)
    on_disk = sorted(p.relative_to(small_set).as_posix() for p in small_set.rglob("*.jpeg"))
    assert [row.path for row in rows] == on_disk
    assert all(row.path.split("/")[:2] == [row.split, row.label] for row in rows)
    assert notes == []


def test_defect_types_are_classes_of_their_own(tmp_path):
    make_set(tmp_path, classes=("blow_hole", "burr", "ok"))
    rows, _ = list_images(tmp_path)
    assert {row.label for row in rows} == {"blow_hole", "burr", "ok"}
    assert len(rows) == 2 * 3 * 4


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_class_folder_is_named(small_set, part):
    shutil.rmtree(small_set / part / "ok_front")
    with pytest.raises(UserError, match=f"{small_set / part / 'ok_front'} is missing"):
        list_images(small_set)


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_class_folder_is_named(small_set, part):
    for path in (small_set / part / "def_front").iterdir():
        path.unlink()
    (small_set / part / "def_front" / "Thumbs.db").touch()
    with pytest.raises(UserError, match=f"{small_set / part / 'def_front'} holds no image"):
        list_images(small_set)


@pytest.mark.parametrize(
    ("classes", "advice"),
    [
        (("def_front", "burr"), "begins with 'ok' or 'good'.*--good NAME"),
        (("ok_front", "ok_back"), "--good-only"),
    ],
)
def test_good_and_defective_classes_are_both_needed_unless_waived(tmp_path, classes, advice):
    make_set(tmp_path, classes=classes)
    with pytest.raises(UserError, match=advice) as caught:
        list_images(tmp_path)
    assert all(name in str(caught.value) for name in classes)
    rows, _ = list_images(tmp_path, both_kinds=False)
    assert {row.label for row in rows} == set(classes)


@pytest.mark.parametrize("both_kinds", [True, False])
def test_folder_without_classes_is_refused(tmp_path, both_kinds):
    for part in ("train", "test"):
        (tmp_path / part / "notes").mkdir(parents=True)
        (tmp_path / part / "notes" / "readme.txt").touch()
    with pytest.raises(UserError, match=str(tmp_path / "train")):
        list_images(tmp_path, both_kinds=both_kinds)


def test_another_part_is_listed_on_its_own(small_set):
    write_image(small_set / "unseen" / "ok_front" / "a.png")
    write_image(small_set / "unseen" / "burr" / "b.png")
    rows, notes = list_images(small_set, parts=("unseen",))
    found = [(row.path, row.label, row.split) for row in rows]
    assert found == [
        ("unseen/burr/b.png", "burr", "unseen"),
        ("unseen/ok_front/a.png", "ok_front", "unseen"),
    ]
    assert notes == []


def test_stray_files_and_folders_are_passed_over_with_a_note(small_set, capsys):
    expected, _ = list_images(small_set)
    (small_set / "README.md").touch()
    (small_set / "train" / "README.md").touch()
    write_image(small_set / "train" / ".ipynb_checkpoints" / "a.jpeg")
    write_image(small_set / "test" / "__MACOSX" / "a.jpeg")
    (small_set / "test" / "notes").mkdir()
    (small_set / "train" / "ok_front" / "Thumbs.db").touch()
    write_image(small_set / "train" / "ok_front" / "._train_0.jpeg")
    write_image(small_set / "train" / "ok_front" / "deeper" / "a.jpeg")
    rows, notes = list_images(small_set)
    assert rows == expected
    assert len(notes) == 7
    for stray in (
        "train/README.md",
        "train/.ipynb_checkpoints",
        "test/__MACOSX",
        "test/notes",
        "train/ok_front/Thumbs.db",
        "train/ok_front/._train_0.jpeg",
        "train/ok_front/deeper",
    ):
        assert any(note.split(" (")[0].endswith(stray) for note in notes), stray
    report_notes(notes)
    shown = capsys.readouterr().err.splitlines()
    assert shown[:5] == [f"note: {note}" for note in notes[:5]]
    assert shown[5:] == ["note: and 2 more"]


def test_images_of_every_usual_suffix_are_found(small_set):
    for suffix in (".JPG", ".png", ".bmp", ".TIFF", ".webp"):
        write_image(small_set / "train" / "ok_front" / f"more{suffix}")
    rows, _ = list_images(small_set)
    assert sum("more." in row.path for row in rows) == 5


def test_name_that_is_no_text_is_refused(small_set):
    name = "pr\udcfcf.jpeg"  # Latin-1, as old archives hold it
    try:
        shutil.copy(
            small_set / "train/ok_front/train_0.jpeg", small_set / "train" / "ok_front" / name
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(UserError, match="train/ok_front"):
        list_images(small_set)


# --- where the folder is -------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "casting_data", "casting_data/casting_data"])
def test_kaggles_doubled_folder_is_looked_through(tmp_path, below):
    make_set(tmp_path / "archive" / below, each=1)
    assert find_data(str(tmp_path / "archive")).root == tmp_path / "archive" / below


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_part_is_named(small_set, part):
    shutil.rmtree(small_set / part)
    with pytest.raises(UserError, match=f"--data: {small_set} has no folder {part}/"):
        find_data(str(small_set))


def test_wrong_folder_is_named_with_the_ways_to_data(tmp_path):
    with pytest.raises(UserError, match=f"no such folder: {tmp_path / 'none'}; .*CASTING_DATA"):
        find_data(str(tmp_path / "none"))


def test_variable_names_the_data_and_the_option_wins_over_it(tmp_path, monkeypatch):
    first, second = make_set(tmp_path / "1", each=1), make_set(tmp_path / "2", each=1)
    monkeypatch.setenv("CASTING_DATA", str(first))
    assert find_data().root == first
    assert find_data(str(second)).root == second
    monkeypatch.setenv("CASTING_DATA", str(tmp_path / "none"))
    with pytest.raises(UserError, match="CASTING_DATA: no such folder"):
        find_data()


def test_data_folder_of_the_working_directory_is_found(empty_folder):
    make_set(empty_folder / "data" / "casting_data", each=1)
    assert find_data(download=False).root == Path("data/casting_data")


def test_nothing_found_lists_the_ways(empty_folder):
    with pytest.raises(UserError) as caught:
        find_data(download=False)
    for way in ("--data FOLDER", "CASTING_DATA", "data/casting_data", "synthetic"):
        assert way in str(caught.value)
    assert "Kaggle" not in str(caught.value)  # scripts that never download do not suggest it


def test_kaggle_out_of_reach_is_one_line_with_the_ways(empty_folder, monkeypatch):
    def fail(handle):
        raise ConnectionError("Max retries exceeded\nand a long story")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fail))
    with pytest.raises(UserError, match=r"Max retries exceeded\).*--data synthetic") as caught:
        find_data()
    assert "\n" not in str(caught.value)


def test_missing_kagglehub_is_one_line_with_the_ways(empty_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # makes the import fail
    with pytest.raises(UserError, match=r"kagglehub.*is missing.*--data synthetic") as caught:
        find_data()
    assert "reached" not in str(caught.value)


def test_kaggles_set_is_downloaded_with_its_version_pinned(empty_folder, monkeypatch):
    handles = []

    def download(handle):
        handles.append(handle)
        return str(empty_folder / "cache")

    make_set(empty_folder / "cache" / "casting_data" / "casting_data", each=1)
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))
    assert find_data().root == empty_folder / "cache" / "casting_data" / "casting_data"
    assert handles[0].endswith("/versions/2")


def test_synthetic_castings_are_rendered_once(empty_folder, monkeypatch):
    def render(out, options):
        make_set(out, each=1)
        (out / "truth.csv").touch()
        rendered.append(out)

    rendered = []
    monkeypatch.setattr(synthetic, "render_dataset", render)
    roots = [find_data("synthetic").root for _ in range(2)]
    assert roots == [Path("data/synthetic")] * 2
    assert rendered == [Path("data/synthetic")]


def test_only_rendered_images_are_called_synthetic(small_set):
    assert data_name(small_set) == "castings"
    (small_set / "truth.csv").touch()
    assert data_name(small_set) == "synthetic castings"


# --- reading the files ---------------------------------------------------------------------------


def test_hashes_are_those_of_the_files_bytes(small_set):
    rows, _ = list_images(small_set)
    assert {row.sha256 for row in rows} == {""}
    found = hashed(small_set, rows)
    assert [(row.path, row.label, row.split) for row in found] == [
        (row.path, row.label, row.split) for row in rows
    ]
    for row in found:
        assert row.sha256 == hashlib.sha256((small_set / row.path).read_bytes()).hexdigest()


def test_all_files_that_vanished_meanwhile_are_listed(small_set):
    rows, _ = list_images(small_set)
    for row in rows[2:4]:
        (small_set / row.path).unlink()
    with pytest.raises(UserError, match="2 unreadable images") as caught:
        hashed(small_set, rows)
    for row in rows[2:4]:
        assert f"{row.path}: No such file" in str(caught.value)


def test_check_of_whole_images_passes_and_lists_all_damaged_ones(small_set):
    rows, _ = list_images(small_set)
    check_images(small_set, rows)
    whole = (small_set / rows[0].path).read_bytes()
    (small_set / rows[5].path).write_bytes(whole[: len(whole) // 2])
    (small_set / rows[9].path).write_bytes(b"<html>")
    with pytest.raises(UserError, match="2 unreadable images") as caught:
        check_images(small_set, rows)
    listed = [row.path for row in rows if row.path in str(caught.value)]
    assert listed == [rows[5].path, rows[9].path]


def test_pipes_and_own_pictures_in_a_class_folder_are_no_photographs(small_set):
    expected, _ = list_images(small_set)
    folder = small_set / "train" / "ok_front"
    os.mkfifo(folder / "x.jpeg")
    (folder / "heatmap.png").write_bytes(png(Image.new("L", (9, 9))))
    rows, notes = list_images(small_set)
    assert rows == expected
    assert [note.split(" (")[1] for note in notes] == ["drawn by this program)", "no regular file)"]


def test_class_folders_are_found_wherever_one_stands(tmp_path, monkeypatch):
    make_set(tmp_path / "set")
    expected = list_class_folders(tmp_path / "set" / "test")
    assert expected[0] == tmp_path / "set"
    assert {row.path.partition("/")[0] for row in expected[1]} == {"test"}
    monkeypatch.chdir(tmp_path / "set" / "test")
    assert list_class_folders(Path(".")) == expected
    monkeypatch.chdir("ok_front")
    assert list_class_folders(Path("..")) == expected
