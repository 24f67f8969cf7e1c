def adaptation_of(session, balanced):
    draw = {
        "castings": ["a", "b", "c"], "good": 40, "defective": 60,
        "before": {"auc": 0.9, "balanced": 0.6, "missed": 3, "rejected": 30, "reviewed": 100},
    }  # fmt: skip
    later = {"known_worse": 8, "known_better": 2, "known_balanced": 0.9, "seconds": 101.0}
    draws = [
        draw
        | {way: draw["before"] | later | {"balanced": value} for way in ("threshold", "network")}
        for value in balanced
    ]
    return {
        "benchmark": "adapt", "session": session, "photographs": 10, "draws": draws,
        "machine": {"device": "a CPU", "gpu": False, "threads": 2}, "data": "castings",
        "known": {"photographs": 400},
    }  # fmt: skip


def test_an_adaptation_is_published_by_its_session(pages):
    publish(pages, adaptation_of("dark", [0.5, 0.9]))
    text = publish(pages, adaptation_of("light", [0.8]))
    assert "0.700 (0.50)" in text
    assert "0.800 (0.80)" in text
    assert "75.0 %" in text  # of the good ones rejected
    assert "| 2.0 % | 101 |" in text
    again = publish(pages, adaptation_of("dark", [0.6]))
    assert "0.700 (0.50)" not in again
    assert "0.800 (0.80)" in again
