"""What the figures say: errors by name, ticks in plain numbers, one curve where one will do."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import evaluation_of
from PIL import Image

from evaluation import error_pictures, figures
from evaluation.confusion_figure import cell_texts, errors_text, plot_confusion
from evaluation.error_pictures import title_of_parts
from evaluation.errors import (
    RIGHT,
    WRONG_KIND,
    Errors,
    decided_wrongly,
    errors_of,
    most_telling,
    sort_of,
)
from evaluation.held_out import load_models
from evaluation.origin import facts_of, origin_of
from evaluation.report_figures import reliability_curves

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
    assert tick_texts(axis, "x")[-4:] == ["0.1", "0.5", "0.9", "0.99"]
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


def test_the_axis_of_thresholds_ends_where_the_scores_do():
    grid, ticks = figures.around_scores(np.array([0.48, 0.53]), [0.5])
    assert 0.38 < grid[0] < 0.48
    assert 0.53 < grid[-1] < 0.63
    assert len(ticks) >= 4
    assert grid[0] <= min(ticks) < max(ticks) <= grid[-1]
    assert len(figures.around_scores(np.array([0.0, 1.0]), [0.5])[1]) == 7


def test_few_images_have_ticks_at_1_2_5_and_0_to_1_takes_less_than_a_decade(drawn, tmp_path):
    figures.plot_score_histogram(tmp_path / "a.png", IS_DEFECT[:40], PROB[:40], [0.5], "")
    (axis,) = drawn["figure"].axes
    assert tick_texts(axis, "y")[:5] == ["0", "1", "2", "5", "10"]
    heights = axis.transData.transform([(0, value) for value in (0, 1, 10)])[:, 1]
    assert heights[1] - heights[0] < heights[2] - heights[1]


def test_bars_of_the_bins_do_not_overlap(drawn, tmp_path):
    curve = ("", np.array([5, 6]), np.array([0.099, 0.101]), np.array([0.0, 0.5]))
    figures.plot_reliability(tmp_path / "a.png", [curve], "")
    first, second = drawn["figure"].axes[1].patches
    assert first.get_x() + first.get_width() <= second.get_x()


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


def test_missed_defects_and_false_alarms_come_first_the_worst_of_both():
    found = evaluation_of(
        "a ok .65 5 no", "b ok .95 5 no", "c defect .05 5 no", "d ok .1 5 no", "e ok .45 5 no"
    )
    assert most_telling(found, 4) in ([1, 2, 0, 4], [2, 1, 0, 4])
    assert decided_wrongly(found) in ([1, 2, 0], [2, 1, 0])
    assert errors_of(found).describe() == "1 missed defect, 2 false alarms"
    assert sort_of("burr", "hole") == WRONG_KIND
    assert sort_of("ok", "ok") == RIGHT


def test_few_missed_defects_are_shown_beside_many_false_alarms():
    alarms = [f"a{number} ok .9{number} 5 no" for number in range(9)]
    found = evaluation_of(*alarms, "m defect .48 5 no", "n defect .47 5 no")
    assert most_telling(found, 6) == [8, 7, 6, 5, 10, 9]


def test_a_wrong_kind_comes_after_what_was_decided_wrongly():
    # A hole is taken for the kind that is called defect
    found = evaluation_of("a hole .99 5 no", "b ok .53 5 no", "c defect .49 5 no", "d ok .1 5 no")
    assert most_telling(found, 4) == [1, 2, 0, 3]
    assert errors_of(found).describe().endswith("1 taken for another kind")


def test_the_parts_that_are_shown_say_what_they_are_and_their_order(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(error_pictures, "read_grey_image", lambda path: Image.new("L", (8, 8)))
    found = evaluation_of("a ok .95 5 no", "b ok .1 5 no", "c defect .4999 5 no")
    error_pictures.draw_parts(found, tmp_path / "a.png", "from here")
    title = "test: 1 missed defect, 1 false alarm; the worst first, then what is right"
    assert drawn["title"].startswith(title)
    captions = [axis.get_title() for axis in drawn["figure"].axes]
    assert captions[0] == "false alarm\n0.png\np(defect) 0.95"
    assert captions[1] == "missed: defect\n2.png\np(defect) 0.4999"  # not 0.50, the threshold
    frames = [axis.spines["left"] for axis in drawn["figure"].axes[:3]]
    looks = {(frame.get_edgecolor(), str(frame.get_linestyle())) for frame in frames}
    assert len(looks) == 3
    assert title_of_parts(Errors([1] * 30, [2] * 32, [], []), 12) == (
        "30 missed defects, 32 false alarms; the worst first, 12 of them"
    )


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
