"""One rule says which files are photographs: in folders, for patterns, on the command line."""

import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from builders import write_image
from PIL import Image

from common.errors import UserError
from common.plotting import save
from imaging.finding import find_images
from imaging.overlays import png
from imaging.photographs import LeftOut, is_photograph_below, why_not_by_path

STRAY = {  # below a folder
    "notes.txt": "no image by its name",
    "._a.png": "hidden",
    ".cache/a.png": "hidden",
    "deeper/.ipynb_checkpoints/a.png": "hidden",
    "__MACOSX/a.png": "made by the system",
    "deeper/@eaDir/a.png": "made by the system",
    f"log_pictures/{'0f' * 32}.png": "kept by an earlier inspection",
}


@pytest.fixture
def line(tmp_path) -> Path:
    """A folder with two photographs."""
    for name in ("a.png", "deeper/b.JPEG"):
        write_image(tmp_path / "line" / name)
    return tmp_path / "line"


def found(*names) -> list[str]:
    return [path.name for path in find_images(names)]


@pytest.mark.parametrize("stray", STRAY)
def test_what_is_no_photograph_is_left_out_and_said(line, stray, capsys):
    if stray.endswith(".txt"):
        (line / stray).touch()
    else:
        write_image(line / stray)
    assert found(line) == ["a.png", "b.JPEG"]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"note: not inspected in {line}: 1 {STRAY[stray]} (")
    assert why_not_by_path(Path(stray)) == STRAY[stray]
    assert found(line / stray) == [Path(stray).name]  # who names it wants it


def test_the_folder_that_is_named_may_be_called_anything(tmp_path):
    for name in (".hidden", "log_pictures", "__MACOSX"):
        write_image(tmp_path / name / f"{'0f' * 32}.png")
        assert len(find_images([tmp_path / name])) == 1


def test_what_we_drew_ourselves_is_left_out(line, capsys):
    figure = plt.figure()
    save(figure, line / "figure.png")
    (line / "heatmap.png").write_bytes(png(Image.new("RGB", (9, 9))))
    assert found(line) == found(str(line / "**" / "*.[pJ]*")) == ["a.png", "b.JPEG"]
    assert "2 drawn by this program (figure.png first)" in capsys.readouterr().err


def test_what_is_no_regular_file_is_left_out(line, capsys):
    os.mkfifo(line / "x.jpeg")
    (line / "gone.png").symlink_to(line / "nowhere.png")
    (line / "link.png").symlink_to(line / "a.png")
    assert found(line) == ["a.png", "b.JPEG", "gone.png", "link.png"]  # that one is told later
    assert "1 no regular file (x.jpeg)" in capsys.readouterr().err


def test_linked_folders_are_not_walked_but_said(line, tmp_path, capsys):
    write_image(tmp_path / "elsewhere" / "c.png")
    (line / "more").symlink_to(tmp_path / "elsewhere")
    (line / "deeper" / "round").symlink_to(line)
    assert found(line) == ["a.png", "b.JPEG"]
    assert "2 a link to a folder (more first)" in capsys.readouterr().err
    assert found(line / "more") == ["c.png"]
    assert found(f"{line}/**/*.[pJ]*") == ["a.png", "b.JPEG"]


def test_patterns_take_photographs_only(line, capsys, monkeypatch):
    (line / "notes.txt").touch()
    assert found(f"{line}/*") == ["a.png", "b.JPEG"]
    assert "1 no image by its name (notes.txt)" in capsys.readouterr().err
    monkeypatch.chdir(line)
    assert find_images(["*.png", "deep*/*"]) == [Path("a.png"), Path("deeper/b.JPEG")]


def test_a_list_is_taken_as_it_is(line, monkeypatch):
    text = f"{line}/notes.txt\n{line}\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert found("-") == ["notes.txt", "a.png", "b.JPEG"]


def test_folder_without_photographs_is_told(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="no images"):
        find_images([tmp_path])


def test_reasons_are_counted():
    left_out = LeftOut()
    for name in ("a", "b", "c\n"):
        left_out.add("hidden" if name < "c" else "odd", name)
    assert str(left_out) == r"2 hidden (a first), 1 odd ('c\n')"


def test_rule_for_files_of_a_cluster():
    sources = ["/data/.store/line 3", "s3://bucket/parts/"]
    for path, photograph in {
        "/data/.store/line 3/a.png": True,
        "/data/.store/line 3/.trash/a.png": False,
        "bucket/parts/deep/b.jpeg": True,
        "s3://bucket/parts/._b.jpeg": False,
    }.items():
        assert is_photograph_below(sources, path, b"") == photograph, path
    assert not is_photograph_below(sources, "bucket/parts/c.png", png(Image.new("L", (9, 9))))
