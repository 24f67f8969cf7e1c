"""What the figures say: errors by name, ticks in plain numbers, one curve where one will do."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import evaluation_of
from PIL import Image

from evaluation import figures, report_figures
from evaluation.confusion_figure import cell_texts, errors_text, plot_confusion
from evaluation.held_out import load_models
from evaluation.origin import facts_of, origin_of
from evaluation.report_figures import (
    kind_of_prediction,
    most_telling,
    reliability_curves,
    title_of_parts,
)

TWO, KINDS = ["def", "ok"], ["burr", "hole", "ok"]
RANDOM = np.random.default_rng(0)
IS_DEFECT = np.arange(200) % 2 == 0
PROB = np.clip(IS_DEFECT * 0.4 + RANDOM.random(200) * 0.6, 0, 1)


@pytest.fixture
def drawn(monkeypatch):
    """The last figure, which is kept open instead of being written."""
    kept = {}

    def keep(figure, path, title="", origin=""):
        kept.update(figure=figure, title=title, origin=origin)

    monkeypatch.setattr(figures, "save", keep)
    yield kept
    plt.close("all")


def tick_texts(axis, which):
    return [label.get_text() for label in getattr(axis, f"get_{which}ticklabels")()]


def legend_texts(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def covers_nothing(figure, axis):
    """Whether the legend lies above the charts."""
    figure.draw_without_rendering()
    return axis.get_legend().get_window_extent().y0 >= axis.get_window_extent().y1 - 1


def test_of_two_classes_each_cell_is_named_with_count_and_rate():
    assert cell_texts(np.array([[3, 1], [2, 8]]), TWO) == [
        ["defects caught\n3 of 4\n75.0 %", "missed defects\n1 of 4\n25.0 %"],
        ["false alarms\n2 of 10\n20.0 %", "good parts passed\n8 of 10\n80.0 %"],
    ]


def test_of_many_classes_cells_without_confusion_are_empty():
    matrix = np.array([[3, 1, 0], [0, 0, 2], [0, 0, 0]])
    texts = cell_texts(matrix, KINDS)
    assert texts[0] == ["3\n75.0 %", "1\n25.0 %", ""]
    assert texts[2] == ["", "", "0\n0.0 %"]
    # Taking a burr for a hole is no missed defect
    assert errors_text(matrix, KINDS) == "2 missed defects of 6, 0 false alarms of 0 good parts"


@pytest.mark.parametrize("count", [2, 3, 12])
def test_a_matrix_of_any_size_is_drawn(count, tmp_path):
    names = [f"kind {number} of defects with a long $name$" for number in range(count - 1)]
    matrix = RANDOM.integers(0, 9, (count, count))
    plot_confusion(tmp_path / "matrix.png", matrix, [*names, "ok"], "data: none")
    with Image.open(tmp_path / "matrix.png") as image:
        assert 500 < image.width < 2000


def test_the_thresholds_are_probabilities_in_plain_numbers(drawn, tmp_path):
    figures.plot_threshold(tmp_path / "a.png", IS_DEFECT, PROB, [0.3, 0.2, 0.3], "from here")
    (axis,) = drawn["figure"].axes
    assert tick_texts(axis, "x") == ["0.001", "0.01", "0.1", "0.5", "0.9", "0.99", "0.999"]
    assert "thresholds, one a fold: 0.2 to 0.3" in legend_texts(axis)
    assert covers_nothing(drawn["figure"], axis)
    assert drawn["origin"] == "from here"


def test_counts_have_plain_ticks_and_the_legend_lies_off_the_bars(drawn, tmp_path):
    prob = np.concatenate([PROB, np.zeros(1200)])
    is_defect = np.concatenate([IS_DEFECT, np.zeros(1200, bool)])
    figures.plot_score_histogram(tmp_path / "a.png", is_defect, prob, [0.5], "")
    (axis,) = drawn["figure"].axes
    assert tick_texts(axis, "y") == ["0", "1", "10", "100", "1,000"]
    assert axis.get_ylabel() == "images (log scale)"
    assert covers_nothing(drawn["figure"], axis)


def test_one_curve_where_no_temperature_was_fitted():
    images = ("a ok .3 1 no", "b def .8 1 no", "c def .6 1 no")  # the fold is the temperature
    (only,) = reliability_curves(evaluation_of(*images))
    assert only[0].startswith("as predicted")
    before, after = reliability_curves(evaluation_of("d ok .2 2 no", *images))
    assert before[0].startswith("before calibration")
    assert after[0].startswith("calibrated")


def test_each_bin_has_its_exact_interval_and_its_count(drawn, tmp_path):
    curve = ("as predicted", np.array([10, 1]), np.array([0.05, 0.95]), np.array([0.0, 1.0]))
    figures.plot_reliability(tmp_path / "a.png", [curve], "")
    above, below = drawn["figure"].axes
    (bars,) = (lines for _, _, lines in [above.containers[0].lines])
    low, high = np.array(bars[0].get_segments())[:, :, 1].T
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 10))  # Clopper and Pearson, none of 10
    assert (low[0], high[1]) == (0, 1)
    assert [text.get_text() for text in below.texts] == ["10", "1"]


def test_the_worst_error_comes_first_and_each_is_named():
    found = evaluation_of(
        "a ok .65 5 no", "b ok .95 5 no", "c defect .05 5 no", "d ok .1 5 no", "e ok .45 5 no"
    )
    assert most_telling(found, 4) in ([1, 2, 0, 4], [2, 1, 0, 4])
    names = [kind_of_prediction(*pair) for pair in (("ok", "burr"), ("burr", "ok"))]
    assert names == ["false alarm", "missed defect"]
    assert kind_of_prediction("burr", "hole") == "taken for hole"
    assert kind_of_prediction("ok", "ok") == "right"


def test_the_parts_that_are_shown_say_their_order(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(report_figures, "read_grey_image", lambda path: Image.new("L", (8, 8)))
    found = evaluation_of("a ok .95 5 no", "b ok .1 5 no")
    report_figures.draw_parts(found, tmp_path / "a.png", "from here")
    assert drawn["title"].startswith("2 parts worth a look: 1 error, the worst first; then")
    captions = [axis.get_title() for axis in drawn["figure"].axes]
    assert captions[0] == "false alarm\nok, p(defect) 0.95"
    assert title_of_parts(12, 62) == "The worst 12 of 62 errors, the worst first"


# --- what they were drawn from -------------------------------------------------------------------


def said(models, found, part="test"):
    origin = origin_of(models, facts_of(found, "castings", part))
    return origin.replace("\N{NO-BREAK SPACE}", " ").split(" · ")


def test_below_a_figure_stand_model_data_known_castings_protocol_and_date(trained, monkeypatch):
    monkeypatch.setattr("common.origin.today", lambda: "2026-01-31")
    models = load_models(trained / "best.pth", None, "cpu")
    found = evaluation_of("a ok .1 1 yes", "b ok .1 1 no")
    assert said(models, found) == [
        f"model: {trained.name}/best.pth ({models[0].predictor.model_id})",
        "data: castings, test part, 2 images",
        "1 of 2 images (50.0 %) show a casting that is also in training",
        "protocol: the folders train and test as they are",
        "drawn: 2026-01-31",
    ]
    assert "castings unknown" in said(models, evaluation_of("- ok .1 1 no"))


def test_below_a_figure_of_all_folds_stands_each_model(trained_folds):
    models = load_models(trained_folds, None, "cpu", folds=True)
    found = said(models, evaluation_of("a ok .1 1 no"), "unseen castings")
    ids = ", ".join(model.predictor.model_id for model in models)
    assert found[0] == f"models: 2 in {trained_folds.name} ({ids})"
    assert "protocol: unseen castings, 2 folds pooled" in found
    (alone,) = load_models(trained_folds / "fold2" / "best.pth", None, "cpu")
    assert "protocol: unseen castings, fold 2 of 2" in said([alone], evaluation_of("a ok .1 1 no"))
