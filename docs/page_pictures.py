"""Pictures of pages in a browser: the views of app.py, and the head of a report."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.errors import EXIT_FAILURE, UserError
from common.files import ROOT

NEEDS = "pip install -r requirements-dev.txt; on Debian: apt install chromium"
DESKTOP, PHONE = (1280, 840), (390, 844)
PATIENCE_S = 600.0  # on a busy machine
STILL_MS = 1500  # until nothing on a page moves any more


@contextmanager
def open_browser() -> Iterator:
    """Chromium, which shows light pages of this machine.

    Raises:
        UserError: it is not there, or Playwright is not.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError(f"pictures of pages need playwright: {NEEDS}") from None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise UserError(f"pictures of pages need chromium: {NEEDS}")
    with sync_playwright() as engine:
        quiet = ["--disable-background-networking", "--disable-component-update"]
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *quiet]
        )
        yield browser
        browser.close()


@contextmanager
def served(options: Sequence[str | Path], env: dict[str, str], said: Path) -> Iterator[str]:
    """The address of app.py with these options, which runs meanwhile and writes to `said`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), *map(str, options)]
    with said.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/_stcore/health", process, said)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str, process: subprocess.Popen, said: Path) -> None:
    """Return when a server answers.

    Raises:
        UserError: it has ended, or it does not answer.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.5)
    last = said.read_text().strip().rpartition("\n")[2]
    raise UserError(f"app.py does not answer: {last}", EXIT_FAILURE)


class Visitor:
    """Somebody who has the page open in a window of this size."""

    def __init__(self, browser, address: str, size: tuple[int, int]):
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.page.goto(address)
        self.page.get_by_test_id("stMain").get_by_text("Choose photographs").first.wait_for()

    def turn_to(self, name: str, sign: str) -> None:
        """Open another view, and wait until a text is on it."""
        menu = self.page.get_by_test_id("stExpandSidebarButton")
        if menu.is_visible():  # on a phone the views are behind it
            menu.click()
        self.page.get_by_role("link", name=name).first.click()
        self.page.get_by_text(sign).first.wait_for()

    def upload(self, path: Path | Sequence[Path]) -> None:
        """Give files, or a folder, to the page."""
        self.page.locator("input[type=file]").first.set_input_files(path)

    def press(self, name: str) -> None:
        """Press a button whose name begins so."""
        self.page.get_by_role("button", name=name).first.click()

    def wait_for(self, text: str) -> None:
        """Wait until a text is on the page."""
        self.page.get_by_text(text).first.wait_for()

    def take_picture(self, path: Path) -> None:
        """What the window shows when all is drawn, from the top."""
        self.page.get_by_test_id("stStatusWidget").wait_for(state="detached")
        self.page.mouse.move(5, 5)  # no button looks touched
        self.page.evaluate("document.activeElement.blur()")
        self.page.get_by_test_id("stMain").evaluate("element => element.scrollTo(0, 0)")
        self.page.wait_for_timeout(STILL_MS)
        self.page.screenshot(path=path)

    def leave(self) -> None:
        """Close the window."""
        self.page.close()


def take_report(browser, report: Path, size: tuple[int, int], path: Path) -> None:
    """The head of a report."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(report.as_uri())
    page.screenshot(path=path)
    page.close()
