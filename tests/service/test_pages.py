"""The page at / and the page /docs: what they say, to whom, and that they need no other host."""

import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from html import unescape

import pytest
import uvicorn
from starlette.testclient import TestClient

from service.application import create_app
from service.runtime import ServiceSettings

HOME = "http://127.0.0.1:8000"
KEY = "a secret"


def pages(predictor, tmp_path, **settings) -> TestClient:
    app = create_app(ServiceSettings(log=tmp_path / "log.db", **settings), predictor)
    return TestClient(app, base_url=HOME)


def commands(page: str) -> list[list[str]]:
    """The command lines of a page, as a shell splits them."""
    return [shlex.split(unescape(one)) for one in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]


def test_the_page_shows_model_and_state_and_a_request_to_paste(predictor, tmp_path):
    with pages(predictor, tmp_path) as client:
        answer = client.get("/")
        assert answer.headers["content-type"].startswith("text/html")
        assert "noindex" in answer.text
        assert "noindex" in answer.headers["x-robots-tag"]
        assert "Ready" in answer.text
        assert predictor.model_id in answer.text
        assert "Research only: " in answer.text  # its parts are castings
        first, photograph = commands(answer.text)
        assert first == ["curl", f"{HOME}/v1/model"]
        assert client.get(first[1]).json()["model"] == predictor.model_id
        assert photograph[-1] == f"{HOME}/v1/predict"
        for link in re.findall(r'href="([a-z.]+)"', answer.text):
            assert client.get(f"/{link}").status_code == 200, link


def test_the_page_of_a_service_with_a_key_reveals_nothing_of_the_model(predictor, tmp_path):
    with pages(predictor, tmp_path, api_key=KEY) as client:
        for headers in ({}, {"X-API-Key": KEY}):
            page = client.get("/", headers=headers).text
            assert predictor.model_id not in page
            assert not any(name in page for name in predictor.checkpoint.class_names)
            assert KEY not in page
        first, _ = commands(page)
        assert first[:3] == ["curl", "-H", "X-API-Key: $CASTING_API_KEY"]


def test_the_page_says_why_no_parts_are_taken(predictor, tmp_path, monkeypatch):
    with pages(predictor, tmp_path) as client:
        (tmp_path / "log.db").rename(tmp_path / "elsewhere")
        assert "Not ready: the log is not the file" in client.get("/").text


def test_an_odd_host_neither_breaks_the_page_nor_the_command(predictor, tmp_path):
    with pages(predictor, tmp_path, api_key=KEY) as client:
        page = client.get("/", headers={"Host": "a;<script>$(id)"}).text
        assert "<script>" not in page
        assert all(one[-1].startswith("http://") for one in commands(page))


def test_the_documents_are_served_without_a_key_and_from_here_alone(predictor, tmp_path):
    with pages(predictor, tmp_path, api_key=KEY) as client:
        page = client.get("/docs")
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "http" not in policy + page.text
        files = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
        assert len(files) == 2
        for name in files:
            answer = client.get(f"/{name}")
            assert answer.status_code == 200
            assert len(answer.content) > 100_000
        for unknown in ("/docs/redoc.standalone.js", "/docs/nothing", "/docs/..%2fcore.py"):
            assert client.get(unknown).status_code == 401
            assert client.get(unknown, headers={"X-API-Key": KEY}).status_code == 404


@pytest.mark.slow
def test_the_documents_are_shown_in_a_browser_that_has_no_network(predictor, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium; on Debian: apt install chromium")
    app = create_app(ServiceSettings(log=tmp_path / "log.db"), predictor)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.02)
            options = [
                "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom",
            ]  # fmt: skip
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/docs"
            shown = subprocess.run(
                [chromium, *options, url], capture_output=True, text=True, timeout=120
            ).stdout
        finally:
            server.should_exit = True
            thread.join()
    for text in ("Inspect one photograph", "Figures for Prometheus", "Photographs in"):
        assert text in shown
