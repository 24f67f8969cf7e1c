"""The second release is found wherever the archive is unpacked, and its images have their paths."""

import os
from pathlib import Path

import pytest
from builders import make_set, write_image

from common.errors import UserError
from dataset.listing import ImageRow, list_second
from dataset.releases import SECOND, VARIABLE, DataFolder, find_second, releases_line
from dataset.sources import find_data

CLASSES = ("def_front", "ok_front")


def make_second(folder, classes=CLASSES, each=2):
    for name in classes:
        for n in range(each):
            write_image(folder / name / f"{n}.jpeg")
    return folder


@pytest.fixture
def first(tmp_path):
    """A folder casting_data with nothing beside it."""
    return make_set(tmp_path / "archive" / "casting_data", each=1)


# --- where it lies -------------------------------------------------------------------------------


def test_it_is_found_beside_casting_data_and_nowhere_else(first):
    assert find_data(str(first)).second is None
    second = make_second(first.parent / SECOND)
    assert find_data(str(first)) == DataFolder(first, second)
    other = first.rename(first.parent / "line 3")
    assert find_data(str(other)).second is None  # what lies beside other data is none of theirs


@pytest.mark.parametrize("below", [SECOND, f"{SECOND}/{SECOND}"])
def test_it_is_found_in_kaggles_doubled_folders(tmp_path, below):
    first = make_set(tmp_path / "casting_data" / "casting_data", each=1)
    second = make_second(tmp_path / below)
    assert find_data(str(tmp_path / "casting_data")) == DataFolder(first, second)


@pytest.mark.parametrize("work", ["archive", "archive/casting_data"])
def test_it_is_found_from_within_the_archive(first, monkeypatch, work, tmp_path):
    second = make_second(first.parent / SECOND)
    monkeypatch.chdir(tmp_path / work)
    root = os.path.relpath(first)
    assert find_data(root).second.resolve() == second


def test_option_wins_over_variable_and_variable_over_what_lies_beside(first, tmp_path, monkeypatch):
    make_second(first.parent / SECOND)
    chosen, named = make_second(tmp_path / "chosen"), make_second(tmp_path / "named" / SECOND)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))  # its parent will do
    assert find_second(first) == named
    assert find_second(first, str(chosen)) == chosen


def test_none_leaves_it_out(first, monkeypatch):
    second = make_second(first.parent / SECOND)
    assert find_second(first, "none") is None
    monkeypatch.setenv(VARIABLE, "none")
    assert find_second(first) is None
    assert find_second(first, str(second)) == second


@pytest.mark.parametrize("classes", [(), ("ok_front",), ("def_front", "burr")])
@pytest.mark.parametrize("source", ["--second-release", VARIABLE])
def test_a_named_folder_without_both_kinds_is_one_clear_line(
    first, tmp_path, monkeypatch, classes, source
):
    folder = make_second(tmp_path / "other", classes)
    argument = str(folder) if source != VARIABLE else None
    if source == VARIABLE:
        monkeypatch.setenv(VARIABLE, str(folder))
    with pytest.raises(UserError, match=f"^{source}: {folder} holds no class folders") as caught:
        find_data(str(first), argument)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert "'none' to leave it out" in str(caught.value)


# --- paths ---------------------------------------------------------------------------------------


def test_a_path_of_split_csv_leads_into_the_release_that_it_is_of():
    data = DataFolder(Path("/a/casting_data"), Path("/b/photos"))
    assert data / "train/ok_front/1.jpeg" == Path("/a/casting_data/train/ok_front/1.jpeg")
    assert data / f"{SECOND}/ok_front/1.jpeg" == Path("/b/photos/ok_front/1.jpeg")
    assert str(data) == "/a/casting_data"


@pytest.mark.parametrize("found", [True, False])
def test_options_name_the_second_release_only_where_it_would_not_be_found(first, tmp_path, found):
    second = make_second(first.parent / SECOND if found else tmp_path / "my photos")
    text = DataFolder(first, second).options()
    assert text == f" --data {first}" + ("" if found else f" --second-release '{second}'")


def test_options_say_that_a_release_beside_was_left_out(first):
    make_second(first.parent / SECOND)
    assert DataFolder(first).options() == f" --data {first} --second-release none"


def test_images_are_counted_by_release():
    paths = ["train/ok/1.png", "test/ok/2.png", f"{SECOND}/ok/1.png"]
    rows = [ImageRow(path, "ok", "train") for path in paths]
    assert releases_line(rows) == "releases: casting_data 2 images, casting_512x512 1 image"
    assert releases_line(rows[:2]) == ""


# --- its images ----------------------------------------------------------------------------------


def test_images_have_the_same_paths_whatever_the_folder_is_called(first, tmp_path):
    second = make_second(tmp_path / "my photos")
    (second / "sessions.csv").write_text("path,session\n")
    (second / "README.md").touch()
    (second / "notes.txt").touch()
    data = DataFolder(first, second)
    rows, notes = list_second(data, CLASSES)
    assert [row.path for row in rows] == [
        f"{SECOND}/{label}/{n}.jpeg" for label in CLASSES for n in range(2)
    ]
    assert all((data / row.path).is_file() for row in rows)
    assert notes == ["ignored: my photos/notes.txt"]


@pytest.mark.parametrize("classes", [("burr", "ok_front"), (*CLASSES, "burr")])
def test_other_classes_are_refused_with_the_way_round(first, tmp_path, classes):
    second = make_second(tmp_path / "other", classes)
    with pytest.raises(UserError, match=f"{second} and {first} .*burr .*--second-release none"):
        list_second(DataFolder(first, second), CLASSES)
