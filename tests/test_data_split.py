"""The published split exactly; whole castings on one side each; and what split.csv says of it."""

import csv
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from builders import fold_of_castings, make_set, parts_by_casting
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from common.errors import UserError
from common.files import ROOT
from data_split import (
    assign_kaggle,
    identical_across_splits,
    load_split,
    main,
    split_sha256,
    split_table,
    write_split,
)
from dataset.arguments import split_options
from dataset.folds import NO_TEST_PART, SplitOptions, casting_classes, refuse_shared_castings
from dataset.listing import ImageRow


@pytest.fixture
def small_set(tmp_path):
    return make_set(tmp_path / "set")


def paths_by_split(rows):
    return {
        split: [row.path for row in rows if row.split == split]
        for split in ("train", "val", "test")
    }


# --- the published protocol ----------------------------------------------------------------------

names = st.text("aBz09_-.é", min_size=1, max_size=5)
labels = st.sampled_from(["def_front", "ok_front"])


@st.composite
def image_rows(draw):
    def part(name, least):
        found = draw(st.sets(st.tuples(labels, names), min_size=least, max_size=25))
        return [ImageRow(f"{name}/{label}/{file}.jpeg", label, name) for label, file in found]

    return part("train", 0) + part("test", 2)


@given(rows=image_rows(), order=st.randoms(use_true_random=False))
def test_split_is_exhaustive_halves_the_test_folder_and_ignores_file_order(rows, order):
    split = assign_kaggle(rows)
    assert [row.path for row in split] == sorted(row.path for row in rows)
    parts = paths_by_split(split)
    assert parts["train"] == sorted(row.path for row in rows if row.path.startswith("train/"))
    assert all(path.startswith("test/") for path in parts["val"] + parts["test"])
    assert len(parts["test"]) - len(parts["val"]) in (0, 1)  # 358 and 357 of Kaggle's 715
    assert {row.path: row.label for row in split} == {row.path: row.label for row in rows}
    shuffled = order.sample(rows, len(rows))
    assert assign_kaggle(shuffled) == split


@given(rows=image_rows())
def test_split_is_that_of_scikit_learn_on_the_sorted_list(rows):
    held_out = sorted(row.path for row in rows if row.path.startswith("test/"))
    val, test = train_test_split(held_out, test_size=0.5, random_state=42)
    parts = paths_by_split(assign_kaggle(rows))
    assert (parts["val"], parts["test"]) == (sorted(val), sorted(test))


def test_split_does_not_depend_on_the_state_of_random_generators():
    rows = [ImageRow(f"test/ok_front/{n}.jpeg", "ok_front", "test") for n in range(30)]
    splits = []
    for seed in range(3):
        np.random.seed(seed)
        random.seed(seed)
        splits.append(assign_kaggle(rows))
    assert splits[0] == splits[1] == splits[2]


def test_seven_hundred_and_fifteen_test_images_give_the_published_counts():
    rows = [
        ImageRow(f"test/{label}/{n:03}.jpeg", label, "test")
        for label, count in (("def_front", 453), ("ok_front", 262))
        for n in range(count)
    ]
    counts = Counter((row.split, row.label) for row in assign_kaggle(rows))
    assert counts == {
        ("val", "def_front"): 212,
        ("val", "ok_front"): 145,
        ("test", "def_front"): 241,
        ("test", "ok_front"): 117,
    }


def test_too_few_test_images_are_refused():
    with pytest.raises(UserError, match="at least two images"):
        assign_kaggle([ImageRow("test/ok_front/a.jpeg", "ok_front", "test")])


# --- the protocol by castings --------------------------------------------------------------------


def casting_rows(good, defective, random, most=40):
    """Images of so many castings, 1 to `most` each; of some, fewer than half are labelled wrong."""
    rows = []
    kinds = ["ok_front"] * good + ["def_front"] * defective
    for number, kind in enumerate(random.permutation(kinds).tolist()):
        count = int(random.integers(1, most + 1))
        wrong = int(random.integers(0, (count - 1) // 2 + 1)) if random.random() < 0.2 else 0
        other = "ok_front" if kind == "def_front" else "def_front"
        for image in range(count):
            label = other if image < wrong else kind
            path = f"{random.choice(['train', 'test'])}/{label}/{number}_{image}.jpeg"
            rows.append(ImageRow(path, label, "train", f"casting {number}", path))
    return rows


castings_of_a_class = st.integers(15, 25)
# Rows come from a seed, in which there is nothing to shrink.
on_castings = settings(max_examples=10, phases=[Phase.reuse, Phase.generate])


@st.composite
def images_of_castings(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return casting_rows(draw(castings_of_a_class), draw(castings_of_a_class), random)


@on_castings
@given(rows=images_of_castings(), folds=st.integers(2, 5))
def test_folds_keep_castings_whole_and_test_every_image_once(rows, folds):
    tested = Counter()
    for fold in range(1, folds + 1):
        split = fold_of_castings(rows, fold, folds=folds)
        assert [replace(row, split="train") for row in split] == sorted(rows, key=lambda r: r.path)
        assert {row.split for row in split} == {"train", "val", "test"}
        assert all(len(parts) == 1 for parts in parts_by_casting(split).values())
        tested.update(row.path for row in split if row.split == "test")
    assert tested == Counter(row.path for row in rows)


@on_castings
@given(rows=images_of_castings(), fold=st.integers(1, 5))
def test_every_part_has_its_share_of_the_castings_of_either_class(rows, fold):
    defective = casting_classes(rows)
    count = Counter(
        (*parts, defective[name])
        for name, parts in parts_by_casting(fold_of_castings(rows, fold)).items()
    )
    for kind in (True, False):
        total = sum(value == kind for value in defective.values())
        assert count["test", kind] in (total // 5, -(-total // 5))
        rest = total - count["test", kind]
        assert count["val", kind] in (rest // 5, -(-rest // 5))
        assert count["test", kind] >= 3
        assert count["val", kind] >= 2


@on_castings
@given(
    rows=images_of_castings(),
    order=st.randoms(use_true_random=False),
    fold=st.sampled_from([NO_TEST_PART, 1, 4]),
)
def test_folds_depend_on_the_castings_only(rows, order, fold):
    split = fold_of_castings(rows, fold)
    assert fold_of_castings(order.sample(rows, len(rows)), fold) == split
    more = [
        replace(row, path=f"{row.path}.{n}", sha256=f"{row.path}.{n}")
        for row in rows
        for n in range(1 + int(row.casting.split()[1]) % 3)
    ]
    more = [replace(row, split="test") for row in more]  # where it lay before plays no part
    assert parts_by_casting(fold_of_castings(more, fold)) == parts_by_casting(split)


def test_the_fold_none_holds_nothing_out_for_testing():
    rows = casting_rows(15, 20, np.random.default_rng(0))
    parts = parts_by_casting(fold_of_castings(rows, NO_TEST_PART))
    assert Counter(next(iter(part)) for part in parts.values()) == {"train": 28, "val": 7}


@pytest.mark.parametrize(
    ("good", "fold", "folds", "message"),
    [
        (4, 1, 5, "4 castings of one class, test castings apart, cannot be cut into 5 folds"),
        (10, 1, 5, "fold 1 of 5: the test part has 2 good castings, at least 3 are needed"),
        (5, NO_TEST_PART, 5, "fold none of 5: the val part has 1 good casting, at least 2"),
    ],
)
def test_too_few_castings_of_a_class_are_refused_with_what_to_do(good, fold, folds, message):
    rows = casting_rows(good, 40, np.random.default_rng(0), most=3)
    with pytest.raises(UserError, match=f"{message}.*smaller --folds") as caught:
        fold_of_castings(rows, fold, folds=folds)
    assert caught.value.exit_code == 2


def test_a_castings_class_is_that_of_most_of_its_images_and_defective_in_doubt():
    labels = {"a": "dd", "b": "ooo", "c": "ood", "d": "odd", "e": "od"}
    rows = [
        ImageRow(str(n), "ok_front" if letter == "o" else "def_front", "train", name)
        for name, letters in labels.items()
        for n, letter in enumerate(letters)
    ]
    assert casting_classes(rows) == {"a": True, "b": False, "c": False, "d": True, "e": True}


def test_a_casting_on_two_sides_is_refused_with_both_images():
    rows = [
        ImageRow("train/ok/a.png", "ok", "train", "7", "sha a"),
        ImageRow("train/ok/b.png", "ok", "train", "8", "sha b"),
        ImageRow("test/ok/c.png", "ok", "test", "7", "sha c"),
    ]
    with pytest.raises(UserError, match=r"casting .*train/ok/a\.png.*test/ok/c\.png") as caught:
        refuse_shared_castings(rows)
    assert caught.value.exit_code == 3
    refuse_shared_castings([rows[0], rows[1], replace(rows[2], split="train")])


def test_one_file_in_two_castings_is_refused_when_they_are_on_two_sides():
    rows = casting_rows(15, 15, np.random.default_rng(0), most=3)
    split = fold_of_castings(rows, 1)
    train, test = (next(r for r in split if r.split == part) for part in ("train", "test"))
    rows = [replace(r, sha256=train.sha256) if r.path == test.path else r for r in rows]
    with pytest.raises(UserError, match="byte-identical file is on two sides") as caught:
        fold_of_castings(rows, 1)
    assert train.path in str(caught.value)
    assert test.path in str(caught.value)
    assert caught.value.exit_code == 3


def test_split_options_are_the_defaults_unless_given():
    assert split_options({"protocol": None, "folds": None, "out": "x"}) == SplitOptions()
    given = {"protocol": "casting", "folds": 3, "fold": 2, "castings": "a.csv"}
    assert split_options(given) == SplitOptions("casting", 3, 2, "a.csv")


# --- split.csv -----------------------------------------------------------------------------------


def test_split_csv_has_its_columns_sorted_and_with_the_files_hashes(small_set, tmp_path, capsys):
    assert main(["--data", str(small_set), "--out", str(tmp_path / "out")]) == 0
    with open(tmp_path / "out" / "split.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["path", "label", "split", "casting", "sha256", "session"]
    assert [line["path"] for line in lines] == sorted(line["path"] for line in lines)
    assert Counter(line["split"] for line in lines) == {"train": 8, "val": 4, "test": 4}
    for line in lines:
        data = (small_set / line["path"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    assert capsys.readouterr().err == ""


def test_written_split_does_not_depend_on_the_order_of_rows(small_set, tmp_path):
    rows, _ = load_split(small_set)
    write_split(tmp_path / "a.csv", rows)
    write_split(tmp_path / "b.csv", reversed(rows))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_report_names_data_table_copies_hash_and_file(castings, tmp_path, capsys):
    assert main(["--data", str(castings), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    rows, _ = load_split(castings)
    assert f"synthetic castings in {castings}: {len(rows)} images, all readable" in out
    assert split_table(rows, "castings") in out
    assert f"split hash {split_sha256(rows)}" in out
    assert str(tmp_path / "split.csv") in out
    assert not any(row.path.startswith("unseen/") for row in rows)


def test_real_images_are_not_called_synthetic(small_set, tmp_path, capsys):
    assert main(["--data", str(small_set), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"castings in {small_set}: 16 images")


def test_table_counts_classes_with_their_share():
    rows = [ImageRow(f"train/def/{n}", "def", "train") for n in range(3)]
    rows += [ImageRow("train/ok/0", "ok", "train"), ImageRow("test/ok/0", "ok", "val")]
    cells = [line.split() for line in split_table(rows, "castings").splitlines()]
    assert cells == [
        ["def", "ok", "all"],
        ["train", "3", "(75.0%)", "1", "(25.0%)", "4"],
        ["val", "0", "(", "0.0%)", "1", "(100.0%)", "1"],
    ]


def test_byte_identical_copies_across_splits_are_counted(small_set, tmp_path, capsys):
    rows, _ = load_split(small_set)
    parts = paths_by_split(rows)
    copies = {parts["test"][0]: parts["train"][0], parts["val"][0]: parts["train"][0]}
    copies |= {parts["test"][2]: parts["test"][1], parts["train"][2]: parts["train"][1]}
    for copy, original in copies.items():
        shutil.copy(small_set / original, small_set / copy)
    rows, _ = load_split(small_set)
    found = {row.path for row in identical_across_splits(rows)}
    assert found == {parts["test"][0], parts["val"][0]}  # copies within one split do not count
    main(["--data", str(small_set), "--out", str(tmp_path / "out")])
    assert "byte-identical across splits: 2 " in capsys.readouterr().out


def test_all_unreadable_images_are_listed_and_no_split_is_written(small_set, tmp_path):
    bad = ["train/ok_front/train_1.jpeg", "test/def_front/test_3.jpeg", "train/def_front/new.png"]
    for path, data in zip(bad, (b"", b"<html>", b"\x89PNG\r\n\x1a\n"), strict=True):
        (small_set / path).write_bytes(data)
    with pytest.raises(UserError, match="3 unreadable images") as caught:
        main(["--data", str(small_set), "--out", str(tmp_path / "out")])
    assert caught.value.exit_code == 2
    assert all(path in str(caught.value) for path in bad)
    assert not (tmp_path / "out" / "split.csv").exists()


def test_unreadable_image_leaves_the_previous_split(small_set, tmp_path):
    main(["--data", str(small_set), "--out", str(tmp_path)])
    before = (tmp_path / "split.csv").read_bytes()
    (small_set / "train" / "ok_front" / "train_1.jpeg").write_bytes(b"")
    with pytest.raises(UserError, match="1 unreadable image in"):
        main(["--data", str(small_set), "--out", str(tmp_path)])
    assert (tmp_path / "split.csv").read_bytes() == before


def test_split_hash_is_that_of_its_sorted_lines():
    rows = [ImageRow("test/ok/b.jpeg", "ok", "val"), ImageRow("test/def/a.jpeg", "def", "test")]
    lines = b"test/def/a.jpeg,def,test\ntest/ok/b.jpeg,ok,val\n"
    assert split_sha256(rows) == hashlib.sha256(lines).hexdigest()


def test_split_hash_ignores_contents_castings_and_row_order_only(small_set):
    rows, _ = load_split(small_set)
    expected = split_sha256(rows)
    assert split_sha256(reversed(rows)) == expected
    assert split_sha256(replace(row, casting="7", sha256="") for row in rows) == expected
    for change in ({"path": "train/x"}, {"label": "burr"}, {"split": "val"}):
        assert split_sha256([replace(rows[-1], **change), *rows[:-1]]) != expected
    assert split_sha256(rows[1:]) != expected


def test_unknown_protocol_and_option_are_usage_errors(small_set, capsys):
    for arguments in (["--protocol", "random"], ["--dat", "x"]):
        with pytest.raises(SystemExit, match="2"):
            main(["--data", str(small_set), *arguments])
    assert "kaggle" in capsys.readouterr().err


# --- the command line, by castings ---------------------------------------------------------------


def run_by_castings(castings, out, *arguments):
    """The lines of the split.csv that a run with the casting protocol writes."""
    arguments = ["--data", str(castings), "--out", str(out), "--protocol", "casting", *arguments]
    assert main(arguments) == 0
    with open(out / "split.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def truth_of(castings):
    with open(castings / "truth.csv", newline="", encoding="utf-8") as file:
        return {line["path"]: line["casting"] for line in csv.DictReader(file)}


def test_folds_of_rendered_castings_follow_their_truth(castings, tmp_path, capsys):
    tested = Counter()
    truth = truth_of(castings)
    for fold in ("1", "2"):
        lines = run_by_castings(castings, tmp_path, "--folds", "2", "--fold", fold)
        assert all(line["casting"] == truth[line["path"]] for line in lines)
        tested.update(line["casting"] for line in lines if line["split"] == "test")
        sides = {(line["casting"], line["split"]) for line in lines}
        assert Counter(split for _, split in sides) == {"train": 4, "val": 4, "test": 8}
    assert tested == Counter(dict.fromkeys(tested, 4))  # its four images, all in one fold
    assert len(tested) == 16
    out = capsys.readouterr().out
    assert "protocol casting, fold 2 of 2" in out
    table = [line.split() for line in out.splitlines()]
    assert ["def_front", "ok_front", "all", "castings"] in table
    assert ["test", "16", "(50.0%)", "16", "(50.0%)", "32", "8"] in table
    assert "byte-identical across splits: 0 " in out


def test_fold_none_has_no_test_images(castings, tmp_path, capsys):
    lines = run_by_castings(castings, tmp_path, "--folds", "2", "--fold", "none")
    assert Counter(line["split"] for line in lines) == {"train": 32, "val": 32}
    assert "fold none of 2" in capsys.readouterr().out


def test_the_users_table_of_castings_is_used(castings, tmp_path):
    table = tmp_path / "serial numbers.csv"
    serials = {path: f"serial {name}" for path, name in truth_of(castings).items()}
    lines = ["path,casting", *(f"{path},{name}" for path, name in serials.items())]
    table.write_text("\n".join(lines))
    found = run_by_castings(castings, tmp_path, "--folds", "2", "--castings", str(table))
    assert all(line["casting"] == serials[line["path"]] for line in found)


def test_castings_do_not_change_the_published_split(castings):
    rows, _ = load_split(castings)
    named, _ = load_split(castings, need_castings=True)
    assert {row.casting for row in rows} == {""}
    assert [replace(row, casting="") for row in named] == rows
    truth = truth_of(castings)
    assert all(row.casting == truth[row.path] for row in named)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "casting", "--folds", "2", "--fold", "3"], "--fold 3: there are 2 folds"),
        (["--fold", "2"], "belong to --protocol casting"),
        (["--fold", "none"], "belong to --protocol casting"),
        (["--protocol", "kaggle", "--folds", "3"], "belong to --protocol casting"),
        (["--protocol", "casting", "--castings", "no such file"], "no such file"),
    ],
)
def test_folds_that_do_not_exist_are_refused_and_no_split_is_written(
    castings, tmp_path, arguments, message
):
    with pytest.raises(UserError, match=message) as caught:
        main(["--data", str(castings), "--out", str(tmp_path), *arguments])
    assert caught.value.exit_code == 2
    assert not (tmp_path / "split.csv").exists()


@pytest.mark.parametrize("arguments", [["--fold", "0"], ["--fold", "all"], ["--folds", "1"]])
def test_fold_numbers_out_of_range_are_usage_errors(castings, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--data", str(castings), "--protocol", "casting", *arguments])
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_help_answers_within_half_a_second():
    def seconds():
        start = time.perf_counter()
        script = [sys.executable, str(ROOT / "data_split.py"), "--help"]
        result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
        assert "--protocol" in result.stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5
