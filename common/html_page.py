"""Reports as one HTML file each, without links to others: to open, mail and print."""

import base64
import html
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

from common.files import ROOT

FRAME = Path(__file__).with_name("page.html")
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")  # whose versions are told


def html_page(title: str, body: str) -> str:
    """A whole page around its body, which is HTML."""
    frame = Template(FRAME.read_text(encoding="utf-8"))
    return frame.substitute(title=html.escape(title), body=body)


def section(title: str, *parts: str) -> str:
    """A heading and what belongs to it, HTML; empty where nothing does."""
    body = "\n".join(part for part in parts if part)
    return f"<h2>{escaped(title)}</h2>\n{body}\n" if body else ""


def paragraph(text: str, kind: str = "") -> str:
    """Text as it is; of the kind 'warning' it stands out."""
    marked = f' class="{kind}"' if kind else ""
    return f"<p{marked}>{escaped(text)}</p>" if text else ""


def escaped(text: str) -> str:
    """As HTML; no line begins with a percent sign, and no path tells whose machine it was."""
    return html.escape(portable(text)).replace(" %", "&nbsp;%")


def portable(text: str, project: Path = ROOT, home: Path | None = None) -> str:
    """A text whose paths begin at the project's folder, or at ~; for pages that are mailed."""
    for folder, short in ((project, ""), (home or Path.home(), "~/")):
        if folder != Path(folder.anchor):
            text = re.sub(rf"(?<![\w./-]){re.escape(folder.as_posix())}/", short, text)
    return text


def html_code(text: str) -> str:
    """Commands to copy."""
    return f"<pre>{escaped(text)}</pre>"


def html_table(head: Iterable, rows: Iterable[Iterable]) -> str:
    """Rows of cells; without a header where none of its cells holds anything."""

    def line(cells: Iterable, tag: str) -> str:
        return "".join(f"<{tag}>{escaped(str(cell))}</{tag}>" for cell in cells)

    head = list(head)
    first = f"<tr>{line(head, 'th')}</tr>" if any(head) else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table>{first}{body}</table>"


def html_facts(facts: Mapping[str, object]) -> str:
    """Names and values, one a line; what is None is left out."""
    return html_table(("", ""), ((k, v) for k, v in facts.items() if v is not None))


def html_picture(data: bytes, alt: str) -> str:
    """A PNG or JPEG within the page."""
    kind = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    text = base64.b64encode(data).decode()
    return f'<img alt="{escaped(alt)}" src="data:image/{kind};base64,{text}">'


def html_figure(path: Path, caption: str, tall: bool = False) -> str:
    """A picture in a file with what it shows; empty where there is none.

    Args:
        tall: printed, it may fill a page; else two are on one.
    """
    if not path.is_file():
        return ""
    picture = html_picture(path.read_bytes(), caption)
    kind = ' class="tall"' if tall else ""
    return f"<figure{kind}>{picture}<figcaption>{escaped(caption)}</figcaption></figure>"


def made_by(command: str) -> str:
    """The page's last lines: when, by which command and with what it was made."""
    versions = [f"Python {sys.version.split()[0]}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    when = datetime.now().astimezone().isoformat(" ", "minutes")
    text = f"{when}, by {command}; {', '.join(versions)}"
    return f"<footer>{escaped(text)}</footer>"
