"""What a split leaks and what the nearest-neighbour baseline reaches, by hand and on renderings."""

import csv
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from common.origin import PUBLISHED_SPLIT
from data_split import main
from dataset.audit import COLUMNS, agreement, audit, describe, origin_of
from dataset.audit_figures import draw_sizes
from dataset.listing import ImageRow, list_images
from dataset.recognition import SAME_CASTING, Castings


def row_of(text):
    """A row from `split label casting contents`; its path tells all four."""
    split, label, casting, contents = text.split()
    return ImageRow("/".join(text.split()), label, split, casting, contents)


def alike(count, pairs):
    """Castings of images that score as in `pairs`, (one, other): score, else 0.1 to all others."""
    scores = np.full((count, count), 0.1)
    for (one, other), score in pairs.items():
        scores[one, other] = scores[other, one] = score
    partners = np.stack([np.delete(np.arange(count), i) for i in range(count)])
    own = np.take_along_axis(scores, partners, axis=1)
    return Castings(partners.astype(np.int32), own.astype(np.float32), np.zeros_like(own))


ROWS = [
    row_of(text)
    for text in (
        "train def a 0", "train def a 1", "train ok a 2",  # casting a: one image labelled good
        "train ok b 3", "train ok b 4",
        "val def a 0", "val ok b 6", "val ok b 3", "val def c 8",
        "test def a 9", "test ok d 10", "test ok b 11", "test def a 12",
    )
]  # fmt: skip
PAIRS = {
    (5, 0): 1.0, (6, 3): 0.8, (7, 3): 1.0, (8, 4): 0.3,
    (9, 1): 0.7, (9, 5): 0.9, (10, 0): 0.2, (11, 4): 0.9, (12, 2): 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The figures of ROWS, and its lines."""
    root = tmp_path_factory.mktemp("data")
    for name in ("ok_front", "def_front"):
        (root / "train" / name).mkdir(parents=True)
    return audit(root, ROWS, alike(len(ROWS), PAIRS))


def test_castings_are_counted_by_class_and_listed_by_size(audited):
    result, _ = audited
    assert result["images"] == 13
    assert (result["castings"], result["castings_good"], result["castings_defective"]) == (4, 2, 2)
    assert [(line["casting"], line["images"]) for line in result["casting_table"]] == [
        ("a", 6), ("b", 5), ("c", 1), ("d", 1),
    ]  # fmt: skip
    assert result["casting_table"][0]["labels"] == {"def": 5, "ok": 1}
    assert [line["held_out"] for line in result["casting_table"]] == [3, 3, 1, 1]
    assert [line["defective"] for line in result["casting_table"]] == [True, False, True, False]
    assert [line["both_labels"] for line in result["casting_table"]] == [True, False, False, False]
    assert result["threshold"] == SAME_CASTING
    assert result["data"] == "castings"


def test_held_out_images_of_castings_in_train_are_counted(audited):
    known = audited[0]["held_out_known"]
    assert known == {"val": {"count": 3, "of": 4}, "test": {"count": 3, "of": 4}}


def test_images_with_the_bytes_of_a_training_image_are_counted(audited):
    assert audited[0]["identical_to_train"] == {"val": 2, "test": 0}


def test_the_outvoted_image_of_a_casting_with_both_labels_is_suspected(audited):
    result, _ = audited
    assert result["castings_with_both_labels"] == ["a"]
    assert result["suspected_label_errors"] == ["train/ok/a/2"]


@pytest.mark.parametrize(
    ("labels", "suspects", "good"),
    [
        ("ok ok def", ["def"], 1),
        ("ok def", ["ok"], 0),  # a tie is a defect
        ("burr burr burr hole ok ok", ["ok", "ok"], 0),  # the rarest label is not the outvoted kind
        ("ok_a ok_b ok_b burr", ["burr"], 1),
        ("burr hole", [], 0),
        ("ok_a ok_b", [], 1),
    ],
)
def test_labels_vote_as_good_or_defective(labels, suspects, good, tmp_path):
    rows = [row_of(f"train {label} m {n}") for n, label in enumerate(labels.split())]
    result, _ = audit(tmp_path, rows, alike(len(rows), {}))
    assert [path.split("/")[1] for path in result["suspected_label_errors"]] == suspects
    assert result["castings_with_both_labels"] == (["m"] if suspects else [])
    assert result["castings_good"] == good


def test_baseline_copies_the_label_of_the_most_alike_training_image(audited):
    baseline = audited[0]["copy_lookup"]
    # Validation: the defect c is most like the good b, although not very
    assert baseline["val"] == {
        "images": 4,
        "castings": 3,
        "counts": {"defects": 2, "missed": 1, "good": 2, "false_alarms": 0},
        "accuracy": 3 / 4,
    }
    # Test: d is most like a defect; the last image copies the wrong label of casting a
    assert baseline["test"] == {
        "images": 4,
        "castings": 3,
        "counts": {"defects": 2, "missed": 1, "good": 2, "false_alarms": 1},
        "accuracy": 2 / 4,
    }
    assert baseline["val and test"]["counts"] == {
        "defects": 4, "missed": 2, "good": 4, "false_alarms": 1,
    }  # fmt: skip
    assert baseline["val and test"]["accuracy"] == 5 / 8


def test_an_image_without_a_candidate_in_train_counts_as_a_defect(tmp_path):
    rows = [row_of(text) for text in ("train ok a 0", "test ok b 1", "test ok b 2", "test def c 3")]
    scores = np.array([[0.1], [0.9], [0.9], [0.2]], np.float32)
    castings = Castings(np.array([[1], [2], [1], [2]], np.int32), scores, np.zeros_like(scores))
    result, lines = audit(tmp_path, rows, castings)
    assert result["copy_lookup"]["test"]["counts"] == {
        "defects": 1, "missed": 0, "good": 2, "false_alarms": 2,
    }  # fmt: skip
    assert [line[4:] for line in lines[1:]] == [["", "0.0000"]] * 3
    assert result["copy_lookup"]["val"] == {
        "images": 0,
        "castings": 0,
        "counts": {"defects": 0, "missed": 0, "good": 0, "false_alarms": 0},
        "accuracy": 0,
    }


def test_each_image_is_listed_with_its_match_in_train(audited):
    _, lines = audited
    assert COLUMNS == ["path", "label", "split", "casting", "best_train_match", "score"]
    assert [line[0] for line in lines] == [row.path for row in ROWS]
    # Image 9 is most like image 5, which is not in train
    assert lines[9] == ["test/def/a/9", "def", "test", "a", "train/def/a/1", "0.7000"]
    assert lines[5][4:] == ["train/def/a/0", "1.0000"]


def test_the_figures_are_told_in_a_few_lines(audited):
    text = describe(audited[0] | {"agreement_with_recognised": 1.0})
    assert "castings: 4, of them 2 good and 2 defective; the largest has 6 images" in text
    assert "the smallest 1 image\n" in text
    assert "validation: 3 of 4 images (75.0 %) show a casting that is also in train; 2 are" in text
    assert "62.50 % of 8 held-out images right; 2/4 defects missed, 1/4 false alarms" in text
    assert "both labels: a (5 def, 1 ok)" in text
    assert "agreement" not in text
    assert "releases" not in text
    both = {"casting_data": 3, "casting_512x512": 1}
    other = describe(audited[0] | {"agreement_with_recognised": 0.5, "releases": both})
    assert other.startswith("releases: casting_data 3 images, casting_512x512 1 image\n")
    assert "adjusted Rand index 0.5000" in other


def test_the_figure_shows_each_casting_by_class_and_how_much_of_it_is_held_out(audited):
    axis = plt.figure().subplots()
    draw_sizes(axis, audited[0]["casting_table"], "castings")
    assert [text.get_text() for text in axis.get_xticklabels()] == [
        "2 defective castings", "2 good castings",
    ]  # fmt: skip
    drawn = {patch.get_label(): patch.get_data() for patch in axis.patches}
    assert drawn["defective, held out"].values.tolist() == [3, 1]
    assert drawn["good, in training"].values.tolist() == [5, 1]
    assert drawn["good, in training"].baseline.tolist() == [3, 1]  # on top of what is held out
    assert [line.get_label() for line in axis.lines] == ["defective, both labels"]
    plt.close("all")


def test_castings_of_one_size_stand_by_how_much_of_them_is_held_out():
    axis = plt.figure().subplots()
    line = {"defective": False, "both_labels": False, "images": 1}
    draw_sizes(axis, [line | {"held_out": count} for count in (0, 1, 0, 1)], "plates")
    drawn = {patch.get_label(): patch.get_data() for patch in axis.patches}
    assert drawn["good, held out"].values.tolist() == [1, 1, 0, 0]
    assert axis.get_ylabel() == "images of each part"
    plt.close("all")


def test_the_figures_say_what_they_were_drawn_from(audited, monkeypatch):
    monkeypatch.setattr("common.origin.today", lambda: "2026-01-31")
    assert origin_of(audited[0] | {"protocol": "kaggle"}, PUBLISHED_SPLIT).replace(
        "\u00a0", " "
    ) == (
        "no model · data: castings, 13 images · 6 of 8 held-out images (75.0 %) show a casting "
        "that is also in training · protocol: published split · drawn: 2026-01-31"
    )


def test_agreement_is_of_given_castings_with_those_on_the_images():
    rows = [row_of(f"train ok {name} {n}") for n, name in enumerate("aabb")]
    assert agreement(rows, alike(4, {(0, 1): 0.9, (2, 3): 0.7})) == 1
    assert agreement(rows, alike(4, {(0, 2): 0.9, (1, 3): 0.9})) < 0


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_figures_table_and_image(sharp_castings, tmp_path, capsys):
    assert main(["--data", str(sharp_castings), "--audit", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert {"audit.json", "audit.csv", "audit.png", "split.csv"} <= {
        path.name for path in tmp_path.iterdir()
    }
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 300

    result = json.loads((tmp_path / "audit.json").read_text())
    assert (result["data"], result["protocol"]) == ("synthetic castings", "kaggle")
    assert (result["castings"], result["castings_good"]) == (8, 4)
    assert result["held_out_known"] == {
        "val": {"count": 4, "of": 4},
        "test": {"count": 4, "of": 4},
    }
    assert result["agreement_with_recognised"] == 1
    assert result["copy_lookup"]["val and test"]["accuracy"] == 1
    assert "test: 4 of 4 images (100.0 %) show a casting that is also in train" in printed
    assert "100.00 % of 8 held-out images right" in printed

    with open(tmp_path / "audit.csv", newline="") as file:
        lines = {line["path"]: line for line in csv.DictReader(file)}
    rows, _ = list_images(sharp_castings)
    assert sorted(lines) == [row.path for row in rows]
    for line in lines.values():  # every casting has two images in train
        assert lines[line["best_train_match"]]["casting"] == line["casting"]
        assert float(line["score"]) >= SAME_CASTING


def test_the_same_bytes_under_two_labels_are_listed(tmp_path):
    rows = [row_of(f"train {label} m {n}") for n, label in enumerate(("ok", "def", "ok"))]
    rows[1] = replace(rows[1], sha256=rows[0].sha256)
    result, _ = audit(tmp_path, rows, alike(len(rows), {}))
    assert result["identical_with_both_labels"] == [rows[0].path, rows[1].path]
    text = describe(result | {"agreement_with_recognised": 1.0})
    assert "two labels: 2 images with byte-identical copies" in text
