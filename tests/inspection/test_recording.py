"""Parts as bytes: predicted as predict.py predicts files, recorded, kept where a person may ask."""

import hashlib
import os
from dataclasses import replace

import pytest

from common.errors import UserError
from inspection.pictures import KeptImages, keep_judged
from inspection.recording import NAMELESS, Inspector, Part, doubts, file_name, record_of
from traceability.log import InspectionLog


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "line.db", "create") as log:
        yield log


def parts_of(paths) -> list[Part]:
    return [Part(path.name, path.read_bytes(), "line 3", "A17") for path in paths]


def test_decisions_are_those_of_predict_and_in_the_log(predictor, log, paths):
    found = Inspector(predictor, log).inspect(parts_of(paths))
    for one, direct in zip(found, predictor.predict(paths), strict=True):
        p = one.prediction
        assert (p.decision, p.predicted_class, p.sha256) == (
            direct.decision, direct.predicted_class, direct.sha256,
        )  # fmt: skip
        assert p.prob_defect == pytest.approx(direct.prob_defect, abs=1e-5)  # in other batches
    rows = list(log.query("SELECT id, file, station, lot, prob_defect FROM inspections"))
    assert rows == [
        (one.id, path.name, "line 3", "A17", one.prediction.prob_defect)
        for one, path in zip(found, paths, strict=True)
    ]


def test_images_of_what_did_not_pass_are_kept_and_no_others(predictor, log, paths):
    found = Inspector(predictor, log).inspect([*parts_of(paths), Part("bad.jpeg", b"no image")])
    assert {one.prediction.decision for one in found} == {"ok", "defect", ""}
    images = KeptImages(log.path)
    rejected = {one.prediction.sha256 for one in found if one.prediction.decision == "defect"}
    assert set(os.listdir(images.folder)) == {f"{sha256}.jpeg" for sha256 in rejected}
    for path in paths:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert images.find(digest, "elsewhere.jpeg") == (data if digest in rejected else None)


def test_an_image_is_found_where_it_was_predicted_unless_it_has_changed(tmp_path, paths):
    images, data = KeptImages(tmp_path / "line.db"), paths[0].read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert images.find(digest, str(paths[0])) == data
    assert images.find(digest, str(paths[1])) is None
    assert images.find("../line.db", str(paths[0])) is None
    images.keep(digest, data)
    (images.folder / f"{digest}.jpeg").write_bytes(b"something else")
    assert images.find(digest, "gone.jpeg") is None


def test_an_image_that_cannot_be_kept_costs_no_decision(predictor, log, paths, capsys):
    log.path.with_name("line_pictures").write_text("a file in the folder's place")
    found = Inspector(predictor, log).inspect(parts_of(paths))
    assert "defect" in {one.prediction.decision for one in found}
    assert capsys.readouterr().err.count("images are not kept") == 1


def test_images_leave_room_for_the_log(predictor, log, paths, monkeypatch):
    monkeypatch.setattr("inspection.pictures.FREE_BYTES", 1 << 60)
    Inspector(predictor, log).inspect(parts_of(paths))
    assert os.listdir(KeptImages(log.path).folder) == []


def test_an_image_cut_short_is_kept_anew(tmp_path, paths):
    images, data = KeptImages(tmp_path / "line.db"), paths[0].read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    images.keep(digest, data)
    (images.folder / f"{digest}.jpeg").write_bytes(data[:100])
    images.keep(digest, data)
    assert images.find(digest, "gone.jpeg") == data


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"good": 10, "false_alarms": 3, "defects": 10, "missed": 0}, "rejects 3 of 10 good parts"),
        ({"good": 10, "false_alarms": 0, "defects": 10, "missed": 4}, "misses 4 of 10 defects"),
        ({"good": 10, "false_alarms": 1, "defects": 10, "missed": 1}, ""),
        ({}, ""),
    ],
)
def test_a_model_that_fails_its_own_validation_is_doubted(predictor, counts, said):
    text = doubts(replace(predictor.checkpoint, validation=counts))
    assert said in text
    assert bool(text) == bool(said)


def decisions(inspector: Inspector, *parts: Part) -> list[str]:
    return [one.prediction.decision or one.prediction.error for one in inspector.inspect(parts)]


def test_a_stations_camera_may_freeze_and_a_person_may_try_again(predictor, log, paths):
    data, frozen = paths[0].read_bytes(), "frozen camera? the same picture 3 times in a row"
    (decision,) = decisions(Inspector(predictor, log), Part("a.jpeg", data))
    of_camera, of_person = Part("a.jpeg", data, "line 3"), Part("a.jpeg", data)
    service = Inspector(predictor, log, from_cameras=True)
    assert decisions(service, *[of_person] * 4) == [decision] * 4
    other = Part("a.jpeg", data, "line 4")  # another camera, between those of the first
    assert decisions(service, of_camera, other, of_camera) == [decision] * 3
    assert decisions(service, of_camera, other) == [frozen, decision]
    again = Inspector(predictor, log, from_cameras=True)
    assert decisions(again, of_camera, other, Part("b.jpeg", paths[1].read_bytes(), "line 4"))[
        :2
    ] == [frozen, frozen]
    assert decisions(Inspector(predictor, log), *[of_camera] * 4) == [decision] * 4  # the page


def test_what_was_not_recorded_does_not_count_as_a_picture(predictor, log, paths, monkeypatch):
    part = Part("a.jpeg", paths[0].read_bytes(), "line 3")
    inspector = Inspector(predictor, log, from_cameras=True)
    with monkeypatch.context() as patch:
        patch.setattr(log, "append", refuse)
        for _ in range(5):
            with pytest.raises(UserError):
                inspector.inspect([part])
    assert [bool(one.prediction.decision) for one in inspector.inspect([part] * 3)] == [
        True, True, False,
    ]  # fmt: skip


def test_cameras_are_forgotten_when_there_are_many_and_known_from_the_log(
    predictor, log, paths, monkeypatch
):
    monkeypatch.setattr("inspection.recording.MOST_CAMERAS", 2)
    inspector = Inspector(predictor, log, from_cameras=True)
    data = paths[0].read_bytes()
    for _ in range(3):
        found = decisions(inspector, *[Part("a.jpeg", data, f"line {n}") for n in range(5)])
    assert ["frozen" in text for text in found] == [True] * 5
    assert len(inspector._cameras) <= 2


def refuse(records):
    raise UserError("disk full")


def test_what_cannot_be_recorded_is_not_decided(predictor, log, paths, monkeypatch):
    monkeypatch.setattr(log, "append", refuse)
    with pytest.raises(UserError, match="disk full"):
        Inspector(predictor, log).inspect(parts_of(paths[:1]))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("part.jpeg", "part.jpeg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\shift\\part 1.jpeg", "part 1.jpeg"),
        ("evil\x00\n\x1b[31m.jpeg", "evil[31m.jpeg"),
        ("/", NAMELESS),
        ("", NAMELESS),
        (None, NAMELESS),
        ("\ud800", NAMELESS),
        ("ü" * 300, "ü" * 200),
    ],
)
def test_names_of_clients_are_names(given, name):
    assert file_name(given) == name


def test_the_photograph_of_a_part_that_passed_is_kept_once_a_person_has_spoken(
    predictor, paths, tmp_path
):
    """The defect that a model lets pass is what the next one has to learn."""
    own = tmp_path / "part.jpeg"
    own.write_bytes(paths[0].read_bytes())
    with InspectionLog(tmp_path / "line.db", "create") as log:
        (prediction,) = predictor.predict([own])
        numbers = log.append([record_of(str(own), prediction, predictor.sha256, "", "")] * 3)
        images = KeptImages(log.path)
        keep_judged(log, numbers[0], b"another photograph")
        assert not images.folder.exists()
        keep_judged(log, numbers[1])
        (kept,) = images.folder.iterdir()
        assert (kept.stem, kept.read_bytes()) == (prediction.sha256, own.read_bytes())
        kept.unlink()
        own.unlink()
        keep_judged(log, numbers[2])
        assert list(images.folder.iterdir()) == []
        keep_judged(log, numbers[2], paths[0].read_bytes())
        assert [one.stem for one in images.folder.iterdir()] == [prediction.sha256]
