"""Which classes are good: by their names, or because a person says so."""

import pytest

from common.labels import ANY_DEFECT, is_defect, label_of


@pytest.mark.parametrize("name", ["ok", "OK_front", "ok teile", "good", "Good-ones"])
def test_names_that_say_good(name):
    assert not is_defect(name)
    assert label_of(name) == name


@pytest.mark.parametrize("name", ["bad", "not_ok", "nok", "defect", "crack", "ng", "broken"])
def test_all_others_are_defects(name):
    assert is_defect(name)
    assert label_of(name, good_only=True) == ANY_DEFECT


def test_where_a_person_names_the_good_classes_labels_say_so():
    good = "normal/ok_painted"
    labels = {
        name: label_of(name, good) for name in ("normal", "ok_painted", "ok_scratched", "chip")
    }
    assert labels == {
        "normal": "ok_normal", "ok_painted": "ok_painted", "ok_scratched": "bad_ok_scratched",
        "chip": "chip",
    }  # fmt: skip
    assert [is_defect(label) for label in labels.values()] == [False, False, True, True]
    assert label_of("ok_scratched", good, good_only=True) == ANY_DEFECT
