"""split.csv is read as it was written, or refused in one line."""

from dataclasses import replace

import pytest

from common.errors import UserError
from dataset.listing import ImageRow
from dataset.manifest import read_split, warn_of_changed_contents, write_split

HASH = "0123456789abcdef" * 4
ROWS = [
    ImageRow("test/ok_front/b.jpeg", "ok_front", "val", "", HASH),
    ImageRow("train/def_front/a.jpeg", "def_front", "train", "c 1", HASH[::-1]),
]
HEADER = "path,label,split,casting,sha256\n"


def test_what_was_written_is_read(tmp_path):
    write_split(tmp_path / "split.csv", ROWS)
    assert read_split(tmp_path / "split.csv") == ROWS


def test_a_corrected_label_differs_from_its_folder(tmp_path):
    rows = [replace(ROWS[0], label="def_front"), ROWS[1]]
    write_split(tmp_path / "split.csv", rows)
    assert read_split(tmp_path / "split.csv") == rows


def test_changed_contents_are_counted_and_a_missing_manifest_says_nothing(tmp_path, capsys):
    warn_of_changed_contents(ROWS, tmp_path / "split.csv")
    write_split(tmp_path / "split.csv", ROWS)
    warn_of_changed_contents([ROWS[0], ImageRow(ROWS[1].path, "", "", "", HASH)],
                             tmp_path / "split.csv")  # fmt: skip
    assert capsys.readouterr().err == "warning: 1 image changed since training\n"


LINE = f"train/def/a.png,def,train,c,{HASH}\n"


@pytest.mark.parametrize(
    "content",
    [
        "", "path,label,split,casting\n", HEADER.replace("sha256", "md5"), HEADER + "a\n",
        HEADER + LINE + LINE.replace(HASH, "0"), HEADER + LINE.replace(",def,", ",ok,"),
        HEADER + LINE.replace(",train,", ",holdout,"), HEADER + "\0" * 4096, "\0" * 4096,
        HEADER + "x" * 200_000, HEADER + LINE.replace("a.png", "a\x07.png"), "\x89PNG\xff",
    ],
    ids=range(12),
)  # fmt: skip
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "split.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"split\.csv") as failure:
        warn_of_changed_contents(ROWS, path)
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 2


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "split.csv", "wb") as file:
        file.truncate(1 << 40)  # which takes no room
    with pytest.raises(UserError, match="too large"):
        read_split(tmp_path / "split.csv")
