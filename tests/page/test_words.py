"""What the page says of a probability and a decision."""

from dataclasses import replace

import pytest

from inspection.predictor import Prediction
from page.words import chance, sentence

PLAIN = Prediction("ok", "defect", 0.53, "def_front", (0.53, 0.47), 0.5, 9.0)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "<0.01"), (0.0049, "<0.01"), (0.005, "0.01"), (0.534, "0.53"),
        (0.9949, "0.99"), (0.995, ">0.99"), (1.0, ">0.99"),
    ],
)  # fmt: skip
def test_no_probability_looks_certain(probability, text):
    assert chance(probability) == text


def test_the_sentence_names_what_decided():
    assert sentence("a", PLAIN, None) == "0.53 lies at or above the threshold 0.50."
    near = replace(PLAIN, decision="ok", prob_defect=0.498)
    assert sentence("a", near, None) == "0.50 lies just below the threshold 0.50."
    equal = replace(PLAIN, prob_defect=0.5)
    assert sentence("a", equal, None) == "0.50 lies at or above the threshold 0.50."
    waits = replace(PLAIN, decision="review")
    assert sentence("a", waits, (0.2, 0.8)) == "0.53 lies between 0.2 and 0.8: a person decides."
    above = replace(PLAIN, prob_defect=1.0)
    assert sentence("a", above, (0.2, 0.8)) == ">0.99 lies above 0.8, where no person is asked."
    just = replace(PLAIN, decision="ok", prob_defect=0.199379)
    assert sentence("a", just, (0.2, 0.8)) == "0.199 lies below 0.2, where no person is asked."
    assert sentence("a", above, (0.1, 0.2)) == ">0.99 lies at or above the threshold 0.50."
