"""Does a split hold out castings, or copies of them? And what does a nearest neighbour tell?"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import tell
from common.files import write_csv, write_json
from common.labels import is_defect
from common.origin import for_product, origin, seen_text
from common.text import count_of
from dataset.audit_figures import plot_audit, plot_copies
from dataset.casting_table import UnknownCastingsError, is_other_product, recognise
from dataset.cautions import both_labels
from dataset.hubs import SIZE_PX
from dataset.listing import ImageRow
from dataset.recognition import SAME_CASTING, Castings, alignment
from dataset.releases import release_counts, releases_text
from dataset.sources import data_name
from imaging.reading import read_framed
from metrics.castings import mostly_defective
from metrics.decisions import DecisionCounts, count_decisions

COLUMNS = ["path", "label", "split", "casting", "best_train_match", "score"]
SHOWN = 4  # castings in copies.png
HELD_OUT = ("val", "test")


def audit(
    root: Path, rows: Sequence[ImageRow], castings: Castings | None
) -> tuple[dict, list[list]]:
    """The content of audit.json, and the lines of audit.csv.

    Args:
        root: the data's folder.
        rows: with split and casting filled in.
        castings: who looks like whom among the images of `rows`; None: they show no rings.
    """
    result = {
        "data": data_name(root),
        **casting_figures(rows),
        "held_out_known": {split: known_castings(rows, split) for split in HELD_OUT},
        "identical_to_train": identical_to_train(rows),
        "identical_with_both_labels": [row.path for row in both_labels(rows)],
    }
    if castings is None:
        return result, [[row.path, row.label, row.split, row.casting, "", ""] for row in rows]
    in_train = np.array([row.split == "train" for row in rows])
    match, score = castings.best_match(in_train)
    lines = [
        [row.path, row.label, row.split, row.casting, rows[m].path if m >= 0 else "", f"{s:.4f}"]
        for row, m, s in zip(rows, match.tolist(), score.tolist(), strict=True)
    ]
    result |= {
        "threshold": SAME_CASTING,
        "copy_lookup": {
            split: nearest_neighbour_baseline(rows, match, [row.split == split for row in rows])
            for split in HELD_OUT
        },
    }
    held_out = [row.split != "train" for row in rows]
    result["copy_lookup"]["val and test"] = nearest_neighbour_baseline(rows, match, held_out)
    return result, lines


def casting_figures(rows: Sequence[ImageRow]) -> dict:
    """How many castings, of which class and size; and the images whose labels disagree."""
    labels = defaultdict(Counter)
    for row in rows:
        labels[row.casting][row.label] += 1
    held_out = Counter(row.casting for row in rows if row.split in HELD_OUT)
    table = [
        {"casting": name, "images": sum(counts.values()), "held_out": held_out[name],
         "labels": dict(sorted(counts.items())), "defective": _mostly_defective(counts),
         "both_labels": len({*map(is_defect, counts)}) > 1}
        for name, counts in labels.items()
    ]  # fmt: skip
    table.sort(key=lambda line: (-line["images"], line["casting"]))
    good = [line for line in table if not line["defective"]]
    mixed = [line for line in table if line["both_labels"]]
    return {
        "images": len(rows),
        "releases": release_counts(rows),
        "castings": len(table),
        "castings_good": len(good),
        "castings_defective": len(table) - len(good),
        "castings_with_both_labels": [line["casting"] for line in mixed],
        "suspected_label_errors": suspects(rows, mixed),
        "casting_table": table,
    }


def _mostly_defective(labels: Counter) -> bool:
    defects = sum(count for label, count in labels.items() if is_defect(label))
    return bool(mostly_defective(defects, labels.total()))


def suspects(rows: Sequence[ImageRow], mixed: Sequence[dict]) -> list[str]:
    """The images outvoted in castings with good and defective ones; a tie takes the good ones."""
    defective = {line["casting"]: line["defective"] for line in mixed}
    return [row.path for row in rows if defective.get(row.casting) == (not is_defect(row.label))]


def known_castings(rows: Sequence[ImageRow], split: str) -> dict:
    """How many images of a split show a casting that is also in train."""
    train = {row.casting for row in rows if row.split == "train"}
    seen = [row.casting in train for row in rows if row.split == split]
    return {"count": sum(seen), "of": len(seen)}


def identical_to_train(rows: Sequence[ImageRow]) -> dict[str, int]:
    """How many validation and test images have the very bytes of a training image."""
    train = {row.sha256 for row in rows if row.split == "train"}
    same = Counter(row.split for row in rows if row.sha256 in train)
    return {split: same[split] for split in HELD_OUT}


def nearest_neighbour_baseline(
    rows: Sequence[ImageRow], match: np.ndarray, chosen: Sequence[bool]
) -> dict:
    """What copying the label of the most alike training image reaches; none alike is a defect."""
    picked = [i for i, wanted in enumerate(chosen) if wanted]
    truth = np.array([is_defect(rows[i].label) for i in picked])
    copied = np.array([match[i] < 0 or is_defect(rows[match[i]].label) for i in picked])
    counts = count_decisions(truth, copied, 1) if picked else DecisionCounts(0, 0, 0, 0)
    castings = {rows[i].casting for i in picked}
    return {
        "images": len(picked),
        "castings": len(castings),
        "counts": asdict(counts),
        "accuracy": counts.right / max(counts.images, 1),
    }


def agreement(rows: Sequence[ImageRow], castings: Castings) -> float:
    """Adjusted Rand index between the castings of `rows` and those recognised on the images."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score([row.casting for row in rows], castings.groups()))


def run_audit(
    root: Path, rows: Sequence[ImageRow], protocol: str, split_sha256: str, out: Path
) -> str:
    """Write audit.json, .csv, .png and copies.png; returns the figures as text for people.

    Where the images show no rings to compare, parts are those of the rows, and nothing is compared.
    """
    castings = compared(root, rows)
    result, lines = audit(root, rows, castings)
    result["protocol"] = protocol
    if castings:
        result["agreement_with_recognised"] = agreement(rows, castings)
    write_json(out / "audit.json", result)
    write_csv(out / "audit.csv", COLUMNS, lines)
    drawn_from = for_product(origin_of(result, split_sha256), result["data"])
    plot_audit(out / "audit.png", result, scores_of(rows, castings), SAME_CASTING, drawn_from)
    if castings:
        draw_copies(root, rows, castings, out / "copies.png", drawn_from)
    else:
        (out / "copies.png").unlink(missing_ok=True)  # of an earlier audit
    return for_product(describe(result), result["data"])


def compared(root: Path, rows: Sequence[ImageRow]) -> Castings | None:
    """Who looks like whom; None where the images show no rings."""
    if is_other_product(root, rows):
        return None
    try:
        return recognise(root, rows)
    except UnknownCastingsError as error:
        tell(f"note: {error}")
        return None


def scores_of(rows: Sequence[ImageRow], castings: Castings | None) -> dict[str, np.ndarray]:
    """Of each image with its likeliest other one: the same casting, or at best another one."""
    if castings is None:
        return {}
    return {
        "the most alike image": castings.scores.max(axis=1),
        "the most alike image of another casting": best_other(rows, castings),
    }


def origin_of(result: dict, split_sha256: str) -> str:
    """What stands below the figures."""
    seen, of = (
        sum(line[key] for line in result["held_out_known"].values()) for key in ("count", "of")
    )
    data = f"data: {result['data']}, {count_of(result['images'], 'image')}"
    known = seen_text(seen, of, "held-out image")
    protocol = result["protocol"]
    return origin("no model", data, known, protocol=protocol, split_sha256=split_sha256)


def best_other(rows: Sequence[ImageRow], castings: Castings) -> np.ndarray:
    """The score of each image (N,) with the most alike image of another casting."""
    _, number = np.unique([row.casting for row in rows], return_inverse=True)
    other = number[castings.partners] != number[:, None]
    best = np.where(other, castings.scores, np.nan)
    best = best[other.any(axis=1)]
    return np.nanmax(best, axis=1)


def draw_copies(
    root: Path, rows: Sequence[ImageRow], castings: Castings, path: Path, drawn_from: str
) -> None:
    """Held-out images beside their most alike training image, and that one moved onto them.

    One image each of the SHOWN castings that have most of them.
    """
    match, score = castings.best_match(np.array([row.split == "train" for row in rows]))
    found: dict[str, int] = {}
    for index, row in enumerate(rows):
        # identical files match as well, but a copy under another light tells more
        identical = row.sha256 == rows[match[index]].sha256
        if row.split != "train" and score[index] >= SAME_CASTING and not identical:
            found.setdefault(row.casting, index)
    sizes = Counter(row.casting for row in rows)
    chosen = sorted(found, key=lambda name: (-sizes[name], name))[:SHOWN]
    lines = []
    for index in (found[name] for name in chosen):
        here, there = (read_framed(root / rows[i].path, SIZE_PX) for i in (index, match[index]))
        _, movement = alignment(here, there)
        movement[:, 2] += 0.5 - movement[:, :2].sum(axis=1) / 2  # Pillow counts from the corner
        affine, smooth = Image.Transform.AFFINE, Image.Resampling.BICUBIC
        moved = Image.fromarray(there).transform(here.shape[::-1], affine, movement.ravel(), smooth)
        lines.append(
            [
                (here, f"{rows[index].split}\n{Path(rows[index].path).name}"),
                (there, f"train\n{Path(rows[match[index]].path).name}"),
                (np.asarray(moved), f"the same, moved onto it\ncorrelation {score[index]:.2f}"),
            ]
        )
    if lines:
        plot_copies(path, lines, "Held-out images, and what train shows", drawn_from)


def baseline_line(result: dict) -> str:
    """What a nearest neighbour reaches, or why nobody knows."""
    if "copy_lookup" not in result:
        return "no nearest-neighbour baseline: these images show no ring to compare castings by"
    found = result["copy_lookup"]["val and test"]
    counts = found["counts"]
    return (
        "nearest-neighbour baseline (the label of the most alike training image): "
        f"{100 * found['accuracy']:.2f} % of {found['images']} held-out images right; "
        f"{counts['missed']}/{counts['defects']} defects missed, "
        f"{counts['false_alarms']}/{counts['good']} false alarms"
    )


def describe(result: dict) -> str:
    """The audit in a few lines."""
    both = result["castings_with_both_labels"]
    lines = [f"releases: {releases_text(result['releases'])}"] if result["releases"] else []
    lines += [
        f"castings: {result['castings']}, of them {result['castings_good']} good and "
        f"{result['castings_defective']} defective; the largest has "
        f"{count_of(result['casting_table'][0]['images'], 'image')}, the smallest "
        f"{count_of(result['casting_table'][-1]['images'], 'image')}"
    ]
    for split, name in (("val", "validation"), ("test", "test")):
        known, same = result["held_out_known"][split], result["identical_to_train"][split]
        lines.append(
            f"{name}: {known['count']} of {known['of']} images "
            f"({100 * known['count'] / max(known['of'], 1):.1f} %) show a casting that is also in "
            f"train; {same} are byte-identical to a training image"
        )
    lines.append(baseline_line(result))
    for name in both:
        labels = next(line for line in result["casting_table"] if line["casting"] == name)["labels"]
        shares = ", ".join(f"{count} {label}" for label, count in labels.items())
        lines.append(f"both labels: {name} ({shares}); suspected label errors are in audit.json")
    if result["identical_with_both_labels"]:
        count = count_of(len(result["identical_with_both_labels"]), "image")
        lines.append(f"two labels: {count} with byte-identical copies under another, in audit.json")
    if result.get("agreement_with_recognised", 1) < 1:
        lines.append(
            "agreement of the given castings with those recognised on the images: adjusted Rand "
            f"index {result['agreement_with_recognised']:.4f}"
        )
    return "\n".join(lines)
