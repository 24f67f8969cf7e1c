"""The folder of models: what is in use, the way back, and that a kill leaves it consistent."""

import json

import pytest

from common.errors import UserError
from common.files import sha256_of_file
from traceability import models as models_module
from traceability.models import FOUND, PROMOTED, REFUSED, ROLLED_BACK, Models


@pytest.fixture
def folder(tmp_path):
    return Models(tmp_path / "models")


@pytest.fixture
def first(tmp_path):
    (tmp_path / "first.pth").write_bytes(b"first")
    return tmp_path / "first.pth"


def promoted(models, parent, content):
    """The SHA-256 of a model with this content, in use instead of the parent."""
    with models.changing():
        models.candidate.write_bytes(content)
        models.candidate.with_suffix(".adaptation.json").write_text("{}")
        return models.promote(parent, sha256_of_file(parent), {"promoted": True})


def rolled_back(models):
    with models.changing():
        return models.roll_back()


def contents(models):
    return {path.name: path.read_bytes() for path in models.folder.iterdir()}


def test_every_model_that_was_in_use_is_kept_and_each_step_is_told(folder, first):
    one, two = sha256_of_file(first), promoted(folder, first, b"second")
    assert folder.current.read_bytes() == b"second"
    assert folder.kept(one).read_bytes() == b"first"
    assert folder.kept(two).read_bytes() == b"second"
    assert not folder.candidate.exists()
    assert folder.kept(two).with_suffix(".adaptation.json").exists()
    found = [(event.event, event.sha256, event.before) for event in folder.history()]
    assert found == [(FOUND, one, ""), (PROMOTED, two, one)]
    lines = (folder.folder / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["comparison"] == {"promoted": True}


def test_rolling_back_restores_the_old_bytes_further_each_time(folder, first):
    promoted(folder, first, b"second")
    promoted(folder, folder.current, b"third")
    for content in (b"second", b"first"):
        before = sha256_of_file(folder.current)
        assert rolled_back(folder) == (before, sha256_of_file(folder.current))
        assert folder.current.read_bytes() == content
    with pytest.raises(UserError, match="knows of no model before") as error:
        rolled_back(folder)
    assert error.value.exit_code == 2
    assert [event.event for event in folder.history()][-2:] == [ROLLED_BACK, ROLLED_BACK]
    promoted(folder, folder.current, b"fourth")
    rolled_back(folder)
    assert folder.current.read_bytes() == b"first"


def test_a_refused_candidate_stays_and_is_no_step(folder, first):
    promoted(folder, first, b"second")
    with folder.changing():
        folder.candidate.write_bytes(b"worse")
        folder.refuse(sha256_of_file(folder.current), {"promoted": False})
    assert folder.current.read_bytes() == b"second"
    assert folder.history()[-1].event == REFUSED
    rolled_back(folder)
    assert folder.current.read_bytes() == b"first"


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("change", ["promote", "first", "roll back"])
def test_a_kill_between_any_two_steps_leaves_the_old_model_or_the_new_one(
    folder, first, monkeypatch, step, change
):
    """And, whichever it is, both ways go on from there."""
    parent = first
    if change != "first":
        promoted(folder, first, b"second")
        parent = folder.current
    old = parent.read_bytes()
    written, write = [], models_module.write_atomic

    def killed(path, data):
        if len(written) == step:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, data)

    monkeypatch.setattr(models_module, "write_atomic", killed)
    try:
        rolled_back(folder) if change == "roll back" else promoted(folder, parent, b"third")
    except KeyboardInterrupt:
        new = None
    else:
        new = b"first" if change == "roll back" else b"third"
    monkeypatch.undo()
    if new is None and change == "first":
        assert not folder.current.exists()
    else:
        assert folder.current.read_bytes() == (new or old)
    parent = folder.current if folder.current.exists() else first
    present = parent.read_bytes()
    assert folder.events(sha256_of_file(parent))[-1].sha256 == sha256_of_file(parent)
    promoted(folder, parent, b"fourth")
    assert folder.current.read_bytes() == b"fourth"
    rolled_back(folder)
    assert folder.current.read_bytes() == present
    if change != "first" and present != b"first":
        rolled_back(folder)
        assert folder.current.read_bytes() == (b"second" if present == b"third" else b"first")


def test_a_model_that_somebody_put_there_is_kept_and_noted(folder, first):
    two = promoted(folder, first, b"second")
    folder.current.write_bytes(b"by hand")
    hand = sha256_of_file(folder.current)
    rolled_back(folder)
    assert sha256_of_file(folder.current) == two
    assert folder.kept(hand).read_bytes() == b"by hand"
    assert [event.event for event in folder.history()] == [FOUND, PROMOTED, FOUND, ROLLED_BACK]


def test_bytes_that_are_not_the_old_ones_are_not_put_into_use(folder, first):
    promoted(folder, first, b"second")
    folder.kept(sha256_of_file(first)).write_bytes(b"damaged")
    before = contents(folder)
    with pytest.raises(UserError, match="is not what it was"):
        rolled_back(folder)
    folder.kept(sha256_of_file(first)).unlink()
    with pytest.raises(UserError, match="cannot read"):
        rolled_back(folder)
    assert folder.current.read_bytes() == before["current.pth"]


def test_a_parent_that_was_replaced_meanwhile_is_not_followed(folder, first):
    with folder.changing():
        folder.candidate.write_bytes(b"second")
        with pytest.raises(UserError, match="was replaced meanwhile"):
            folder.promote(first, "0" * 64, {})
    assert not folder.current.exists()


def test_the_second_run_on_a_folder_refuses(folder):
    with folder.changing(), pytest.raises(UserError, match="another run is changing"):
        with folder.changing():
            pass


def test_another_model_than_the_one_in_use_is_not_taken_silently(folder, first):
    assert folder.in_use(None) is None
    assert folder.in_use(first) == first
    promoted(folder, first, b"second")
    assert folder.in_use(None) == folder.in_use(folder.kept(sha256_of_file(folder.current)))
    with pytest.raises(UserError, match="is the model in use, not --checkpoint"):
        folder.in_use(first)


@pytest.mark.parametrize("text", ["{", "[]", '{"time": 7}', '{"time": "", "more": 1}', "\xff"])
def test_a_damaged_history_is_one_line(folder, text):
    folder.folder.mkdir()
    (folder.folder / "history.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="is not a history of models"):
        folder.history()
