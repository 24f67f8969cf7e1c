"""A model's file is loaded anew when it is another one; what cannot be used changes nothing."""

import shutil
import signal
import time
from dataclasses import replace

import pytest
from builders import promote

from common.errors import UserError
from inspection import model_file as model_files
from inspection.model_file import ModelFile, change_text, reload_on_hangup
from inspection.predictor import load_predictor
from model import load_checkpoint, save_checkpoint


@pytest.fixture
def old(model_file):
    return model_file.load()


def test_only_another_file_is_loaded(model_file, old, another):
    assert not model_file.is_due()
    promote(another, model_file.path)
    assert model_file.is_due()
    new = model_file.reload(old)
    assert new.sha256 == load_predictor(another, "cpu").sha256
    assert not model_file.is_due()
    change, caution = change_text(old, new).split("; ")
    assert change == f"model {old.model_id} -> {new.model_id}, threshold 0.500 -> 0.900"
    assert "do not sort parts with it" in caution


def test_a_file_that_is_replaced_while_it_is_loaded_is_loaded_again(trained, another, tmp_path):
    path = tmp_path / "current.pth"
    shutil.copy(trained / "best.pth", path)

    def load():
        predictor = load_predictor(path, "cpu")
        promote(another, path)
        return predictor

    file = ModelFile(path, load)
    file.load()
    assert file.is_due()


def test_the_disk_is_asked_once_a_second(model_file, old, another, monkeypatch):
    monkeypatch.setattr(model_files, "LOOK_S", 0.2)
    assert not model_file.is_due()
    promote(another, model_file.path)
    assert not model_file.is_due()
    time.sleep(0.21)
    assert model_file.is_due()


def test_a_signal_has_the_same_file_loaded_once(model_file, old):
    model_file.ask()
    assert model_file.is_due()
    assert model_file.reload(old).sha256 == old.sha256
    assert not model_file.is_due()


def write(data: bytes):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        write(b""),
        write(b"no model" * 100),
    ],
    ids=["gone", "half written", "empty", "something else"],
)
def test_what_cannot_be_used_is_tried_once_until_it_changes(model_file, old, another, spoil):
    spoil(model_file.path)
    assert model_file.is_due()
    with pytest.raises(UserError, match=f"model {old.model_id} goes on, the new one is no use"):
        model_file.reload(old)
    assert not any(model_file.is_due() for _ in range(3))
    promote(another, model_file.path)
    assert not model_file.is_due()  # it may still be being written
    assert model_file.is_due()
    assert model_file.reload(old).sha256 != old.sha256


def test_other_classes_need_a_restart(model_file, old, another):
    checkpoint = load_checkpoint(another)
    names = [name.replace("front", "back") for name in checkpoint.class_names]
    save_checkpoint(model_file.path, replace(checkpoint, class_names=names))
    with pytest.raises(UserError, match="it knows the classes def_back, ok_back"):
        model_file.reload(old)
    assert not any(model_file.is_due() for _ in range(3))


def test_the_description_may_come_after_the_model(model_file, another):
    old_description = model_file.path.with_suffix(".json")
    save_checkpoint(model_file.path, load_checkpoint(model_file.path))
    old = model_file.load()
    promote(another, model_file.path)
    with pytest.raises(UserError, match="is not the file that"):
        model_file.reload(old)
    promote(another.with_suffix(".json"), old_description)
    assert [model_file.is_due() for _ in range(2)] == [False, True]
    assert model_file.reload(old).threshold == 0.9
    old_description.touch()
    assert not model_file.is_due()


def test_a_bug_while_loading_does_not_end_the_inspection(model_file, old, monkeypatch):
    def broken():
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(model_file, "_load", broken)
    with pytest.raises(UserError, match="RuntimeError: CUDA out of memory"):
        model_file.reload(old)


@pytest.fixture
def signals():
    """Handlers are as they were afterwards."""
    names = (signal.SIGHUP, signal.SIGTERM)
    before = [signal.getsignal(name) for name in names]
    yield
    for name, handler in zip(names, before, strict=True):
        signal.signal(name, handler)


def test_sighup_asks_and_ends_the_program_only_when_its_terminal_is_gone(
    model_file, old, signals, monkeypatch
):
    ended, terminal = [], [True]
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    monkeypatch.setattr(model_files, "has_terminal", lambda: terminal[0])
    reload_on_hangup(model_file)
    signal.raise_signal(signal.SIGHUP)
    assert model_file.is_due()
    model_file.load()
    terminal[0] = False
    signal.raise_signal(signal.SIGHUP)
    assert (ended, model_file.is_due()) == ([True], False)
    reload_on_hangup(model_file)  # started without one, as by systemd
    signal.raise_signal(signal.SIGHUP)
    assert (ended, model_file.is_due()) == ([True], True)
