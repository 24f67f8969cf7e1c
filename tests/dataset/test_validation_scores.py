"""Training leaves its validation predictions beside the checkpoint, as predict.py gives them."""

import pytest

from common.errors import UserError
from common.files import ROOT
from common.labels import is_defect
from dataset.validation_scores import read_validation, validation_path, write_validation
from inspection.predictor import load_predictor
from metrics.decisions import count_decisions
from model import load_checkpoint


@pytest.mark.parametrize("folder", ["trained", "trained_for_use"])
def test_the_decisions_are_those_of_the_checkpoint(folder, request, castings):
    import csv

    out = request.getfixturevalue(folder)
    with open(out / "split.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    predictor = load_predictor(out / "best.pth", "cpu")
    direct = predictor.predict([castings / row["path"] for row in rows])
    defective, names, prob_defect = read_validation(out / "best.pth")
    # In other batches, and written with six digits
    assert sorted(prob_defect) == pytest.approx(sorted(p.prob_defect for p in direct), abs=1e-5)
    assert sum(defective) == sum(is_defect(row["label"]) for row in rows)
    known = "for_use" in folder
    if known:
        assert sorted(names) == sorted(row["casting"] for row in rows)
    checkpoint = predictor.checkpoint
    counts = count_decisions(defective, prob_defect, checkpoint.threshold)
    assert counts.missed == checkpoint.validation["missed"]
    assert counts.false_alarms == checkpoint.validation["false_alarms"]


def test_what_was_written_is_read(tmp_path):
    model = tmp_path / "best.pth"
    model.write_bytes(b"a model")
    write_validation(model, ["def_front", "ok_front"], ["a", ""], [0.25, 0.75])
    assert validation_path(model).name == "best_validation.csv"
    defective, castings, prob_defect = read_validation(model)
    assert defective.tolist() == [True, False]
    assert castings == ["a", ""]
    assert prob_defect.tolist() == [0.25, 0.75]


HEADER = "label,casting,prob_defect,model\n"


@pytest.mark.parametrize(
    "content",
    [
        None, "label,casting\na,b\n", "label,casting,prob_defect\na,b,x", "", HEADER,
        HEADER + "ok,b,x,m\n", HEADER + "ok,b,nan,m\n", HEADER + "ok,b,1.5,m\n", HEADER + "ok\n",
        HEADER + ",b,0.5,m\n", HEADER + "\0" * 99, HEADER + '"' + "x" * 200_000, "\xff\xfe",
    ],
)  # fmt: skip
def test_a_missing_or_foreign_file_is_told(tmp_path, content):
    (tmp_path / "best.pth").write_bytes(b"a model")
    if content is not None:
        validation_path(tmp_path / "best.pth").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"best_validation\.csv"):
        read_validation(tmp_path / "best.pth")


def test_the_released_ones_are_those_that_its_card_counts():
    released = ROOT / "checkpoints" / "released.pth"
    defective, castings, prob_defect = read_validation(released)
    checkpoint = load_checkpoint(released)
    counts = count_decisions(defective, prob_defect, checkpoint.threshold)
    figures = checkpoint.validation
    assert (counts.missed, counts.defects) == (figures["missed"], figures["defects"])
    assert (counts.false_alarms, counts.good) == (figures["false_alarms"], figures["good"])
    assert len(set(castings)) == figures["castings"]


def test_another_models_decisions_are_refused(tmp_path):
    (tmp_path / "best.pth").write_bytes(b"a model")
    write_validation(tmp_path / "best.pth", ["ok_front"], [""], [0.5])
    (tmp_path / "best.pth").write_bytes(b"another one")
    with pytest.raises(UserError, match="belongs to another model"):
        read_validation(tmp_path / "best.pth")
