"""The released model's card, from released.json and docs/results.json."""

from string import Template

from common.files import ROOT
from dataset.releases import FIRST, releases_text
from evaluation.published import folds_of, probe_text
from metrics.decisions import format_rate
from metrics.exact import certificate, certificate_text
from metrics.review import review_text

NETWORK_NAMES = {
    "resnet18": "ResNet-18",
    "local": "Two stages of a narrow ResNet, logits for each cell, mean of the most suspicious",
    "multiscale": "Four stages of a narrow ResNet, logits of cells of two sizes and of the whole",
}


TEMPLATE = ROOT / "docs" / "MODEL_CARD.template.md"


def model_card(released: dict, results: dict) -> str:
    """The card's text, from released.json and docs/results.json.

    Raises:
        UserError: no figures of the recipe's folds have been published.
    """
    recipe = released["training"]["recipe"]
    run = folds_of(recipe, results)
    (tier,) = run["tiers"].values()
    point, val = released["operating_point"], released["validation"]
    by_image, by_casting, auc = tier["rates"], tier["per_casting"], tier["roc_auc"]
    alarms = by_casting["false_alarms"]
    values = {
        **{key: released[key] for key in ("head", "image_size_px", "epoch", "sha256")},
        "network": NETWORK_NAMES[released["architecture"]],
        "weights": released["training"]["weights"],
        "recipe": recipe,
        "folds": len(auc["folds"]),
        "images": f"{tier['images']:,}",
        "releases": releases_text(tier.get("releases") or {FIRST: tier["images"]}),
        "sessions": session_lines(tier),
        "review": review_lines(run),
        "castings": tier["castings"],
        "good": tier["castings_good"],
        "image_missed": format_rate(by_image["missed_defects"]),
        "image_alarms": format_rate(by_image["false_alarms"]),
        "image_right": format_rate(by_image["accuracy"]),
        "casting_missed": format_rate(by_casting["missed_defects"]),
        "casting_alarms": format_rate(alarms),
        "casting_right": format_rate(by_casting["accuracy"]),
        "auc": f"{auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
        "each_auc": ", ".join(f"{value:.3f}" for value in auc["folds"]),
        "both": ", ".join(tier["both_labels"]) or "none",
        "intervals": run["intervals"],
        "single_good": alarms["of"],
        "alarms_low": f"{100 * alarms['low']:.0f}",
        "alarms_high": f"{100 * alarms['high']:.0f}",
        "certificate": certificate_text(certificate(alarms["count"], alarms["of"])),
        **{key: f"{point[key]:.4f}" for key in ("threshold", "threshold_low", "threshold_high")},
        "temperature": f"{point['temperature']:.2f}",
        "aim": aim_text(point["min_recall"]),
        "probe": probe_text(results).replace("\n", " ").strip(),
        "val_castings": val["castings"],
        "val_good": val["castings_good"],
        "val_images": f"{val['images']:,}",
        "val_missed": f"{val['missed']} of {val['defects']}",
        "val_alarms": f"{val['false_alarms']} of {val['good']}",
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def session_lines(tier: dict) -> str:
    """One line a photo session of the figures, or one that only one session is known."""
    lines = [
        f"* Session {name}, {found['images']:,} images of {found['castings']} castings, "
        f"{found['castings_good']} of them good: missed "
        f"{format_rate(found['rates']['missed_defects'])}, false alarms "
        f"{format_rate(found['rates']['false_alarms'])}, ROC-AUC {found['roc_auc']['mean']:.3f}."
        for name, found in tier.get("by_session", {}).items()
    ]
    return "\n".join(lines or ["All photographs are of one session."])


def review_lines(run: dict) -> str:
    """What a review band would change, of all images and of each session."""
    lines = []
    for band in run.get("review", {}).values():
        lines.append(f"With `--review {band['low']:g} {band['high']:g}`: {review_text(band)}")
        sessions = band.get("by_session", {})
        lines += [f"session {key}: {review_text(one)}" for key, one in sessions.items()]
    return ";\n".join(lines) + "." if lines else "A review band was not measured."


def aim_text(min_recall: float | None) -> str:
    """How the threshold was placed, in the card's words."""
    if min_recall is None:
        return (
            "where the odds are even by a logistic curve through the scores of the validation "
            "parts, good parts and defects, and in either each casting, weighing alike"
        )
    return (
        f"the largest threshold that catches {100 * min_recall:g} % of the defects, castings "
        "weighted alike"
    )
