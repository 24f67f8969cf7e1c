"""The published split exactly, from any order of files; a broken folder says what is wrong."""

import csv
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.model_selection import train_test_split

import synthetic
from common import ROOT, UserError
from data_split import (
    ImageRow,
    assign_kaggle,
    find_data,
    identical_across_splits,
    list_images,
    load_split,
    main,
    report_notes,
    split_sha256,
    split_table,
    write_split,
)

REAL_SPLIT_SHA256 = "4364e014605828d1c26dc69b9d4dbbc73228469842774410393e5594070fcb76"


def write_image(path):
    """A small picture that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4])
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


def make_set(root, classes=("def_front", "ok_front"), each=4):
    for part in ("train", "test"):
        for name in classes:
            for n in range(each):
                write_image(root / part / name / f"{part}_{n}.jpeg")
    return root


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


def paths_by_split(rows):
    return {
        split: [row.path for row in rows if row.split == split]
        for split in ("train", "val", "test")
    }


# --- the published protocol ----------------------------------------------------------------------

names = st.text("aBz09_-.é", min_size=1, max_size=5)
labels = st.sampled_from(["def_front", "ok_front"])


@st.composite
def image_rows(draw):
    def part(name, least):
        found = draw(st.sets(st.tuples(labels, names), min_size=least, max_size=25))
        return [ImageRow(f"{name}/{label}/{file}.jpeg", label, name) for label, file in found]

    return part("train", 0) + part("test", 2)


@settings(deadline=None, max_examples=60)
@given(rows=image_rows(), order=st.randoms(use_true_random=False))
def test_split_is_exhaustive_halves_the_test_folder_and_ignores_file_order(rows, order):
    split = assign_kaggle(rows)
    assert [row.path for row in split] == sorted(row.path for row in rows)
    parts = paths_by_split(split)
    assert parts["train"] == sorted(row.path for row in rows if row.path.startswith("train/"))
    assert all(path.startswith("test/") for path in parts["val"] + parts["test"])
    assert len(parts["test"]) - len(parts["val"]) in (0, 1)  # 358 and 357 of Kaggle's 715
    assert {row.path: row.label for row in split} == {row.path: row.label for row in rows}
    shuffled = order.sample(rows, len(rows))
    assert assign_kaggle(shuffled) == split


@settings(deadline=None, max_examples=30)
@given(rows=image_rows())
def test_split_is_that_of_scikit_learn_on_the_sorted_list(rows):
    held_out = sorted(row.path for row in rows if row.path.startswith("test/"))
    val, test = train_test_split(held_out, test_size=0.5, random_state=42)
    parts = paths_by_split(assign_kaggle(rows))
    assert (parts["val"], parts["test"]) == (sorted(val), sorted(test))


def test_split_does_not_depend_on_the_state_of_random_generators():
    rows = [ImageRow(f"test/ok_front/{n}.jpeg", "ok_front", "test") for n in range(30)]
    splits = []
    for seed in range(3):
        np.random.seed(seed)
        random.seed(seed)
        splits.append(assign_kaggle(rows))
    assert splits[0] == splits[1] == splits[2]


def test_seven_hundred_and_fifteen_test_images_give_the_published_counts():
    rows = [
        ImageRow(f"test/{label}/{n:03}.jpeg", label, "test")
        for label, count in (("def_front", 453), ("ok_front", 262))
        for n in range(count)
    ]
    counts = Counter((row.split, row.label) for row in assign_kaggle(rows))
    assert counts == {
        ("val", "def_front"): 212,
        ("val", "ok_front"): 145,
        ("test", "def_front"): 241,
        ("test", "ok_front"): 117,
    }


def test_too_few_test_images_are_refused():
    with pytest.raises(UserError, match="at least two images"):
        assign_kaggle([ImageRow("test/ok_front/a.jpeg", "ok_front", "test")])


# --- what is in the folder -----------------------------------------------------------------------


def test_all_images_are_listed_with_their_folder_as_label(small_set):
    rows, notes = list_images(small_set)
    on_disk = sorted(p.relative_to(small_set).as_posix() for p in small_set.rglob("*.jpeg"))
    assert [row.path for row in rows] == on_disk
    assert all(row.path.split("/")[:2] == [row.split, row.label] for row in rows)
    assert notes == []


def test_defect_types_are_classes_of_their_own(tmp_path):
    make_set(tmp_path, classes=("blow_hole", "burr", "ok"))
    rows, _ = load_split(tmp_path)
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


@pytest.mark.parametrize("classes", [("def_front", "burr"), ("ok_front", "ok_back"), ()])
def test_good_and_defective_classes_are_both_needed(tmp_path, classes):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    make_set(tmp_path, classes=classes)
    with pytest.raises(UserError, match="begins with 'ok'") as caught:
        list_images(tmp_path)
    assert all(name in str(caught.value) for name in classes)


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
        assert any(note.endswith(stray) for note in notes), stray
    report_notes(notes)
    shown = capsys.readouterr().err.splitlines()
    assert shown[:5] == [f"note: {note}" for note in notes[:5]]
    assert shown[5:] == ["note: and 2 more"]


def test_images_of_every_usual_suffix_are_found(small_set):
    for suffix in (".JPG", ".png", ".bmp", ".TIFF", ".webp"):
        write_image(small_set / "train" / "ok_front" / f"more{suffix}")
    rows, _ = list_images(small_set)
    assert sum("more." in row.path for row in rows) == 5


# --- where the folder is -------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "casting_data", "casting_data/casting_data"])
def test_kaggles_doubled_folder_is_looked_through(tmp_path, below):
    make_set(tmp_path / "archive" / below, each=1)
    assert find_data(str(tmp_path / "archive")) == tmp_path / "archive" / below


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
    assert find_data() == first
    assert find_data(str(second)) == second
    monkeypatch.setenv("CASTING_DATA", str(tmp_path / "none"))
    with pytest.raises(UserError, match="CASTING_DATA: no such folder"):
        find_data()


def test_data_folder_of_the_working_directory_is_found(empty_folder):
    make_set(empty_folder / "data" / "casting_data", each=1)
    assert find_data(download=False) == Path("data/casting_data")


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
    with pytest.raises(UserError, match=r"kagglehub.*--data synthetic"):
        find_data()


def test_kaggles_set_is_downloaded_with_its_version_pinned(empty_folder, monkeypatch):
    handles = []

    def download(handle):
        handles.append(handle)
        return str(empty_folder / "cache")

    make_set(empty_folder / "cache" / "casting_data" / "casting_data", each=1)
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))
    assert find_data() == empty_folder / "cache" / "casting_data" / "casting_data"
    assert handles[0].endswith("/versions/2")


def test_synthetic_castings_are_rendered_once(empty_folder, monkeypatch):
    def render(out, options):
        make_set(out, each=1)
        (out / "truth.csv").touch()
        rendered.append(out)

    rendered = []
    monkeypatch.setattr(synthetic, "render_dataset", render)
    roots = [find_data("synthetic") for _ in range(2)]
    assert roots == [Path("data/synthetic")] * 2
    assert rendered == [Path("data/synthetic")]


# --- split.csv -----------------------------------------------------------------------------------


def test_split_csv_has_its_columns_sorted_and_with_the_files_hashes(small_set, tmp_path, capsys):
    assert main(["--data", str(small_set), "--out", str(tmp_path / "out")]) == 0
    with open(tmp_path / "out" / "split.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["path", "label", "split", "casting", "sha256"]
    assert [line["path"] for line in lines] == sorted(line["path"] for line in lines)
    assert Counter(line["split"] for line in lines) == {"train": 8, "val": 4, "test": 4}
    for line in lines:
        data = (small_set / line["path"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    assert capsys.readouterr().err == ""


def test_written_split_does_not_depend_on_the_order_of_rows(small_set, tmp_path):
    rows, _ = load_split(small_set)
    write_split(tmp_path / "a.csv", rows)
    write_split(tmp_path / "b.csv", reversed(rows))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_report_names_data_table_copies_hash_and_file(castings, tmp_path, capsys):
    assert main(["--data", str(castings), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    rows, _ = load_split(castings)
    assert f"synthetic castings in {castings}: {len(rows)} images, all readable" in out
    assert split_table(rows) in out
    assert f"split hash {split_sha256(rows)}" in out
    assert str(tmp_path / "split.csv") in out
    assert not any(row.path.startswith("unseen/") for row in rows)


def test_real_images_are_not_called_synthetic(small_set, tmp_path, capsys):
    assert main(["--data", str(small_set), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"castings in {small_set}: 16 images")


def test_table_counts_classes_with_their_share():
    rows = [ImageRow(f"train/def/{n}", "def", "train") for n in range(3)]
    rows += [ImageRow("train/ok/0", "ok", "train"), ImageRow("test/ok/0", "ok", "val")]
    cells = [line.split() for line in split_table(rows).splitlines()]
    assert cells == [
        ["def", "ok", "all"],
        ["train", "3", "(75.0%)", "1", "(25.0%)", "4"],
        ["val", "0", "(", "0.0%)", "1", "(100.0%)", "1"],
        ["test", "0", "(", "0.0%)", "0", "(", "0.0%)", "0"],
    ]


def test_byte_identical_copies_across_splits_are_counted(small_set, tmp_path, capsys):
    rows, _ = load_split(small_set)
    parts = paths_by_split(rows)
    copies = {parts["test"][0]: parts["train"][0], parts["val"][0]: parts["train"][0]}
    copies |= {parts["test"][2]: parts["test"][1], parts["train"][2]: parts["train"][1]}
    for copy, original in copies.items():
        shutil.copy(small_set / original, small_set / copy)
    rows, _ = load_split(small_set)
    found = {row.path for row in identical_across_splits(rows)}
    assert found == {parts["test"][0], parts["val"][0]}  # copies within one split do not count
    main(["--data", str(small_set), "--out", str(tmp_path / "out")])
    assert "byte-identical across splits: 2 " in capsys.readouterr().out


def test_all_unreadable_images_are_listed_and_no_split_is_written(small_set, tmp_path):
    bad = ["train/ok_front/train_1.jpeg", "test/def_front/test_3.jpeg", "train/def_front/new.png"]
    for path, data in zip(bad, (b"", b"<html>", b"\x89PNG\r\n\x1a\n"), strict=True):
        (small_set / path).write_bytes(data)
    with pytest.raises(UserError, match="3 unreadable images") as caught:
        main(["--data", str(small_set), "--out", str(tmp_path / "out")])
    assert caught.value.exit_code == 2
    assert all(path in str(caught.value) for path in bad)
    assert not (tmp_path / "out" / "split.csv").exists()


def test_unreadable_image_leaves_the_previous_split(small_set, tmp_path):
    main(["--data", str(small_set), "--out", str(tmp_path)])
    before = (tmp_path / "split.csv").read_bytes()
    (small_set / "train" / "ok_front" / "train_1.jpeg").write_bytes(b"")
    with pytest.raises(UserError, match="1 unreadable image in"):
        main(["--data", str(small_set), "--out", str(tmp_path)])
    assert (tmp_path / "split.csv").read_bytes() == before


def test_split_hash_is_that_of_its_sorted_lines():
    rows = [ImageRow("test/ok/b.jpeg", "ok", "val"), ImageRow("test/def/a.jpeg", "def", "test")]
    lines = b"test/def/a.jpeg,def,test\ntest/ok/b.jpeg,ok,val\n"
    assert split_sha256(rows) == hashlib.sha256(lines).hexdigest()


def test_split_hash_ignores_contents_castings_and_row_order_only(small_set):
    rows, _ = load_split(small_set)
    expected = split_sha256(rows)
    assert split_sha256(reversed(rows)) == expected
    assert split_sha256(replace(row, casting="7", sha256="") for row in rows) == expected
    for change in ({"path": "train/x"}, {"label": "burr"}, {"split": "val"}):
        assert split_sha256([replace(rows[-1], **change), *rows[:-1]]) != expected
    assert split_sha256(rows[1:]) != expected


def test_unknown_protocol_and_option_are_usage_errors(small_set, capsys):
    for arguments in (["--protocol", "random"], ["--dat", "x"]):
        with pytest.raises(SystemExit, match="2"):
            main(["--data", str(small_set), *arguments])
    assert "kaggle" in capsys.readouterr().err


def test_name_that_is_no_text_is_refused(small_set, tmp_path):
    name = "pr\udcfcf.jpeg"  # Latin-1, as old archives hold it
    try:
        shutil.copy(
            small_set / "train/ok_front/train_0.jpeg", small_set / "train" / "ok_front" / name
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(UserError, match="train/ok_front"):
        main(["--data", str(small_set), "--out", str(tmp_path / "out")])


# --- on the real images --------------------------------------------------------------------------


@pytest.mark.real
def test_real_split_is_the_published_one(real_data):
    rows, _ = load_split(real_data)
    assert Counter((row.split, row.label) for row in rows) == {
        ("train", "def_front"): 3758,
        ("train", "ok_front"): 2875,
        ("val", "def_front"): 212,
        ("val", "ok_front"): 145,
        ("test", "def_front"): 241,
        ("test", "ok_front"): 117,
    }
    assert split_sha256(rows) == REAL_SPLIT_SHA256
    assert len(identical_across_splits(rows)) == 64


@pytest.mark.slow
def test_help_answers_within_half_a_second():
    def seconds():
        start = time.perf_counter()
        script = [sys.executable, str(ROOT / "data_split.py"), "--help"]
        result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
        assert "--protocol" in result.stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5
