"""What a review band would change: a person decides the parts whose probability lies in it."""

from metrics.decisions import Parts


def review_band(parts: Parts, low: float, high: float) -> dict:
    """What happens when a person decides all parts with `low` <= P(defect) < `high`.

    `by_session` holds the same of each session if two are known.
    """
    inside = (parts.prob_defect >= low) & (parts.prob_defect < high)
    rest = parts.chosen(~inside).counts
    sessions = {
        name: review_band(parts.chosen(mask), low, high) for name, mask in parts.by_session.items()
    }
    return {
        "low": low,
        "high": high,
        "images": len(inside),
        "for_review": int(inside.sum()),
        "missed_outside": rest.missed,
        "false_alarms_outside": rest.false_alarms,
        **({"by_session": sessions} if sessions else {}),
    }


def review_text(band: dict) -> str:
    """'7 of 181 for a person; outside it 0 missed, 0 false alarms'."""
    return (
        f"{band['for_review']:,} of {band['images']:,} for a person; outside it "
        f"{band['missed_outside']} missed, {band['false_alarms_outside']} false alarms"
    )
