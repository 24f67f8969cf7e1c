"""Lot and serial number are read where they are, and what cannot be read costs no part."""

import argparse
import os
from pathlib import Path

import pytest

from inspection.name_pattern import name_pattern
from inspection.origin import Origin, Origins


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("{lot}_{serial}_*", "A17_S0042_2", {"lot": "A17", "serial": "S0042"}),
        ("{lot}_{serial}", "A17_S0042_2", {"lot": "A17", "serial": "S0042_2"}),
        ("cam*-{serial}", "cam3-x-7", {"serial": "x-7"}),
        ("{serial}", "a b.c", {"serial": "a b.c"}),
        ("L{lot}.{serial}", "L7.9", {"lot": "7", "serial": "9"}),
        ("*_{serial}_*", "_9_", {"serial": "9"}),
        ("{lot}_{serial}_*", "A17_S0042", None),
        ("{lot}_{serial}_*", "__", None),
        ("L{lot}.*", "l7.1", None),
        ("L{lot}.*", "L7_1", None),
    ],
)
def test_a_pattern_reads_names(pattern, name, expected):
    assert name_pattern(pattern).read(name) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "neither"),
        ("*", "neither"),
        ("{station}_{lot}", "no field {station}"),
        ("{}_{lot}", "no field {}"),
        ("{lot}_{lot}", "once"),
        ("{lot}{serial}", "between"),
        ("{lot}*", "between"),
        ("**_{lot}", "between"),
        ("{lot}/{serial}", "folders"),
        ("{lot", "neither"),
        ("{lot}_{serial", "braces"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(pattern, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        name_pattern(pattern)


@pytest.fixture
def part(tmp_path) -> Path:
    return tmp_path / "A17_S1_2.jpeg"


def test_a_name_that_does_not_match_leaves_both_empty_and_says_so(part):
    origins = Origins(pattern=name_pattern("{lot}_{serial}_*"))
    assert origins.of(part) == Origin("A17", "S1")
    found = origins.of(part.with_name("IMG0001.jpeg"))
    assert (found.lot, found.serial, found.is_final) == ("", "", True)
    assert "does not match {lot}_{serial}_*: no lot and serial" in found.note


@pytest.mark.parametrize(
    ("text", "lot", "serial"),
    [
        ('{"lot": "B2", "serial": "S9"}', "B2", "S9"),
        ('\ufeff{"serial": 42, "camera": {"gain": 2.5}}', "A17", "42"),
        ('{"lot": " B\\n2\\u001b ", "serial": ""}', "B2", ""),
        ('{"Lot": "B2", "SERIAL": "S9"}', "B2", "S9"),
    ],
)
def test_a_side_car_goes_before_the_name(part, text, lot, serial):
    part.with_suffix(".json").write_text(text, encoding="utf-8")
    origins = Origins(pattern=name_pattern("{lot}_{serial}_*"), sidecars=True)
    assert origins.of(part) == Origin(lot, serial)


def test_a_side_car_that_names_neither_is_told(part):
    part.with_suffix(".json").write_text('{"charge": "B2"}')
    found = Origins("A17", name_pattern("*_{serial}_*"), sidecars=True).of(part)
    assert (found.lot, found.serial, found.is_final) == ("A17", "S1", True)
    assert found.note == "A17_S1_2.json names neither lot nor serial"


@pytest.mark.parametrize(
    "content",
    [b"", b'{"lot": "B2"', b"[]", b'"B2"', b'{"lot": ["B2"]}', b'{"lot": true}', b"\xff\xfe",
     b'{"serial": 1.5}', b'{"lot": null}', b" " * 70_000, b"[" * 50_000,
     b'{"serial": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_a_damaged_side_car_is_told_and_may_still_be_completed(part, content):
    part.with_suffix(".json").write_bytes(content)
    found = Origins("A17", sidecars=True).of(part)
    assert (found.lot, found.serial, found.is_final) == ("A17", "", False)
    assert "no side-car A17_S1_2.json: it is damaged" in found.note


def test_a_side_car_that_is_no_file_keeps_nobody_waiting(part):
    assert Origins(sidecars=True).of(part).note == "no side-car A17_S1_2.json"
    os.mkfifo(part.with_suffix(".json"))
    found = Origins(sidecars=True).of(part)
    assert "not a regular file" in found.note
