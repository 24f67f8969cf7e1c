"""Parts that wait for a person, wherever they were inspected."""

import io

import numpy as np
import pytest
from page_runs import page, text_of, upload
from PIL import Image

from traceability.log import InspectionLog


def test_a_part_in_the_band_waits_until_a_person_has_spoken(options, paths, log_path):
    options("--review", "0", "1")
    at = upload(page("inspect"), "photographs", [(p.name, p.read_bytes()) for p in paths[:2]])
    assert "A person decides" in text_of(at)
    later = page("inspect")  # another visitor, another day
    assert "Waiting for a person: 2" in text_of(later)
    later.button(key="Defect 2").click().run()
    assert "give a name" in text_of(later)
    later.text_input(key="person for waiting").set_value("Huber")
    later.button(key="Defect 2").click().run()
    assert not later.exception
    assert "Waiting for a person: 1" in text_of(later)
    with InspectionLog(log_path) as log:
        assert list(log.query("SELECT inspection_id, verdict, person FROM verdicts")) == [
            (2, "defect", "Huber")
        ]


@pytest.mark.parametrize("mode", ["I;16", "L"])
def test_a_waiting_part_of_any_kind_is_shown(options, paths, log_path, mode):
    options("--review", "0", "1")
    data = io.BytesIO()
    grey = np.asarray(Image.open(paths[0]).convert("L"))
    image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey)
    image.save(data, "png")
    upload(page("inspect"), "photographs", [("part.png", data.getvalue())])
    at = page("inspect")
    assert "Waiting for a person: 1" in text_of(at)
    assert len(at.get("image")) == 1


def test_a_part_inspected_twice_waits_once(options, paths, log_path):
    options("--review", "0", "1")
    for _ in range(2):
        upload(page("inspect"), "photographs", [(paths[0].name, paths[0].read_bytes())])
    assert "Waiting for a person: 1" in text_of(page("inspect"))
