"""explain.py draws a map for every part, over the whole image, whatever the prediction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor

import explain
from common.colours import UNDECIDED_COLOUR
from common.errors import EXIT_UNREADABLE, UserError
from dataset.manifest import read_split, write_split
from imaging import overlays
from imaging.overlays import OUTLINE, columns_of, contact_sheets, outline, overlay, write_sheets
from inspection.explained_files import output_names, tile_text, told
from inspection.explained_report import decisions, training_sessions
from inspection.explanation import decision_text
from inspection.predictor import Prediction
from model import load_checkpoint


def run(trained, out, *arguments) -> int:
    own = ["--checkpoint", str(trained / "best.pth"), "--out", str(out), "--device", "cpu"]
    return explain.main([*map(str, arguments), *own])


def test_a_part_gets_an_overlay_and_its_map(trained, castings, tmp_path, capsys):
    part = sorted((castings / "unseen" / "def_front").iterdir())[0]
    assert run(trained, tmp_path / "out", part, "--arrays", "--method", "fused") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{part.stem}.npy", f"{part.stem}.png", "report.html"]
    heat = np.load(tmp_path / "out" / f"{part.stem}.npy")
    assert heat.shape == (32, 32)
    assert heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() == 1
    with Image.open(tmp_path / "out" / f"{part.stem}.png") as image:
        assert image.width == 64
        assert image.height > 64  # the prediction stands below
    assert "1 heatmap" in capsys.readouterr().out


@pytest.mark.parametrize("threshold", ["0", "1"])
def test_the_map_is_written_whatever_the_decision(trained, castings, tmp_path, threshold):
    part = sorted((castings / "unseen" / "ok_front").iterdir())[0]
    assert run(trained, tmp_path, part, "--arrays", "--threshold", threshold) == 0
    assert np.load(tmp_path / f"{part.stem}.npy").shape == (32, 32)
    with Image.open(tmp_path / f"{part.stem}.png") as image:
        outlined = (np.asarray(image) == OUTLINE).all(axis=2).any()
    assert outlined == (threshold == "0")  # the hottest region of a defect only


def test_what_is_not_judged_gets_no_map_and_the_bar_of_no_decision(trained, tmp_path, capsys):
    Image.new("L", (64, 64), 0).save(tmp_path / "black.png")
    assert run(trained, tmp_path / "out", tmp_path / "black.png", "--arrays") == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"black.png", "report.html"}
    with Image.open(tmp_path / "out" / "black.png") as image:
        assert image.getpixel((5, 65)) == ImageColor.getrgb(UNDECIDED_COLOUR)
        assert not np.asarray(image)[:64].any()
    out, err = capsys.readouterr()
    assert "0 heatmaps" in out
    assert "1 not judged" in out
    assert "not judged: " in err


def test_a_folder_gets_a_contact_sheet_and_an_unreadable_file_a_line(
    trained, castings, tmp_path, capsys
):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, part in enumerate(sorted((castings / "unseen").rglob("*.jpeg"))):
        (folder / f"{number}.jpeg").write_bytes(part.read_bytes())
    (folder / "bad.jpeg").write_text("<html>")
    assert run(trained, tmp_path / "out", folder) == EXIT_UNREADABLE
    assert "bad.jpeg" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    heatmaps = {f"{number}.png" for number in range(6)}
    assert names == {"contact_sheet.png", "report.html", *heatmaps}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert all(f"<td>{number}</td>" in page for number in range(6))
    assert "bad.jpeg" in page
    assert "6 heatmaps, 1 unreadable, 0 not judged; 7 photographs in all" in page


def test_the_report_says_which_model_decided_and_by_which_command(trained, castings, tmp_path):
    part = sorted((castings / "unseen" / "def_front").iterdir())[0]
    assert run(trained, tmp_path, part, "--threshold", "0.25") == 0
    page = (tmp_path / "report.html").read_text()
    described = json.loads((trained / "best.json").read_text())
    assert described["sha256"] in page
    for fact, value in (("recipe", "reference"), ("trained on", "synthetic castings"),
                        ("threshold", "0.25"), ("photo sessions", "not told apart")):  # fmt: skip
        assert f"<td>{fact}</td><td>{value}</td>" in page
    assert "by python explain.py " in page
    assert "--threshold 0.25" in page
    assert "<th>kind</th>" not in page  # a model of one class of defects


def test_sessions_are_those_of_the_split_beside_the_model(trained, tmp_path):
    checkpoint = load_checkpoint(trained / "best.pth")
    assert "no split.csv" in training_sessions(tmp_path / "best.pth", checkpoint)
    rows = [replace(row, session="dark") for row in read_split(trained / "split.csv")]
    write_split(tmp_path / "split.csv", rows)
    assert training_sessions(tmp_path / "best.pth", checkpoint).startswith("dark ")
    write_split(tmp_path / "split.csv", rows[1:])  # of another model
    assert "no split.csv" in training_sessions(tmp_path / "best.pth", checkpoint)


def test_the_kind_of_a_defect_is_told_where_the_model_tells_kinds(trained, tmp_path):
    names = ["crack", "ok_front", "pore"]
    checkpoint = replace(load_checkpoint(trained / "best.pth"), class_names=names)
    found = Prediction("ok", "defect", 0.8, "pore", (), threshold=0.5, latency_ms=0)
    good = replace(found, decision="ok", prob_defect=0.1, predicted_class="ok_front")
    rows = [told(tmp_path / "a.png", "a", found), told(tmp_path / "b.png", "b", good)]
    page = decisions(rows, checkpoint)
    assert "<td>a</td><td>defect</td><td>pore</td><td>0.80</td>" in page
    assert "<td>b</td><td>ok</td><td></td><td>0.10</td>" in page


@pytest.mark.parametrize(
    ("decision", "probability", "below_a_tile", "below_an_overlay"),
    [
        ("defect", 0.9999, "defect: p(defect) >0.99", "p(defect) >0.99, threshold 0.50"),
        ("ok", 0.0001, "ok: p(defect) <0.01", "p(defect) <0.01, threshold 0.50"),
        ("ok", 0.4999, "ok: p(defect) 0.50", "p(defect) 0.50, just below the threshold 0.50"),
    ],
)
def test_captions_never_sound_certain(decision, probability, below_a_tile, below_an_overlay):
    found = Prediction("ok", decision, probability, "", (), threshold=0.5, latency_ms=0)
    assert tile_text(found) == below_a_tile
    assert decision_text(found) == f"{decision}: {below_an_overlay}"


def test_equal_names_in_two_folders_do_not_overwrite_each_other(tmp_path):
    paths = [tmp_path / name for name in ("a/p.png", "b/p.png", "b/p.jpeg", "c/q.png")]
    names = output_names(paths)
    assert names == ["a_p", "b_p", "b_p_2", "q"]
    odd = [tmp_path / name for name in ("a_p_2.png", "a/p.png", "a/p.bmp", "contact_sheet.png")]
    names = output_names(odd)
    assert len(set(names)) == 4
    assert "contact_sheet" not in names


def test_a_photograph_is_never_overwritten(trained, castings, tmp_path):
    with Image.open(sorted((castings / "unseen").rglob("*.jpeg"))[0]) as image:
        image.save(tmp_path / "part.png")
    before = (tmp_path / "part.png").read_bytes()
    with pytest.raises(UserError, match="is to be explained"):
        run(trained, tmp_path, tmp_path / "part.png")
    assert (tmp_path / "part.png").read_bytes() == before


def test_an_exported_model_has_no_gradients(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x08\x08")
    with pytest.raises(UserError, match="name the checkpoint"):
        explain.main([str(tmp_path), "--out", str(tmp_path), "--checkpoint", str(model)])


def test_the_map_is_stretched_over_an_image_that_is_not_square():
    heat = np.zeros((8, 8), np.float32)
    heat[7, 7] = 1
    image = overlay(Image.new("L", (120, 60), 100), heat, None)
    assert image.size == (120, 60)
    changed = np.abs(np.asarray(image).astype(int) - 100).sum(axis=2)
    assert changed[59, 119] == changed.max() > 0
    assert changed[:30].max() == 0


def test_the_outline_lies_around_the_region():
    region = np.zeros((30, 30), bool)
    region[10:20, 10:20] = True
    line = outline(region, (30, 30))
    assert line.any()
    assert not (line & region).any()
    assert not outline(np.zeros((30, 30), bool), (30, 30)).any()


def test_many_parts_make_several_sheets_and_none_makes_one():
    tile = (Image.new("RGB", (20, 20)), "a\nb", True)
    assert len(list(contact_sheets([tile] * 16, 20, "16"))) == 1
    assert len(list(contact_sheets([tile] * 17, 20, "17"))) == 2
    (empty,) = contact_sheets([], 20, "no errors")
    assert empty.width > 0


def test_each_sheet_says_how_many_it_shows_of_how_many(monkeypatch):
    heads = []
    monkeypatch.setattr(overlays, "_sheet", lambda tiles, side, head, origin: heads.append(head))
    list(contact_sheets([(None, "", "")] * 17, 20, "parts", of=20))
    assert heads == ["parts, 16 of 20 photographs", "parts, 1 of 20 photographs, sheet 2"]


def test_few_parts_stand_in_lines_that_a_page_can_show():
    assert [columns_of(tiles) for tiles in (0, 1, 4, 5, 6, 8, 12, 16, 48)] == [
        3, 3, 4, 3, 3, 4, 4, 4, 4,
    ]  # fmt: skip


def test_what_a_sheet_was_drawn_from_gets_as_many_lines_as_it_needs():
    tile = (Image.new("RGB", (20, 20)), "a", "#000000")
    sizes = [
        next(contact_sheets([tile], 20, "title", " · ".join(["model: a"] * count))).size
        for count in (0, 1, 9)
    ]
    assert len({width for width, _ in sizes}) == 1
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]


def test_sheets_of_a_longer_earlier_run_go(tmp_path):
    tile = (Image.new("RGB", (20, 20)), "a", True)
    assert write_sheets(tmp_path / "errors.png", [tile] * 40, "many") == 3
    assert write_sheets(tmp_path / "errors.png", [tile], "one") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["errors.png"]
