"""Reports are one file each: no link to another, nothing that a name in them could start."""

import re
from pathlib import Path

import pytest

from common.html_page import (
    html_facts,
    html_figure,
    html_page,
    html_table,
    made_by,
    paragraph,
    portable,
    section,
)

ODD = '<script>alert("$body")</script>'


def linked(page: str) -> list[str]:
    """What a page takes from outside itself."""
    found = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import', page)
    return [link for pair in found for link in pair if not link.startswith("data:image/")]


def test_no_line_begins_with_a_percent_sign():
    assert "12&nbsp;%" in html_table((), [("12 %",)])
    assert "12&nbsp;%" in paragraph("12 % of them")


def test_paths_in_a_page_begin_at_the_project_or_at_home(tmp_path):
    text = f"python test.py --data {tmp_path}/me/data --out={tmp_path}/me/project/results"
    found = portable(text, tmp_path / "me" / "project", tmp_path / "me")
    assert found == "python test.py --data ~/data --out=results"
    assert portable(text, tmp_path / "elsewhere", Path("/")) == text


def test_names_are_text_wherever_they_stand(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    body = [
        paragraph(ODD, "warning"),
        section(ODD, html_facts({ODD: ODD, "left out": None})),
        html_table((ODD, ""), [(ODD, 1)]),
        html_figure(tmp_path / "a.png", ODD),
        made_by(ODD),
    ]
    page = html_page(ODD, "".join(body))
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 11
    assert "left out" not in page
    assert not [link for link in linked(page) if link]


@pytest.mark.parametrize(("start", "kind"), [(b"\x89PNG", "png"), (b"\xff\xd8", "jpeg")])
def test_a_picture_is_within_the_page_and_has_a_text(tmp_path, start, kind):
    path = tmp_path / "picture"
    assert html_figure(path, "nothing there") == ""
    path.write_bytes(start + b"...")
    figure = html_figure(path, "errors")
    assert f"data:image/{kind};base64," in figure
    assert 'alt="errors"' in figure
    assert "<figcaption>errors</figcaption>" in figure


def test_a_section_without_anything_is_left_out():
    assert section("Pictures", "", "") == ""
    assert html_table(("", ""), [("a", 1)]) == "<table><tr><td>a</td><td>1</td></tr></table>"


def test_the_last_lines_tell_date_command_and_versions():
    text = made_by("python test.py --split val")
    assert re.search(
        r"\d{4}-\d\d-\d\d \d\d:\d\d[+-]\d\d:\d\d, by python test\.py --split val", text
    )
    for name in ("Python", "torch", "numpy"):
        assert re.search(rf"{name} \d+\.\d+", text)
