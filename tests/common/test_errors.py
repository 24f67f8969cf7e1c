"""A command says what it has to say on any terminal, and a name in it makes no terminal act."""

import os
import subprocess
import sys

import pytest

from common.files import ROOT

NAMES = ("部品 …", "\udcff\ud800", "\x1b[2J\n\u202e")
SPEAKS = f"""
import sys
from common.arguments import script_parser
from common.errors import UserError, run_script, tell
from common.text import printable
def main():
    parser = script_parser("With a \\u2192 in its help")
    parser.add_argument("--number", type=int)
    if parser.parse_args().number == 1:
        raise UserError("no such folder: " + "".join({NAMES!a}))
    for name in {NAMES!a}:
        print(name if name.isprintable() else printable(name))
        tell(name)
    return 4
run_script(main)
"""


def spoken(*arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess:
    """What the command above says; `shell` redirects or closes its streams."""
    command = ["sh", "-c", f'exec "$0" "$@" {shell}', sys.executable, "-c", SPEAKS, *arguments]
    own = os.environ | {"PYTHONUTF8": "0"} | environment
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["cp1252", "ascii", "C"],
)
def test_a_terminal_without_the_characters_ends_nothing(environment):
    done = spoken(**environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (4, False)
    assert done.stdout.splitlines()[0].startswith(b"\\u90e8\\u54c1 ")
    assert spoken("--help", **environment).returncode == 0


def test_what_a_terminal_would_obey_is_spelt_out():
    done = spoken(PYTHONIOENCODING="utf-8")
    expected = "部品 …\n\\xff\\ud800\n\\x1b[2J\\n\\u202e\n"
    assert (done.stdout.decode(), done.stderr.decode()) == (expected, expected)
    error = spoken("--number", "1", PYTHONIOENCODING="utf-8")
    assert error.stderr.decode() == "error: no such folder: " + expected.replace("\n", "") + "\n"
    assert error.returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(closed):
    done = spoken(shell=closed)
    assert (done.returncode, b"Traceback" in done.stderr) == (4, False)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_output_that_a_full_disk_refuses_is_one_line():
    done = spoken(shell=">/dev/full", PYTHONIOENCODING="utf-8")
    line = "error: cannot write to standard output: No space left on device"
    assert (done.returncode, done.stderr.decode().splitlines()[-1]) == (1, line)


def test_a_wrong_option_is_one_line():
    done = spoken("--number", "three\n\x1b[2J")
    reason = r"argument --number: invalid int value: 'three\n\x1b[2J'; see --help"
    assert (done.returncode, done.stderr.decode()) == (2, f"error: -c: {reason}\n")
