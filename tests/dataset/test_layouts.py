"""Three layouts are taken as they are; of any other one line says what to do."""

import pytest
from builders import make_plates

from common.errors import UserError
from dataset.layouts import Layout, layout_of, learns_from_good_only, root_below


def test_class_folders_alone(tmp_path):
    make_plates(tmp_path, {"ok": 1, "hole": 1})
    (tmp_path / "parts.csv").touch()
    assert root_below(tmp_path, "--data", "") == tmp_path
    assert layout_of(tmp_path) == Layout({"": ""})
    assert not layout_of(tmp_path).has_parts


@pytest.mark.parametrize("validation", ["", "val", "valid", "validation"])
def test_training_and_test_with_and_without_validation(tmp_path, validation):
    for part in filter(None, ("train", "test", validation)):
        make_plates(tmp_path / part, {"ok": 1, "hole": 1})
    layout = layout_of(root_below(tmp_path, "--data", ""))
    assert layout.has_validation == bool(validation)
    assert layout.parts == {"train": "train", "test": "test"} | (
        {"val": validation} if validation else {}
    )


def test_good_parts_alone_to_train_on(tmp_path):
    make_plates(tmp_path / "train", {"good": 1})
    make_plates(tmp_path / "test", {"good": 1, "hole": 1})
    (tmp_path / "ground_truth" / "hole").mkdir(parents=True)
    assert learns_from_good_only(tmp_path)
    assert not learns_from_good_only(tmp_path, "other")
    (tmp_path / "train" / "bad").mkdir()
    assert learns_from_good_only(tmp_path)
    make_plates(tmp_path / "train", {"bad": 1})
    assert not learns_from_good_only(tmp_path)


def test_a_named_class_is_good(tmp_path):
    make_plates(tmp_path, {"normal": 1})
    assert learns_from_good_only(tmp_path, "normal")
    assert not learns_from_good_only(tmp_path)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([""], "holds photographs themselves; .*move them there"),
        (["train/ok", "train/hole"], "no folder test/ beside train/; .*train: then whole parts"),
        (["test/ok"], "no folder train/ beside test/"),
        (["monday/ok", "monday/hole"], "two folders down, in monday/hole first.*monday say"),
        (["nothing/below/here/ok"], "no photographs; a folder a class is expected"),
        (["masks", "_old", ".cache"], "no photographs; a folder a class is expected"),
    ],
)
def test_any_other_layout_is_refused_with_advice(tmp_path, folders, said):
    for name in folders:
        make_plates(tmp_path / name, {"": 1})
    with pytest.raises(UserError, match=f"--data: {tmp_path} .*{said}") as caught:
        root_below(tmp_path, "--data", "")
    assert "\n" not in str(caught.value)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(UserError, match=r"no such folder: .*x; ask$"):
        root_below(tmp_path / "x", "--data", "ask")
