"""What a review band leaves to a person, and what it leaves wrong."""

from builders import evaluation_of

from metrics.review import review_band, review_text


def test_the_review_band_is_counted_as_by_hand():
    probabilities = [0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 0.2]
    kinds = ["defect", "defect", "defect", "ok", "ok", "ok", "ok"]
    images = [
        f"c{n} {k} {p} 5 no" for n, (p, k) in enumerate(zip(probabilities, kinds, strict=True))
    ]
    # 0.3 is in the band and 0.7 is not; outside it 0.1 is missed, 0.7 and 0.9 are false alarms
    assert review_band(evaluation_of(*images).parts, 0.3, 0.7) == {
        "low": 0.3,
        "high": 0.7,
        "images": 7,
        "for_review": 3,
        "missed_outside": 1,
        "false_alarms_outside": 2,
    }


def test_a_review_band_counts_each_session_alone():
    images = (
        "a defect .1 5 no dark", "b defect .4 5 no dark", "c ok .2 5 no dark",
        "d ok .9 5 no light", "e ok .4 5 no light", "f defect .1 5 no",
    )  # fmt: skip
    found = review_band(evaluation_of(*images).parts, 0.3, 0.7)
    assert review_text(found) == "2 of 6 for a person; outside it 2 missed, 1 false alarms"
    dark, light = (review_text(found["by_session"][name]) for name in ("dark", "light"))
    assert dark == "1 of 3 for a person; outside it 1 missed, 0 false alarms"
    assert light == "1 of 2 for a person; outside it 0 missed, 1 false alarms"
