"""Model tells what the model is worth."""

from page_runs import metrics, page, text_of

from common.files import ROOT, sha256_of_file
from model import load_checkpoint, save_checkpoint
from traceability.models import Models


def test_the_model_page_tells_figures_threshold_and_leak(options, trained, predictor):
    from dataset.validation_scores import read_validation

    at = page("model")
    text = text_of(at)
    assert predictor.model_id in metrics(at).values()
    assert "unseen castings" in text
    assert "2,710/3,137" in text
    assert "Copying the label" in text
    defective, _, prob_defect = read_validation(trained / "best.pth")
    for threshold in (predictor.threshold, 0.0, 1.0):
        at.slider(key="threshold").set_value(float(threshold)).run()
        missed = int((defective & (prob_defect < threshold)).sum())
        wanted = f"{missed} of {defective.sum()} = {100 * missed / defective.sum():.1f} %"
        assert metrics(at)["Missed defects"] == wanted


def test_the_model_page_tells_the_models_before_and_the_candidate(options, trained, tmp_path):
    from adaptation.promotion import FROZEN, VERDICTS, Comparison, Group

    models = Models(tmp_path / "models")
    groups = [Group(source, "good", 10, 9, 0, 1) for source in (VERDICTS, FROZEN)]
    parent = trained / "best.pth"
    with models.changing():
        checkpoint = load_checkpoint(parent)
        checkpoint.data = "another"
        save_checkpoint(models.candidate, checkpoint)
        models.promote(parent, sha256_of_file(parent), Comparison(groups).as_dict())
        models.candidate.write_bytes(b"refused")
        groups[0] = Group(VERDICTS, "good", 10, 9, 7, 0)
        models.refuse(sha256_of_file(models.current), Comparison(groups).as_dict())
    options("--checkpoint", str(models.current))
    at = page("model")
    before, now, refused = (event.sha256[:12] for event in models.history())
    assert f"{before} → **{now}**" in text_of(at)
    assert f"Candidate {refused} was not promoted: verdicts: right on 2 of 10" in text_of(at)
    history, compared = (one.value for one in at.dataframe)
    assert list(history["what"]) == ["candidate, not promoted", "promoted", "found in use"]
    assert list(history["right on verdicts"])[:2] == ["9 → 2 of 10", "9 → 10 of 10"]
    assert list(compared["became wrong"]) == [7, 0]
    (models.folder / "history.jsonl").write_text("{")
    assert "is not a history of models" in text_of(page("model"))


def test_the_released_model_leads_with_unseen_castings(options):
    options("--checkpoint", str(ROOT / "checkpoints" / "released.pth"), "--review", "0.2", "0.8")
    at = page("model")
    assert [one.label for one in at.metric][:3] == ["Right", "Missed defects", "False alarms"]
    assert at.metric[0].value == "91.8 %"
    text = text_of(at)
    assert "95 % interval: 83.0 to 98.0 %; 7,702 of 8,391 images" in text
    assert "With the review band 0.2 to 0.8: 680 of 8,391 for a person" in text
    assert "photo sessions dark and light" in text


def test_of_another_model_nobody_has_measured_that(options):
    at = page("model")
    assert "Nobody has measured this model on castings that it has not seen" in text_of(at)
    assert at.metric[0].label == "Model"


def test_where_a_band_decides_the_slider_is_the_band(options, trained):
    from dataset.validation_scores import read_validation

    options("--review", "0", "1")
    at = page("model")
    assert at.slider(key="band").value == (0.0, 1.0)
    defective, _, prob_defect = read_validation(trained / "best.pth")
    count = len(defective)
    assert metrics(at)["For a person"].startswith(f"{(prob_defect < 1).sum()} of {count}")
    at.slider(key="band").set_value((0.5, 0.5)).run()
    assert metrics(at)["For a person"].startswith(f"0 of {count}")
    missed = int((defective & (prob_defect < 0.5)).sum())
    assert metrics(at)["Missed defects"].startswith(f"{missed} of {defective.sum()}")
