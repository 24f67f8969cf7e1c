"""What the page says of the model: where an adapted one comes from."""

from metrics.exact import exact_rate
from page.model import lineage_text


def test_the_lineage_names_the_model_before_and_what_it_was_adapted_by():
    adaptation = {
        "parent": "0123456789abcdef",
        "mode": "network",
        "good": [{}] * 10,
        "defective": [],
        "figures": {"held_out": {"parts": exact_rate(1, 4)}},
    }
    text = lineage_text(adaptation)
    assert "Model 0123456789ab, tuned" in text
    assert "10 photographs of good parts" in text
    assert "1/4 = 25.00 %" in text
    assert "defective" not in text
    moved = adaptation | {"mode": "threshold", "defective": [{}] * 2, "figures": {"held_out": None}}
    assert "another threshold" in lineage_text(moved)
    assert "and 2 of defective ones" in lineage_text(moved)
    assert "rejected" not in lineage_text(moved)
    assert "persons decided" not in lineage_text(moved)
    assert "persons decided" in lineage_text(moved | {"verdicts": {}})
