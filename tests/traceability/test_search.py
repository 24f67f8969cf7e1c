"""Records are found, the newest first, with a person's latest word."""

import pytest

from traceability.log import InspectionLog, Record
from traceability.search import search


def record(number: int, decision: str = "ok", **values) -> Record:
    status = "ok" if decision else "error"
    base = {
        "station": "line 3", "lot": "A17", "file": f"{number}.jpeg", "sha256": f"{number:064x}",
        "status": status, "model": "m" * 64, "threshold": 0.5,
        "prob_defect": 0.2 if decision else None, "decision": decision,
        "predicted_class": "ok_front", "brightness": 120.0, "latency_ms": 9.0,
        "time": f"2026-11-{number + 1:02d}T10:00:00.000Z",
    }  # fmt: skip
    return Record(**base | values)


@pytest.fixture
def log(tmp_path):
    with InspectionLog(tmp_path / "log.db", "create") as log:
        log.append(
            [
                record(1),
                record(2, "defect", lot="A18"),
                record(3, "review"),
                record(4, ""),
                record(5, "review", station="line 4", serial="S5"),
            ]
        )
        yield log


def ids(found) -> list[int]:
    return [one.id for one in found]


def test_the_newest_come_first_and_pages_do_not_overlap(log):
    first = search(log, limit=2)
    assert ids(first) == [5, 4]
    log.append([record(6)])  # does not shift the next page
    assert ids(search(log, limit=2, before=first[-1].id)) == [3, 2]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"outcomes": ["defect"]}, [2]),
        ({"outcomes": ["defect", "review"]}, [5, 3, 2]),
        ({"outcomes": ["error"]}, [4]),
        ({"station": "line 4"}, [5]),
        ({"lot": "A18"}, [2]),
        ({"number": 4}, [4]),
        ({"serial": "S5"}, [5]),
        ({"serial": ""}, [4, 3, 2, 1]),
        ({"sha256": f"{3:064x}"}, [3]),
        ({"since": "2026-11-04", "until": "2026-11-06"}, [4, 3]),
        ({"lot": "A17", "outcomes": ["ok"], "since": "2026-11-03"}, []),
    ],
)
def test_filters_hold_together(log, wanted, expected):
    assert ids(search(log, **wanted)) == expected


def test_fields_are_those_of_the_record(log):
    (found,) = search(log, sha256=f"{2:064x}")
    wanted = record(2, "defect", lot="A18")
    assert {name: getattr(found, name) for name in vars(wanted)} == vars(wanted)


def test_a_person_ends_the_waiting_and_the_latest_word_counts(log):
    assert ids(search(log, awaiting=True)) == [5, 3]
    log.add_disposition(3, "defect", "Huber")
    log.add_disposition(3, "ok", "Maier", "a stain")
    assert ids(search(log, awaiting=True)) == [5]
    log.append([record(5, "review"), record(3, "review")])  # the same photographs again
    assert ids(search(log, awaiting=True)) == [6]
    (found,) = search(log, number=3)
    assert (found.person_says.verdict, found.person_says.person) == ("ok", "Maier")
    assert found.person_says.note == "a stain"
    assert search(log, number=5)[0].person_says is None
