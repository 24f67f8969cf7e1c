"""Corrected labels replace those of the folders, and what they do not fit is refused."""

import pytest

from common.errors import UserError
from dataset.corrections import (
    as_published,
    described,
    labels_of,
    read_corrections,
    with_corrected_labels,
)
from dataset.listing import ImageRow

ROWS = [
    ImageRow("test/def_front/a, 1.png", "def_front", "test", "c1"),
    ImageRow("test/ok_front/b.png", "ok_front", "test", "c2"),
    ImageRow("train/def_front/c.png", "def_front", "train", "c1"),
    ImageRow("train/ok_front/d.png", "ok_front", "train", "c3"),
]


def written(path, *lines, header="path,label"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def corrected(tmp_path, *lines):
    return with_corrected_labels(ROWS, read_corrections(written(tmp_path / "a.csv", *lines)))


def test_lines_replace_labels_and_say_of_which_castings(tmp_path):
    lines = ['"test/def_front/a, 1.png",ok_front', "train/ok_front/d.png, ok_front "]
    rows, said = corrected(tmp_path, *lines)
    assert [row.label for row in rows] == ["ok_front", "ok_front", "def_front", "ok_front"]
    assert said == "corrected labels: 1 image of 1 casting changed: c1 (1)"
    assert as_published(rows) == ROWS


def test_a_table_that_changes_nothing_says_so(tmp_path):
    assert corrected(tmp_path, "train/ok_front/d.png,ok_front") == (
        ROWS,
        "corrected labels: no image changed",
    )


def test_what_is_remembered_depends_on_the_labels_only(tmp_path):
    header = "path,casting,label,probability,rank"
    many = written(tmp_path / "a.csv", "y,c,ok,0.1,1", "x,c,def,0.2,2", header=header)
    few = written(tmp_path / "b.csv", "x,def", "y,ok", "y,ok")
    assert read_corrections(many) == read_corrections(few)
    assert labels_of(read_corrections(few)) == {"x": "def", "y": "ok"}
    other = read_corrections(written(tmp_path / "c.csv", "x,def", "y,def"))
    assert described(other).startswith("2 images (sha256 ")
    assert described(other) != described(read_corrections(few))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no lines"),
        (["a,ok", "a,def"], "gives a two labels"),
        (
            ["train/ok_front/e.png,ok_front"],
            r"1 path not among the images, 'train/ok_front/e\.png'",
        ),
        (["train/ok_front/d.png,okay"], "'okay', which is no class of the data: def_front, ok_f"),
        ([f'"{row.path}",ok_front' for row in ROWS], "leave no image in class def_front"),
    ],
)
def test_tables_that_fit_no_data_are_refused_in_one_line(tmp_path, lines, message):
    with pytest.raises(UserError, match=message) as failure:
        corrected(tmp_path, *lines)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_what_a_damaged_checkpoint_holds_is_refused(text):
    with pytest.raises(UserError, match="damaged"):
        labels_of(text)
