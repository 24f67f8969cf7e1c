"""Sessions come from tables, else from the light on the parts, and stay unknown without either."""

import pytest

from common.errors import UserError
from dataset.listing import ImageRow
from dataset.releases import SECOND, DataFolder
from dataset.sessions import DARK, DARKER, LIGHT, casting_sessions, sessions_line, with_sessions


@pytest.fixture
def data(tmp_path):
    """Two empty folders, the second of another name."""
    for name in ("first", "photos"):
        (tmp_path / name).mkdir()
    return DataFolder(tmp_path / "first", tmp_path / "photos")


def rows_of(*texts):
    """Rows of `path casting`."""
    return [ImageRow(path, "ok", "train", casting) for path, casting in map(str.split, texts)]


ROWS = rows_of("train/ok/1.png a", f"{SECOND}/ok/1.png b", f"{SECOND}/ok/2.png b")


def sessions(rows):
    return [row.session for row in rows]


def test_each_release_has_a_table_of_its_own_with_paths_from_its_folder_on(data):
    (data.root / "sessions.csv").write_text("path,session\ntrain/ok/1.png,spring\n")
    (data.second / "sessions.csv").write_text("path,session\nok/1.png, autumn \n")
    assert sessions(with_sessions(data, ROWS, None)) == ["spring", "autumn", ""]
    assert sessions(with_sessions(data.root, ROWS, None)) == ["spring", "", ""]


def test_without_a_table_a_casting_is_dark_by_the_median_of_its_images(data):
    rows = [*ROWS, *rows_of(f"{SECOND}/ok/3.png b", "train/ok/2.png c")]
    contrasts = [DARKER + 1, DARKER - 1, DARKER - 1, DARKER + 9, DARKER - 1]
    assert sessions(with_sessions(data, rows, contrasts)) == [LIGHT, DARK, DARK, DARK, DARK]


def test_a_table_wins_over_the_light(data):
    (data.second / "sessions.csv").write_text("path,session\nok/2.png,autumn\n")
    found = sessions(with_sessions(data, ROWS, [0.0, DARKER - 1, DARKER - 1]))
    assert found == [LIGHT, DARK, "autumn"]


def test_without_second_release_and_table_no_session_is_known(data):
    rows = rows_of("train/ok/1.png a", "train/ok/2.png b")
    assert sessions(with_sessions(data, rows, [0.0, DARKER - 1])) == ["", ""]
    assert sessions(with_sessions(data, ROWS, None)) == ["", "", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,when\nok/1.png,x\n", "has no column session"),
        (b"path,session\nok/1.png,\xff\n", "is not a CSV file"),
        (b"path,session\nok/1.png,a\x07b\n", "gives ok/1.png a session that is no text"),
        (b"path,session\nok/1.png,a\nok/1.png,b\n", "gives ok/1.png two sessions"),
    ],
)
def test_a_damaged_table_is_named(data, content, message):
    (data.second / "sessions.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"{data.second / 'sessions.csv'} {message}"):
        with_sessions(data, ROWS, None)


def test_castings_are_of_the_session_of_most_of_their_images_and_counted_by_it():
    named = zip("aaab", ("x", "y", "y", "x"), strict=True)
    rows = [ImageRow("p", "ok", "train", casting, session=name) for casting, name in named]
    assert casting_sessions(rows) == {"a": "y", "b": "x"}
    assert sessions_line(rows) == "sessions: x 2 images of 2 castings, y 2 images of 1 casting"
    assert sessions_line(ROWS) == ""
