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


@pytest.mark.parametrize("count", ["0", "100000", "two"])
def test_a_count_that_makes_no_sense_is_refused_with_that_of_the_cores(capsys, count):
    parser = script_parser("")
    add_threads_argument(parser)
    assert parser.parse_args(["--threads", "2"]).threads == 2
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", count])
    told = capsys.readouterr().err
    assert f"not '{count}'" in told
    assert f"this machine has {os.cpu_count()} core" in told
