"""The command starts the page, which answers to its own names."""

import shlex
import sys
import tomllib

import pytest
from streamlit.web import cli

import app
from common.errors import UserError
from common.files import ROOT


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], app.LOCAL),
        (["--host", "localhost"], app.LOCAL),
        (["--allow-host", "a.example", "--allow-host", "b"], (*app.LOCAL, "a.example", "b")),
        (["--host", "0.0.0.0"], ("*",)),
        (["--host", "10.1.2.3", "--allow-host", "a"], (*app.LOCAL, "10.1.2.3", "a")),
    ],
)
def test_the_page_answers_to_its_own_names_only(arguments, names):
    assert app.hosts(app.build_parser().parse_args(arguments)) == list(names)


def test_streamlit_run_answers_to_the_same_names():
    own = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]
    assert own["allowedHosts"] == list(app.LOCAL)


def test_the_command_starts_streamlit_with_its_options(trained, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(cli, "main", lambda command, prog_name: started.append(command))
    monkeypatch.setenv(app.OPTIONS_VARIABLE, "")
    own = ["--checkpoint", str(trained / "best.pth"), "--log", str(tmp_path / "a b.db")]
    app.main([*own, "--port", "8600"])
    assert started[0][:2] == ["run", str(ROOT / "app.py")]
    assert started[0][-2:] == ["--server.port", "8600"]
    assert shlex.split(app.os.environ[app.OPTIONS_VARIABLE])[:4] == own
    assert started[0].count("--server.allowedHosts") == len(app.LOCAL)
    with pytest.raises(UserError, match="no such checkpoint"):
        app.main(["--checkpoint", "gone.pth"])
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        app.main([])
