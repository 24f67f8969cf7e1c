"""The page in a real browser: open, upload, read the prediction, speak, look."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from common.files import ROOT
from inspection.predictor import load_predictor
from page.words import chance
from traceability.log import InspectionLog

pytestmark = pytest.mark.slow
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
STILL = """[document.scrollingElement, document.querySelector('.stMain')]
    .every(one => one.scrollWidth <= one.clientWidth + 1)"""  # nothing to be moved sideways
UNDO_IS = """enabled => {
    const buttons = [...document.querySelectorAll('.st-key-undo button')];
    return buttons.length && buttons.every(one => one.disabled !== enabled); }"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium; on Debian: apt install chromium")
    with playwright.sync_playwright() as engine:
        quiet = ["--disable-background-networking", "--disable-component-update"]
        browser = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *quiet]
        )
        yield browser
        browser.close()


@pytest.fixture
def address(trained, tmp_path):
    """Where the page is served, by a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, str(ROOT / "app.py"), "--port", str(port), "--review", "0", "1",
        "--checkpoint", str(trained / "best.pth"), "--log", str(tmp_path / "line.db"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health").close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def answer_to_handshake(address: str, host: str, origin: str) -> int:
    """The status with which the page's websocket is opened or refused."""
    port = int(address.rpartition(":")[2])
    lines = [
        "GET /_stcore/stream HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
        f"Host: {host.format(port=port)}", f"Origin: {origin.format(port=port)}", "", "",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(64).split()[1])


def test_a_web_page_elsewhere_cannot_use_the_page(address):
    own = ("127.0.0.1:{port}", "http://127.0.0.1:{port}")
    assert answer_to_handshake(address, *own) == 101
    assert answer_to_handshake(address, "localhost:{port}", "http://localhost:{port}") == 101
    assert answer_to_handshake(address, "evil.example:{port}", "http://evil.example:{port}") == 403
    assert answer_to_handshake(address, own[0], "http://evil.example") == 403
    assert answer_to_handshake(address, own[0], "null") == 403


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_open_upload_read_speak_and_look(browser, address, trained, castings, tmp_path, size):
    part = next((castings / "test").rglob("*.jpeg"))
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, has_touch=size != SIZES["desktop"]
    )
    page.set_default_timeout(90_000)  # the first visitor waits for PyTorch
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(re.match(r"\w+:(//[^/]*)?", request.url)[0]))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(part)
    page.get_by_role("status").filter(has_text="Review").wait_for(timeout=60_000)
    (direct,) = load_predictor(trained / "best.pth").predict([part])
    page.get_by_text(f"{chance(direct.prob_defect)} lies between").wait_for()
    image = page.locator("[data-testid=stImage] img").first
    image.wait_for()
    page.wait_for_timeout(500)
    for box in (image.bounding_box(), page.locator(".verdict").bounding_box()):
        assert box["y"] + box["height"] <= size[1]  # above the fold
    page.screenshot(path=tmp_path / "inspect.png", full_page=True)
    assert page.evaluate(STILL)

    # What is told of the next upload is seen, however far down its sender is
    page.locator(".stMain").evaluate("main => main.scrollTo(0, main.scrollHeight)")
    pdf = {"name": "order.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}
    page.locator("input[type=file]").first.set_input_files(pdf)
    told = page.get_by_text("order.pdf is a PDF, no photograph")
    told.wait_for()
    page.wait_for_function("document.querySelector('.stMain').scrollTop === 0")
    assert told.bounding_box()["y"] < size[1]

    # By keyboard alone; a letter in a field is no decision
    page.keyboard.press("d")
    name = page.get_by_role("dialog").get_by_role("textbox", name="Your name")
    name.and_(page.locator(":focus")).wait_for()  # the cursor is in it
    page.screenshot(path=tmp_path / "name.png")
    page.keyboard.type("Gerd Ud")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Gerd Ud").wait_for()
    page.get_by_role("status").filter(has_text="Gerd Ud says: Defect").wait_for()
    page.wait_for_function(UNDO_IS, arg=True)  # it comes after the decision
    page.keyboard.press("u")
    page.get_by_role("status").filter(has_text="Review").wait_for()
    page.wait_for_function(UNDO_IS, arg=False)
    page.keyboard.press("d")
    page.get_by_role("status").filter(has_text="Gerd Ud says: Defect").wait_for()
    with InspectionLog(tmp_path / "line.db") as log:
        words = [(verdict, "Gerd Ud") for verdict in ("defect", "withdrawn", "defect")]
        assert list(log.query("SELECT verdict, person FROM verdicts")) == words

    signs = {
        "Review": "No part waits for a person.",
        "Batch": "Folder of photographs, up to 32 MB each",
        "Process": "Parts",
        "Model": "Trained on",
    }
    for name, sign in signs.items():
        menu = page.get_by_test_id("stExpandSidebarButton")
        if menu.is_visible():  # on a phone the pages are behind it
            menu.click()
        page.get_by_role("link", name=name).first.click()
        page.get_by_text(sign, exact=True).first.wait_for(timeout=60_000)
        page.get_by_test_id("stSidebarCollapseButton").wait_for(state="hidden")  # the menu closes
        page.wait_for_timeout(500)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        assert page.locator("[data-testid=stException]").count() == 0
        assert page.evaluate(STILL), name
        assert page.evaluate("[...document.images].every(image => image.alt)")
        assert page.get_by_role("heading", level=1).inner_text() == "Casting inspection"
    page.close()
    assert errors == []
    assert {host for host in hosts if host.startswith(("http", "ws"))} <= {
        address, address.replace("http", "ws"),
    }  # fmt: skip
