"""Pages of app.py run without a browser, and what they say."""

import io
import zipfile

from streamlit.testing.v1 import AppTest

from page.frame import MENU_SCRIPT, STYLE
from traceability.log import InspectionLog, Record
from traceability.schema import TABLES
from traceability.search import search

OWN = (f"<style>{STYLE}</style>", f"<script>{MENU_SCRIPT}</script>")


def page(name: str) -> AppTest:
    """One page, run once."""
    script = f"import app\nfrom page import {name}\napp.start()\n{name}.show()\n"
    at = AppTest.from_string(script, default_timeout=60).run()
    assert not at.exception
    return at


def text_of(at: AppTest) -> str:
    """All that a page says, without its own style and script."""
    kinds = (at.info, at.warning, at.error, at.success, at.caption, at.markdown, at.subheader)
    said = [str(one.value) for kind in kinds for one in kind]
    said += [one.proto.body for one in at.get("html") if one.proto.body not in OWN]
    return "\n".join(said).replace("\\", "")


def metrics(at: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in at.metric}


def upload(at: AppTest, key: str, files: list[tuple[str, bytes]]) -> AppTest:
    at.file_uploader(key=key).set_value([(name, data, "image/jpeg") for name, data in files])
    at.run()
    assert not at.exception
    return at


def recorded(path) -> list[tuple]:
    with InspectionLog(path) as log:
        return list(log.query("SELECT file, decision, prob_defect, station, lot FROM inspections"))


def verdicts(path) -> list[tuple]:
    with InspectionLog(path) as log:
        return list(log.query("SELECT inspection_id, verdict, person FROM verdicts"))


def replace_record(log: InspectionLog, **changes) -> Record:
    """The first record of a log, changed."""
    (first,) = search(log, number=1)
    return Record(**{name: getattr(first, name) for name in TABLES["inspections"]} | changes)


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return data.getvalue()
