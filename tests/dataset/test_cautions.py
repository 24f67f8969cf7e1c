"""Labels that contradict each other, and held-out parts that say half, are told before training."""

import pytest
from builders import make_set

import data_split
from dataset.cautions import alike_line, both_labels, one_sided, print_cautions
from dataset.listing import ImageRow


def rows_of(*lines: str) -> list[ImageRow]:
    """Images from `path split hash`."""
    found = []
    for line in lines:
        path, split, sha256 = line.split()
        found.append(ImageRow(path, path.split("/")[1], split, sha256=sha256))
    return found


ROWS = rows_of(
    "train/def_a/1 train x", "train/def_b/2 train y", "train/ok/3 train z",
    "test/def_a/4 val x", "test/ok/5 val w", "test/ok/6 test z", "test/def_b/7 test v",
)  # fmt: skip


def test_sound_images_give_no_warning(capsys):
    print_cautions(ROWS)
    assert capsys.readouterr().err == ""


def test_opposite_labels_are_counted_and_the_first_pair_is_named(capsys):
    rows = [*ROWS, *rows_of("test/ok/8 test x", "train/def_b/9 train z")]
    assert len(both_labels(rows)) == 6
    print_cautions(rows)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 6 images have")
    assert "train/def_a/1 and test/ok/8 first" in line


@pytest.mark.parametrize(
    ("without", "text"),
    [("test/ok/5", "validation part holds no good part"),
     ("test/def_a/4", "validation part holds no defect"),
     ("test/ok/6", "test part holds no good part")],
)  # fmt: skip
def test_one_sided_parts_are_told(without, text, capsys):
    rows = [row for row in ROWS if row.path != without]
    assert len(one_sided(rows)) == 1
    print_cautions(rows)
    assert text in capsys.readouterr().err


def test_a_part_that_is_not_there_is_not_one_sided():
    assert one_sided([row for row in ROWS if row.split != "test"]) == []


def test_the_command_warns_of_copies_and_of_a_validation_folder(tmp_path, capsys):
    root = make_set(tmp_path / "data", each=8)
    copied = (root / "train" / "ok_front" / "train_0.jpeg").read_bytes()
    (root / "test" / "def_front" / "test_3.jpeg").write_bytes(copied)
    (root / "val" / "ok_front").mkdir(parents=True)
    command = ["--data", str(root), "--protocol", "kaggle", "--out", str(tmp_path / "out")]
    assert data_split.main(command) == 0
    errors = capsys.readouterr().err
    assert "test/def_front/test_3.jpeg and train/ok_front/train_0.jpeg first" in errors
    assert "note: ignored: val/; protocol kaggle validates on half of test/" in errors


def test_parts_by_their_looks_are_counted_and_the_largest_named():
    parts = [("part_0001", 3), ("part_0002", 1), ("part_0003", 5)]
    rows = [ImageRow("a.png", "ok", "train", name) for name, count in parts for _ in range(count)]
    largest = "part_0003 (5 images), part_0001 (3 images)"
    told = f"parts: 3 by their looks, the largest {largest}; all are in split.csv"
    assert alike_line(rows) == told
    assert alike_line(rows[3:4]) == ""
    assert alike_line([ImageRow("a.png", "ok", "train", "casting_001")] * 2) == ""
