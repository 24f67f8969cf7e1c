"""A busy machine keeps cores for its other work."""

import os

import pytest

from common.arguments import script_parser
from common.threads import VARIABLE, add_threads_argument, limit_threads, thread_count


def test_as_many_threads_as_asked_for_else_one_a_core(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    limit_threads(None)
    assert thread_count() == os.cpu_count()
    limit_threads(3)
    assert thread_count() == 3
    assert os.environ[VARIABLE] == "3"


def test_no_thread_at_all_is_refused(capsys):
    parser = script_parser("")
    add_threads_argument(parser)
    assert parser.parse_args(["--threads", "2"]).threads == 2
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", "0"])
    assert "must be at least 1" in capsys.readouterr().err
