"""Castings come from the user's table, else from the data's own, else from the images, once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from dataset import casting_table
from dataset import recognition as castings
from dataset.casting_table import castings_beside, read_table, recognise, with_castings
from dataset.listing import ImageRow, hashed, list_images
from rendering.data_set import render_dataset
from rendering.options import RenderOptions


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for what was recognised."""
    monkeypatch.setenv("CASTING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Eight photographs of four castings, with truth.csv."""
    out = tmp_path_factory.mktemp("data") / "rendered"
    options = RenderOptions(castings=4, copies=2, photos=1, unseen_castings=0, test_fraction=0.5)
    render_dataset(out, options, progress=False)
    return out


@pytest.fixture
def photographs(rendered, tmp_path):
    """The folder and rows of the photographs, with nothing that tells the castings."""
    root = shutil.copytree(rendered, tmp_path / "photographs")
    (root / "truth.csv").unlink()
    rows, _ = list_images(root)
    return root, hashed(root, rows)


def truth_of(rendered, rows):
    return read_table(rendered / "truth.csv", rendered, rows)


def write_table(path, castings_by_path, header="path,casting"):
    lines = [header, *(f"{p},{casting}" for p, casting in castings_by_path)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def no_recognition(monkeypatch):
    def fail(*args):
        raise AssertionError("images are compared again")

    monkeypatch.setattr(castings, "fingerprint", fail)


def names(rows):
    return [row.casting for row in rows]


# --- where castings come from --------------------------------------------------------------------


def test_the_users_table_wins_over_truth_and_images(rendered, photographs, tmp_path, monkeypatch):
    _, rows = photographs
    table = write_table(tmp_path / "table.csv", [(row.path, row.path[-9:]) for row in rows])
    no_recognition(monkeypatch)
    assert names(with_castings(rendered, rows, table)) == [row.path[-9:] for row in rows]


def test_rendered_images_bring_their_castings_along(rendered, photographs, monkeypatch):
    _, rows = photographs
    no_recognition(monkeypatch)
    found = with_castings(rendered, rows)
    assert names(found) == truth_of(rendered, rows)
    assert len(set(names(found))) == 4


def test_castings_are_otherwise_recognised_and_numbered(rendered, photographs, cache):
    root, rows = photographs
    found = with_castings(root, rows)
    assert sorted(set(names(found))) == [f"casting_00{n}" for n in (1, 2, 3, 4)]
    pairs = set(zip(names(found), truth_of(rendered, rows), strict=True))
    assert len(pairs) == 4
    assert [(row.path, row.label, row.split, row.sha256) for row in found] == [
        (row.path, row.label, row.split, row.sha256) for row in rows
    ]


# --- the table -----------------------------------------------------------------------------------


def test_table_may_have_more_lines_more_columns_and_another_order(photographs, tmp_path):
    root, rows = photographs
    lines = [f"7,{row.path},  no. {n} " for n, row in enumerate(rows)]
    lines += ["8,elsewhere.png,x", lines[0]]  # not an image of the folder; the same again
    text = "\n".join(["line,path,casting", *reversed(lines)])
    table = tmp_path / "table.csv"
    table.write_text(text, encoding="utf-8-sig")  # as spreadsheets save it
    assert read_table(table, root, rows) == [f"no. {n}" for n in range(len(rows))]


def test_images_without_a_casting_are_counted_and_the_first_is_named(photographs, tmp_path):
    root, rows = photographs
    lines = [(row.path, "1") for row in rows[:3]] + [(rows[3].path, " ")]
    table = write_table(tmp_path / "table.csv", lines)
    with pytest.raises(UserError, match=f"no casting for 5 images of {root}, {rows[3].path} first"):
        read_table(table, root, rows)


def test_lines_that_contradict_each_other_are_refused(photographs, tmp_path):
    root, rows = photographs
    lines = [(row.path, "1") for row in rows] + [(rows[2].path, "2")]
    table = write_table(tmp_path / "table.csv", lines)
    with pytest.raises(UserError, match=f"{rows[2].path} two castings") as caught:
        read_table(table, root, rows)
    assert str(table) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"path,casting\n",
        b"path,serial\na.png,1\n",
        b"path;casting\na.png;1\n",
        b"path,casting\na\xffb.png,1\n",
        b'path,casting\n"a\0",1\n',
        None,
    ],
    ids=["empty", "no lines", "wrong name", "semicolons", "Latin-1", "binary", "no such file"],
)
def test_unusable_table_is_one_line_with_its_name(photographs, tmp_path, content):
    table = tmp_path / "table.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(UserError, match=str(table)) as caught:
        read_table(table, *photographs)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_folder_as_a_table_is_one_line_with_its_name(photographs, tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is not a CSV file"):
        read_table(tmp_path, *photographs)


# --- what was recognised is kept -----------------------------------------------------------------


def test_second_time_images_are_not_compared_again(photographs, cache, monkeypatch):
    root, rows = photographs
    first = recognise(root, rows)
    no_recognition(monkeypatch)
    again = recognise(root, rows)
    assert np.array_equal(again.partners, first.partners)
    assert np.array_equal(again.scores, first.scores)
    with pytest.raises(AssertionError, match="compared again"):  # another selection is another one
        recognise(root, rows[1:])


def test_changed_content_of_a_file_is_compared_anew_and_kept_beside(photographs, cache):
    root, rows = photographs
    truth = recognise(root, rows).groups()
    stranger = next(n for n in range(len(rows)) if truth[n] != truth[0])
    shutil.copy(root / rows[stranger].path, root / rows[0].path)
    groups = recognise(root, hashed(root, rows)).groups()
    assert groups[0] == groups[stranger]
    assert len(list(cache.glob("*.npz"))) == 2
    assert recognise(root, rows).groups().tolist() == truth.tolist()  # of the old contents


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: content[: len(content) // 3],
        lambda content: content[:80] + bytes(40) + content[120:],
        lambda content: bytes(byte ^ (n % 50 == 45) for n, byte in enumerate(content)),
        lambda content: b"<html>",
    ],
    ids=["empty", "cut at its end", "a third", "a hole", "bits flipped", "another file"],
)
def test_damaged_cache_is_made_anew(photographs, cache, monkeypatch, damage):
    root, rows = photographs
    expected = recognise(root, rows).groups().tolist()
    (file,) = cache.glob("*.npz")
    file.write_bytes(damage(file.read_bytes()))
    assert recognise(root, rows).groups().tolist() == expected
    no_recognition(monkeypatch)
    assert recognise(root, rows).groups().tolist() == expected


# --- castings among those of a training ----------------------------------------------------------


def test_known_castings_keep_the_trainings_names_and_others_are_new(rendered, photographs, cache):
    root, rows = photographs
    truth = truth_of(rendered, rows)
    others = sorted(set(truth) - {truth[0]}, key=truth.index)
    expected = {truth[0]: "serial 7"} | {name: f"new_00{n}" for n, name in enumerate(others, 1)}
    training = [replace(rows[0], casting="serial 7")]
    found = castings_beside(rendered, rows, root, training)
    assert names(found) == [expected[name] for name in truth]
    assert [replace(row, casting="") for row in found] == rows


def test_the_rings_of_training_are_read_once_whatever_is_held_beside_it(
    rendered, photographs, cache, monkeypatch
):
    root, rows = photographs
    truth = truth_of(rendered, rows)
    training = [replace(row, casting=name) for row, name in zip(rows[:6], truth[:6], strict=True)]
    read, of_batches = [], castings.read_rings

    def counted(batches, progress):
        batches = list(batches)
        read.append(sum(map(len, batches)))
        return of_batches(batches, progress)

    monkeypatch.setattr(castings, "read_rings", counted)
    for others in (rows[6:], rows[5:7]):
        found = castings_beside(rendered, others, root, training)
        known = set(truth[:6])
        for row, name in zip(found, truth[6 - (len(read) > 2) :], strict=False):
            assert row.casting == name if name in known else row.casting.startswith("new_")
    assert read == [6, 2, 2]
    (kept,) = cache.glob("rings_*.npy")
    kept.write_bytes(kept.read_bytes()[:-100])
    assert castings_beside(rendered, rows[6:], root, training)
    assert read[3:] == [6, 2]


# --- images that cannot be compared --------------------------------------------------------------


def test_products_without_a_hub_are_told_of_the_table(photographs, cache):
    root, rows = photographs
    for row in rows[3:5]:
        Image.fromarray(np.full((50, 50), 200, np.uint8)).save(root / row.path)
    rows = hashed(root, rows)
    message = f"2 of 8 images in {root} .*{rows[3].path} first"
    with pytest.raises(UserError, match=message) as caught:
        with_castings(root, rows)
    assert "--castings FILE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_all_unreadable_images_are_listed(photographs, cache):
    root, rows = photographs
    for row in (rows[1], rows[6]):
        (root / row.path).write_bytes(b"<html>")
    rows = hashed(root, rows)
    with pytest.raises(UserError, match="2 unreadable images") as caught:
        with_castings(root, rows)
    assert all(f"{rows[n].path}: not an image" in str(caught.value) for n in (1, 6))


def test_a_single_image_has_nothing_to_be_compared_with(photographs, cache):
    root, rows = photographs
    with pytest.raises(UserError, match=f"{root} holds one image"):
        with_castings(root, rows[:1])


@pytest.mark.parametrize("written", ["{}", "./{}", " .\\{} ", "././{}"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_may_be_written_on_any_system(tmp_path, photographs, written, separator):
    root, rows = photographs
    lines = [f"Path{separator} Casting"]
    for number, row in enumerate(rows):
        path = written.format(row.path)
        if chr(92) in written:
            path = path.replace("/", chr(92))
        lines.append(f"{path}{separator}no. {number}")
    table = tmp_path / "castings.csv"
    table.write_text("\n".join(lines))
    assert read_table(table, root, rows) == [f"no. {n}" for n in range(len(rows))]


@pytest.mark.parametrize(("hubs", "other"), [(10, False), (9, False), (7, True), (0, True)])
def test_a_product_is_another_one_where_more_than_a_few_images_show_no_hub(
    tmp_path, monkeypatch, hubs, other
):
    """On the texture of tiles a hub is found by chance on half of the photographs."""
    rows = [ImageRow(f"{number}.png", "ok", "") for number in range(10)]
    monkeypatch.setattr(casting_table, "read_framed", lambda path, _: int(path.stem))
    monkeypatch.setattr("dataset.hubs.find_hub", lambda number: number < hubs or None)
    assert casting_table.is_other_product(tmp_path, rows) == other
