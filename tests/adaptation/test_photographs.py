"""What is made of a folder of photographs: parts, copies, framing, and drawn defects."""

from dataclasses import replace

import numpy as np
import pytest
from builders import checkpoint_of

from adaptation.earlier import split_by_part
from adaptation.photographs import framing, read_photographs, sorted_out
from adaptation.scoring import drawn_on
from common.errors import UserError
from tests.conftest import rendered


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four castings, three photographs of each, large enough to be recognised."""
    root = tmp_path_factory.mktemp("line")
    return rendered(root / "c", castings=4, copies=3, photos=1, unseen_castings=0,
                    image_size_px=300)  # fmt: skip


@pytest.fixture(scope="module")
def photographs(folder):
    files = sorted(folder.rglob("cast*.jpeg"))
    return read_photographs(files, checkpoint_of(["def", "ok"], size_px=64))


def test_photographs_of_a_part_are_recognised_and_copies_left_out(photographs):
    found = sorted_out([*photographs, photographs[0]], None)
    assert found.recognised
    assert found.count == 4
    assert sorted(found.parts.count(part) for part in set(found.parts)) == [3, 3, 3, 3]
    ((path, reason),) = found.left_out
    assert path == photographs[0].path
    assert reason.startswith("the same picture")
    assert "12 photographs of 4 parts" in found.describe()


def test_parts_without_a_hub_count_one_by_one(photographs):
    noise = np.random.default_rng(0).integers(90, 110, (300, 300)).astype(np.uint8)
    others = [replace(one, small=np.roll(noise, n)) for n, one in enumerate(photographs[:3])]
    found = sorted_out(others, None)
    assert not found.recognised
    assert found.count == 3
    assert "cannot be recognised" in found.describe()


def test_framing_is_said_to_be_even_or_not(photographs):
    assert framing(photographs[:1]).startswith("the parts lie alike")
    moved = photographs[0].measures | {"hub_size": 2 * photographs[0].measures["hub_size"]}
    assert framing([photographs[0], replace(photographs[0], measures=moved)]).startswith(
        "the parts do not lie alike"
    )
    assert "unknown" in framing([replace(photographs[0], measures={})])


def test_no_part_of_the_line_before_is_learned_and_tested(photographs):
    labels = ["def_front" if "def" in one.path.parent.name else "ok_front" for one in photographs]
    found = split_by_part(photographs, labels)
    known = {one.pixels.tobytes() for one in photographs}
    taught = {pixels.tobytes() for pixels in found.lesson.pixels}
    tested = {pixels.tobytes() for pixels in found.pixels}
    assert taught | tested == known
    assert not taught & tested
    assert set(found.lesson.labels) == {"def_front", "ok_front"}
    assert 0 < found.is_defect.sum() < len(found.is_defect)
    assert len(set(found.lesson.parts)) == 2


def test_defects_are_drawn_alike_on_all_photographs_and_measured(photographs):
    pixels = np.stack([one.pixels for one in photographs])
    parts = [one.path.name for one in photographs]
    found, again = (drawn_on(pixels, parts, seed=3) for _ in range(2))
    assert (found.images == again.images).all()
    counts = np.bincount(found.photograph, minlength=len(pixels))
    assert counts.min() >= 0.5 * counts.max()
    assert (found.width > 0).all()
    assert (found.width < 0.5).all()


def test_of_very_many_photographs_equally_many_of_each_part_get_defects(photographs):
    pixels = np.stack([photographs[0].pixels] * 220)
    found = drawn_on(pixels, ["a"] * 200 + ["b"] * 20, seed=3)
    assert len(found.photograph) <= 160
    assert (found.photograph >= 200).sum() >= 15


def test_a_line_before_without_parts_to_test_is_refused(photographs):
    labels = ["ok_front"] * (len(photographs) - 1) + ["def_front"]
    with pytest.raises(UserError, match="--old: good and defective parts"):
        split_by_part(photographs, labels)
