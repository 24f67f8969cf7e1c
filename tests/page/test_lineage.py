"""What the page says of the folder of models: the line, the candidate, and how they compared."""

import json

from adaptation.promotion import FROZEN, KINDS, VERDICTS, Comparison, Group
from page.lineage import (
    SOURCES,
    candidate_text,
    comparison_rows,
    comparison_title,
    line_text,
    row_of,
)
from traceability.models import FOUND, PROMOTED, REFUSED, ROLLED_BACK, Event

A, B, C = (letter * 64 for letter in "abc")


def comparison(wrong):
    """As the history holds it: read from JSON."""
    groups = [Group(source, kind, 10, 8, 0, 1) for source in SOURCES for kind in KINDS]
    groups[0] = Group(VERDICTS, "good", 10, 9, wrong, 0)
    groups[1] = Group(VERDICTS, "defective", 0, 0, 0, 0)
    return json.loads(json.dumps(Comparison(groups).as_dict()))


def event(what, sha256, before, wrong=None):
    found = None if wrong is None else comparison(wrong)
    return Event("2026-11-27T10:20:30.400Z", what, sha256, before, found)


def test_the_line_ends_in_the_model_in_use():
    events = [event(FOUND, A, ""), event(PROMOTED, B, A, 0), event(REFUSED, C, B, 6)]
    assert line_text(events) == f"{A[:12]} → **{B[:12]}**"
    assert line_text([*events, event(ROLLED_BACK, A, B)]) == f"**{A[:12]}**"


def test_the_page_and_the_test_name_the_same_sources():
    assert SOURCES == (VERDICTS, FROZEN)


def test_a_line_of_the_history_tells_both_figures():
    row = row_of(event(PROMOTED, B, A, 0))
    assert row["at, UTC"] == "2026-11-27 10:20"
    assert row["right on verdicts"] == "9 → 9 of 10"
    assert row["right on frozen castings"] == "16 → 18 of 20"
    assert row_of(event(FOUND, A, ""))["right on verdicts"] == ""


def test_the_candidate_is_told_with_its_reasons_until_another_is_promoted():
    refused = event(REFUSED, C, B, 6)
    text = candidate_text([refused])
    assert "verdicts, good: 6 became wrong, 0 right" in text.replace("\\", "")
    assert candidate_text([refused, event(PROMOTED, B, A, 0)]) == ""
    assert candidate_text([event(FOUND, A, "")]) == ""
    assert comparison_title(refused).endswith(f"candidate {C[:12]}, not promoted")
    rows = comparison_rows(refused)
    assert rows[0]["photographs of"] == "verdicts, good"
    assert (rows[0]["right before"], rows[0]["right now"], rows[0]["became wrong"]) == (9, 3, 6)
    assert rows[1]["become wrong at most"] == "-"
