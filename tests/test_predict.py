"""The one inference path: same prediction whatever carries the image, no prediction without one."""

import csv
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from common.errors import EXIT_UNREADABLE, UserError
from common.files import sha256_of_file
from common.text import chance
from imaging.reading import read_framed
from inspection.predictor import Predictor, load_predictor
from model import load_checkpoint, save_checkpoint
from traceability.log import InspectionLog

COLUMNS = "path,sha256,status,prob_defect,decision,threshold,model,latency_ms,error,lot,serial"
COLUMNS = COLUMNS.split(",")


@pytest.fixture(scope="module")
def predictor(trained):
    return load_predictor(trained / "best.pth", "cpu")


@pytest.fixture(scope="module")
def part(castings) -> Path:
    return sorted((castings / "test").rglob("*.jpeg"))[0]


def read_csv(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["parts.xlsx", "parts.json", "parts"])
def test_what_is_no_csv_is_not_called_otherwise(tmp_path, part, name, monkeypatch):
    monkeypatch.setattr("inspection.predictor.load_predictor", lambda *_: pytest.fail("it began"))
    with pytest.raises(UserError, match=r"must end in \.csv"):
        predict.main([str(part), "--out", str(tmp_path / name)])


def test_path_text_photo_and_array_give_the_same_decision(predictor, part):
    with Image.open(part) as image:
        photo = image.convert("RGB")
    forms = [part, str(part), photo, photo.convert("L"), np.asarray(photo)]
    first, *others = predictor.predict(forms)
    assert first.status == "ok"
    assert {p.prob_defect for p in others} == {first.prob_defect}


def test_a_batch_gives_what_single_images_give(predictor, castings):
    paths = sorted((castings / "test").rglob("*.jpeg"))[:5]
    together = [p.prob_defect for p in predictor.predict(paths)]
    alone = [predictor.predict([path])[0].prob_defect for path in paths]
    assert together == pytest.approx(alone, abs=1e-5)


def test_preprocessing_is_the_stores(predictor, part):
    grey = read_framed(part, predictor.checkpoint.image_size_px)
    expected = predictor.predict_batch(torch.tensor(grey[None]))[0]
    assert predictor.predict([part])[0].prob_defect == expected.prob_defect


@pytest.mark.parametrize("size", [(31, 47), (640, 480)])
def test_any_image_size_is_predicted(trained, size):
    predictor = load_predictor(trained / "best.pth", "cpu", gate=False)
    assert predictor.predict([Image.new("L", size, 128)])[0].decision in ("ok", "defect")


def test_probabilities_sum_to_one_and_decide(predictor, castings):
    for p in predictor.predict(sorted((castings / "test").rglob("*.jpeg"))):
        assert sum(p.probabilities) == pytest.approx(1, abs=1e-5)
        assert p.decision == ("defect" if p.prob_defect >= p.threshold else "ok")


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_threshold_and_class_come_from_the_checkpoint(tmp_path, trained, part, threshold):
    checkpoint = load_checkpoint(trained / "best.pth")
    checkpoint.threshold = threshold
    save_checkpoint(tmp_path / "other.pth", checkpoint)
    verdict = load_predictor(tmp_path / "other.pth", "cpu").predict([part])[0]
    assert verdict.decision == ("defect" if threshold == 0 else "ok")
    # The class never contradicts the decision
    assert verdict.predicted_class == ("def_front" if threshold == 0 else "ok_front")


def test_the_temperature_of_the_checkpoint_divides_the_log_odds(tmp_path, trained, part):
    checkpoint = load_checkpoint(trained / "best.pth")
    found = []
    for temperature in (1.0, 4.0):
        checkpoint.temperature = temperature
        save_checkpoint(tmp_path / "other.pth", checkpoint)
        (verdict,) = load_predictor(tmp_path / "other.pth", "cpu").predict([part])
        found.append(np.log(verdict.prob_defect / (1 - verdict.prob_defect)))
    assert found[1] == pytest.approx(found[0] / 4, rel=1e-3, abs=1e-5)


def test_damaged_weights_never_pass_a_part(tmp_path, trained, part):
    checkpoint = load_checkpoint(trained / "best.pth")
    checkpoint.weights["fc.bias"][:] = float("nan")
    save_checkpoint(tmp_path / "nan.pth", checkpoint)
    with pytest.raises(UserError, match="not finite"):
        load_predictor(tmp_path / "nan.pth", "cpu").predict([part])


def test_nothing_in_nothing_out(predictor):
    assert predictor.predict([]) == []


def test_unreadable_images_get_an_error_in_their_place(predictor, part, tmp_path):
    (tmp_path / "broken.jpeg").write_bytes(part.read_bytes()[:300])
    images = [part, tmp_path / "broken.jpeg", tmp_path / "gone.png", part]
    verdicts = predictor.predict(images)
    assert [v.status for v in verdicts] == ["ok", "error", "error", "ok"]
    for verdict in verdicts[1:3]:
        assert verdict.decision == ""
        assert verdict.prob_defect is None
        assert verdict.error


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 0), np.uint8), np.zeros((9, 9), np.int64), np.zeros((9, 9), bool),
        np.zeros((3, 9, 9), np.uint8), None,
    ],
)  # fmt: skip
def test_what_is_no_image_gets_no_decision(predictor, image):
    verdict = predictor.predict([image])[0]
    assert (verdict.status, verdict.decision) == ("error", "")


def test_a_turned_photograph_is_predicted_upright_from_file_and_photo(predictor, part, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    with Image.open(part) as image:
        image.save(tmp_path / "turned.jpeg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpeg") as photo:
        from_file, from_photo = predictor.predict([tmp_path / "turned.jpeg", photo])
    assert from_file.prob_defect == from_photo.prob_defect


def test_files_that_are_no_images_are_named(trained, part, tmp_path, capsys):
    (tmp_path / "part.jpeg").write_bytes(part.read_bytes())
    (tmp_path / "notes.heic").write_bytes(b"other")
    out = tmp_path / "results" / "inspections.csv"
    arguments = [str(tmp_path), "--checkpoint", str(trained / "best.pth"), "--out", str(out)]
    assert predict.main(arguments) == 0
    assert "not inspected" in capsys.readouterr().err
    assert len(read_csv(out)) == 1


def test_an_output_that_is_a_folder_is_refused_before_the_work(trained, castings, tmp_path):
    (out := tmp_path / "table.csv").mkdir()
    arguments = [str(castings), "--checkpoint", str(trained / "best.pth"), "--out", str(out)]
    with pytest.raises(UserError, match="is a folder"):
        predict.main(arguments)


def test_the_command_writes_a_row_an_image(trained, castings, tmp_path, capsys):
    out = tmp_path / "inspections.csv"
    arguments = [str(castings / "unseen"), "--checkpoint", str(trained / "best.pth")]
    assert predict.main([*arguments, "--out", str(out), "--device", "cpu"]) == 0
    rows = read_csv(out)
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 6
    for row in rows:
        assert row["sha256"] == sha256_of_file(Path(row["path"]))
        assert row["decision"] in ("ok", "defect")
        assert row["status"] == "ok"
    printed = capsys.readouterr().out
    assert str(trained / "best.pth") in printed
    *lines, last = printed.splitlines()
    last = json.loads(last)
    assert last["ok"] + last["defect"] == 6
    for row in rows:  # up to twenty parts have a line each
        shown = f"{row['decision']:10s}{chance(float(row['prob_defect'])):>6s}  {row['path']}"
        assert shown in lines


@pytest.mark.parametrize("threshold", ["0", "1"])
def test_of_many_parts_the_likeliest_defects_are_named(
    trained, castings, tmp_path, monkeypatch, capsys, threshold
):
    monkeypatch.setattr(predict, "LISTED", 2)
    _, rows = run(tmp_path, trained, castings / "unseen", "--threshold", threshold)
    printed = capsys.readouterr().out
    assert ("likeliest defects, at most 2:" in printed) == (threshold == "0")
    ranked = sorted(rows, key=lambda row: -float(row["prob_defect"]))
    named = [line.split()[-1] for line in printed.splitlines() if line.startswith("defect      0.")]
    assert len(rows) > 2
    assert named == ([row["path"] for row in ranked[:2]] if threshold == "0" else [])


def test_a_name_is_no_formula_in_the_table_and_nothing_a_terminal_obeys(
    trained, part, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.png", "-1.png", "a\x1b[2J.png"):
        (tmp_path / name).write_bytes(b"")
    options = ["--checkpoint", str(trained / "best.pth"), "--device", "cpu"]
    assert predict.main(["./=1+1.png", "./-1.png", "a\x1b[2J.png", *options]) == 4
    names = [row["path"] for row in read_csv(tmp_path / "inspections.csv")]
    assert names == ["'=1+1.png", "'-1.png", r"a\x1b[2J.png"]
    assert r"unreadable: a\x1b[2J.png: empty file" in capsys.readouterr().err


def test_an_unreadable_file_is_never_ok_and_gives_exit_code_4(trained, part, tmp_path, capsys):
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "good.jpeg").write_bytes(part.read_bytes())
    (folder / "bad.jpeg").write_text("<html>gateway timeout</html>")
    out = tmp_path / "inspections.csv"
    arguments = [str(folder), "--checkpoint", str(trained / "best.pth"), "--out", str(out)]
    assert predict.main(arguments) == EXIT_UNREADABLE
    bad, good = read_csv(out)
    assert (bad["status"], bad["decision"], bad["prob_defect"]) == ("error", "", "")
    assert bad["error"] == "not an image"
    assert good["status"] == "ok"
    assert "bad.jpeg" in capsys.readouterr().err


def test_what_was_predicted_before_an_interruption_is_kept(
    trained, castings, tmp_path, monkeypatch
):
    monkeypatch.setattr(predict, "BATCH_SIZE", 4)
    original = Predictor.predict
    batches = []

    def interrupt(self, images):
        batches.append(images)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return original(self, images)

    monkeypatch.setattr(Predictor, "predict", interrupt)
    out = tmp_path / "inspections.csv"
    arguments = [str(castings / "unseen"), "--checkpoint", str(trained / "best.pth")]
    with pytest.raises(KeyboardInterrupt):
        predict.main([*arguments, "--out", str(out)])
    assert len(read_csv(out.with_name("inspections.partial.csv"))) == 4
    assert not out.exists()


def test_an_interruption_leaves_the_file_of_an_earlier_run(
    trained, castings, tmp_path, monkeypatch
):
    out = tmp_path / "inspections.csv"
    arguments = [str(castings / "unseen"), "--checkpoint", str(trained / "best.pth")]
    assert predict.main([*arguments, "--out", str(out)]) == 0
    before = out.read_bytes()

    def interrupt(self, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict.main([*arguments, "--out", str(out)])
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["inspections.csv"]


def run(tmp_path, trained, *arguments):
    out = tmp_path / "inspections.csv"
    own = ["--checkpoint", str(trained / "best.pth"), "--out", str(out), "--device", "cpu"]
    return predict.main([*map(str, arguments), *own]), read_csv(out)


def test_folders_patterns_and_files_are_predicted_once_each(trained, castings, tmp_path):
    folder = castings / "unseen"
    one = sorted(folder.rglob("*.jpeg"))[0]
    code, rows = run(tmp_path, trained, one, folder, str(folder / "*" / "*.jpeg"), one)
    assert code == 0
    assert len(rows) == len({row["path"] for row in rows}) == 6
    assert rows[0]["path"] == one.as_posix()


def test_a_list_on_standard_input(trained, castings, tmp_path, monkeypatch):
    paths = sorted((castings / "unseen").rglob("*.jpeg"))[:3]
    lines = [*map(str, paths), "", str(tmp_path / "vanished.png")]
    text = "\n".join(lines).encode() + b"\r\nparts/\xff.png\n" + b"zero\0byte.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, rows = run(tmp_path, trained, "-")
    assert code == EXIT_UNREADABLE  # one that has gone meanwhile does not end the others
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error", "error", "error"]
    assert rows[4]["path"] == "parts/\\xff.png"
    assert rows[3]["error"] == "No such file or directory"


def test_the_batch_size_changes_no_decision(trained, castings, tmp_path):
    _, first = run(tmp_path, trained, castings / "unseen", "--batch-size", 1)
    _, second = run(tmp_path, trained, castings / "unseen", "--batch-size", 5)
    for one, other in zip(first, second, strict=True):
        assert one["decision"] == other["decision"]
        assert float(one["prob_defect"]) == pytest.approx(float(other["prob_defect"]), abs=1e-5)


@pytest.mark.parametrize(("threshold", "decision"), [("0", "defect"), ("1", "ok")])
def test_a_threshold_of_ones_own(trained, castings, tmp_path, threshold, decision):
    _, rows = run(tmp_path, trained, castings / "unseen", "--threshold", threshold)
    assert {row["decision"] for row in rows} == {decision}
    assert {float(row["threshold"]) for row in rows} == {float(threshold)}


def test_the_review_band_goes_to_a_person(trained, castings, tmp_path, capsys):
    _, plain = run(tmp_path, trained, castings / "unseen")
    scores = sorted(float(row["prob_defect"]) for row in plain)
    low, high = scores[2] - 1e-4, scores[4] - 1e-4
    capsys.readouterr()
    _, rows = run(tmp_path, trained, castings / "unseen", "--review", low, high)
    for row, before in zip(rows, plain, strict=True):
        inside = low <= float(row["prob_defect"]) < high
        assert row["decision"] == ("review" if inside else before["decision"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["review"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--review", "0.6", "0.4"], "LOW < HIGH"),
        (["--station", "A1"], "goes into the log"),
        (["--lot", "A1", "--name-pattern", "{lot}_*"], "contradict"),
    ],
)
def test_options_that_make_no_sense_are_refused(trained, castings, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, trained, castings / "unseen", *arguments)


def test_a_table_for_a_german_excel(trained, part, tmp_path):
    _, (plain,) = run(tmp_path, trained, part)
    out = tmp_path / "german.csv"
    own = ["--checkpoint", str(trained / "best.pth"), "--device", "cpu", "--out", str(out)]
    assert predict.main([str(part), *own, "--csv-dialect", "excel-de"]) == 0
    with open(out, newline="", encoding="utf-8-sig") as file:
        (german,) = csv.DictReader(file, delimiter=";")
    assert list(german) == COLUMNS
    for name in ("prob_defect", "threshold"):
        assert german[name] == plain[name].replace(".", ",")
        assert "," in german[name]


def test_lot_and_serial_number_are_in_log_and_table(trained, part, tmp_path, capsys):
    folder = tmp_path / "line"
    folder.mkdir()
    for name in ("A17_S1.jpeg", "A17_S2.jpeg", "other.jpeg"):
        (folder / name).write_bytes(part.read_bytes())
    (folder / "A17_S2.json").write_text('{"serial": "S3"}')
    own = ["--name-pattern", "{lot}_{serial}", "--sidecar", "--log", tmp_path / "line.db"]
    _, rows = run(tmp_path, trained, folder, *own)
    expected = [("A17", "S1"), ("A17", "S3"), ("", "")]
    assert [(row["lot"], row["serial"]) for row in rows] == expected
    with InspectionLog(tmp_path / "line.db") as log:
        assert list(log.query("SELECT lot, serial FROM inspections ORDER BY id")) == expected
    assert "other.jpeg: its name does not match" in capsys.readouterr().err


def test_the_log_and_the_table_are_two_files(trained, castings, tmp_path):
    with pytest.raises(UserError, match="it is to be read"):
        run(tmp_path, trained, castings / "unseen", "--log", tmp_path / "inspections.csv")


def test_every_decision_is_in_the_log(trained, part, tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "good.jpeg").write_bytes(part.read_bytes())
    (folder / "bad.jpeg").write_text("<html>")
    log_path = tmp_path / "inspections.db"
    own = ["--log", log_path, "--station", "line 3", "--lot", "A17"]
    code, rows = run(tmp_path, trained, folder, *own)
    assert code == EXIT_UNREADABLE
    with InspectionLog(log_path) as log:
        columns = "file, sha256, status, decision, prob_defect, station, lot, model, brightness"
        found = list(log.query(f"SELECT {columns} FROM inspections ORDER BY id"))
        assert log.verify().problems == []
    for row, record in zip(rows, found, strict=True):
        assert (row["path"], row["sha256"], row["status"], row["decision"]) == record[:4]
        assert record[5:8] == ("line 3", "A17", sha256_of_file(trained / "best.pth"))
    bad, good = found
    assert bad[4] is bad[8] is None
    assert float(rows[1]["prob_defect"]) == pytest.approx(good[4], abs=1e-6)
    grey = read_framed(folder / "good.jpeg", 32)
    assert good[8] == pytest.approx(grey.mean(), abs=1e-3)


def test_unreadable_folders_and_dangling_links_are_not_passed_over(
    trained, part, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "dangling.png").symlink_to("gone.png")
    (folder / "part.jpeg").write_bytes(part.read_bytes())
    code, rows = run(tmp_path, trained, folder)
    assert code == EXIT_UNREADABLE
    assert [row["status"] for row in rows] == ["error", "ok"]
    original = os.scandir

    def refuse(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    run(tmp_path, trained, folder)
    assert "locked: Permission denied" in capsys.readouterr().err


def test_a_damaged_or_huge_image_gets_an_error_too(predictor, part):
    damaged = Image.open(io.BytesIO(part.read_bytes()[:700]))
    huge = Image.new("1", (80_000, 1_000))
    assert [one.status for one in predictor.predict([damaged, huge])] == ["error", "error"]


def test_the_hash_is_that_of_the_bytes_that_were_predicted(predictor, part):
    data = part.read_bytes()
    (from_bytes, from_file, image) = predictor.predict([data, part, Image.open(part)])
    assert from_bytes.sha256 == from_file.sha256 == hashlib.sha256(data).hexdigest()
    assert from_bytes.prob_defect == from_file.prob_defect
    assert image.sha256 == ""
    (broken,) = predictor.predict([data[:300]])
    assert broken.sha256 == hashlib.sha256(data[:300]).hexdigest()


def test_missing_paths_and_empty_folders_are_refused(trained, tmp_path):
    checkpoint = ["--checkpoint", str(trained / "best.pth")]
    with pytest.raises(UserError, match="no such file or folder"):
        predict.main([str(tmp_path / "gone"), *checkpoint])
    with pytest.raises(UserError, match="no images in"):
        predict.main([str(tmp_path), *checkpoint])
