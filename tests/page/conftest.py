"""The options of app.py, as the tests of its pages set them."""

import shlex

import pytest

import app


@pytest.fixture
def log_path(tmp_path):
    return tmp_path / "line.db"


@pytest.fixture
def options(trained, dividing_threshold, log_path, monkeypatch):
    """A function that sets the options of app.py; those of the fixtures and more."""

    def options(*more: str) -> None:
        own = ["--checkpoint", str(trained / "best.pth"), "--device", "cpu"]
        own += ["--threshold", repr(dividing_threshold), "--log", str(log_path), *more]
        monkeypatch.setenv(app.OPTIONS_VARIABLE, shlex.join(own))

    options()
    return options
