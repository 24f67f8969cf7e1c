"""Training leaves its validation verdicts beside the checkpoint, as predict.py gives them."""

import pytest

from common import UserError, is_defect
from predict import load_predictor
from validation_file import read_validation, validation_path, write_validation


@pytest.mark.parametrize("folder", ["trained", "trained_for_use"])
def test_the_verdicts_are_those_of_the_checkpoint(folder, request, castings):
    import csv

    out = request.getfixturevalue(folder)
    with open(out / "split.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    predictor = load_predictor(out / "best.pth", "cpu")
    direct = predictor.predict([castings / row["path"] for row in rows])
    defective, names, prob_defect = read_validation(out / "best.pth")
    assert sorted(prob_defect) == pytest.approx(sorted(p.prob_defect for p in direct), abs=2e-6)
    assert sum(defective) == sum(is_defect(row["label"]) for row in rows)
    known = "for_use" in folder
    assert sorted(names) == (sorted(row["casting"] for row in rows) if known else names)


def test_what_was_written_is_read(tmp_path):
    model = tmp_path / "best.pth"
    write_validation(model, ["def_front", "ok_front"], ["a", ""], [0.25, 0.75])
    assert validation_path(model).name == "best_validation.csv"
    defective, castings, prob_defect = read_validation(model)
    assert defective.tolist() == [True, False]
    assert castings == ["a", ""]
    assert prob_defect.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    "content", [None, "label,casting\na,b\n", "label,casting,prob_defect\na,b,x"]
)
def test_a_missing_or_foreign_file_is_told(tmp_path, content):
    if content is not None:
        validation_path(tmp_path / "best.pth").write_text(content)
    with pytest.raises(UserError, match=r"best_validation\.csv"):
        read_validation(tmp_path / "best.pth")
