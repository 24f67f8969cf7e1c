"""Published figures come from files that scripts wrote, and go into the README unchanged."""

import json

import pytest

from common.errors import UserError
from common.files import ROOT
from evaluation import publish as results
from evaluation.publish import PARTS


@pytest.fixture
def pages(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "docs" / "results.json")
    reference = json.loads((ROOT / "docs" / "results.json").read_text())["reference"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.json").write_text(
        json.dumps({"reference": reference, "runs": {"folds": FOLDS}})
    )
    for page in {part.page for part in PARTS}:
        own = [part for part in PARTS if part.page == page]
        text = "\nbetween\n".join(f"{p.marks[0]}\nold {p.name}\n{p.marks[1]}" for p in own)
        (tmp_path / page).write_text(f"before\n{text}\nafter\n")
    return tmp_path


def rate(count, of, low, high):
    return {"count": count, "of": of, "rate": count / of, "low": low, "high": high}


def metrics(tier="test", protocol="kaggle", **counts):
    counts = {"defects": 241, "missed": 3, "good": 117, "false_alarms": 1} | counts
    rates = {
        "missed_defects": rate(counts["missed"], counts["defects"], 0.001, 0.05),
        "false_alarms": rate(counts["false_alarms"], counts["good"], 0.0, 0.04),
        "accuracy": rate(354, 358, 0.97, 1.0),
    }
    auc = {"mean": 0.98765, "low": 0.9, "high": 1.0, "folds": [0.98, 0.99], "pooled": 0.97}
    by_casting = {
        "missed_defects": rate(2, 40, 0.01, 0.17),
        "false_alarms": rate(5, 10, 0.19, 0.81),
        "accuracy": rate(43, 50, 0.7, 0.9),
    }
    figures = {
        "images": 358, "castings": 51, "castings_good": 11, "counts": counts, "rates": rates,
        "roc_auc": auc, "per_casting": by_casting, "both_labels": ["a"],
        "confusion_matrix": [[1, 2], [3, 4]],
    }  # fmt: skip
    run = {"data": "castings", "protocol": protocol, "weights": "none", "recipe": "small"}
    return run | {"tiers": {tier: figures}}


# With the tier's name of earlier versions, which stays readable
FOLDS = metrics("castings never seen", "casting") | {"recipe": "robust"}


def text_of(pages) -> str:
    """All pages, one behind the other."""
    return "".join((pages / page).read_text() for page in sorted({part.page for part in PARTS}))


def publish(pages, content, *options) -> str:
    (pages / "figures.json").write_text(json.dumps(content))
    assert results.main([*options, str(pages / "figures.json")]) == 0
    return text_of(pages)


def marks(name) -> tuple[str, str]:
    return next(part.marks for part in PARTS if part.name == name)


AUDIT = {
    "images": 7000,
    "castings": 120,
    "castings_good": 20,
    "casting_table": [{"casting": "a"}],
    "held_out_known": {"val": {"count": 9, "of": 10}, "test": {"count": 95, "of": 100}},
    "identical_to_train": {"val": 3, "test": 4},
    "copy_lookup": {
        "val and test": {
            "images": 110,
            "counts": {"defects": 60, "missed": 1, "good": 50, "false_alarms": 0},
            "accuracy": 109 / 110,
        }
    },
}


def test_the_reference_stands_there_with_its_known_figures(pages):
    assert results.main([]) == 0
    line = next(x for x in text_of(pages).splitlines() if "published sys" in x)
    for figure in ("356/358", "99.44 %", "2/241", "0/117"):
        assert figure in line


def test_a_run_is_added_and_the_rest_of_the_page_stays(pages):
    text = publish(pages, metrics(), "--name", "ours")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old results" not in text
    assert "old leak" in text  # no audit has been published
    row = next(line for line in text.splitlines() if "| ours" in line)
    assert "from scratch, no ImageNet weights" in row
    assert "354/358" in row
    assert "3/241 = 1.24 % (0.10 to 5.0)" in row
    assert "0.988 (0.900 to 1.000)" in row
    stored = json.loads((pages / "docs" / "results.json").read_text())
    assert "confusion_matrix" not in stored["runs"]["ours"]["tiers"]["test"]


def test_unseen_castings_get_a_line_by_image_and_one_by_casting(pages):
    text = publish(pages, metrics("unseen castings", "casting"), "--name", "small")
    by_image, by_casting = [line for line in text.splitlines() if "| small" in line]
    assert all("| **unseen castings**, 2 folds" in line for line in (by_image, by_casting))
    assert text.count("| **unseen castings**, 2 folds") == 4  # and those of the earlier version
    assert "2 folds: 358 images" in by_image
    assert "by casting: 50 castings" in by_casting  # the one with both labels is left out
    assert "2/40 = 5.0 % (1.00 to 17.0)" in by_casting
    assert "5/10 = 50.0 %" in by_casting
    assert "43/50" in by_casting


def test_unseen_castings_of_two_sessions_get_a_line_each_and_name_their_releases(pages):
    content = metrics("unseen castings", "casting")
    (tier,) = content["tiers"].values()
    tier["by_session"] = {"dark": dict(tier, images=100), "light": dict(tier, images=258)}
    tier["releases"] = {"casting_data": 315, "casting_512x512": 43}
    page = publish(pages, content, "--name", "Ours")
    assert "| **unseen castings**, 2 folds, session dark: 100 images | Ours" in page
    assert "| **unseen castings**, 2 folds, session light: 258 images | Ours" in page
    assert (
        "'Ours' pools both releases: casting_data 315 images, casting_512x512 43 images, " in page
    )
    assert "without the 1,257 kept for an examination." in page


def test_corrected_labels_get_a_line_of_their_own(pages):
    content = metrics("unseen castings", "casting")
    corrected = metrics("unseen castings", missed=1)["tiers"]
    content["corrected_labels"] = {"images_changed": 24, "tiers": corrected}
    page = publish(pages, content, "--name", "Ours")
    (line,) = [line for line in page.splitlines() if "24 labels corrected: 358 images" in line]
    assert "1/241 = 0.41 %" in line
    assert "confusion_matrix" not in (pages / "docs" / "results.json").read_text().split("Ours")[1]


def test_publishing_again_replaces_the_row(pages):
    for missed in (3, 1):
        text = publish(pages, metrics(missed=missed), "--name", "ours")
    assert text.count("| ours") == 1
    assert "1/241" in text


def test_an_audit_gives_the_baselines_row_and_the_text_about_the_leak(pages):
    text = publish(pages, AUDIT)
    assert (
        "| nearest-neighbour baseline, nothing learned | 1/60 = 1.67 % | 0/50 = 0.00 % | 109/110"
        in text
    )
    leak = text.split(marks("leak")[0])[1]
    for figure in (
        "7,000 images",
        "120 castings, 20 of them good",
        "95 of the 100",
        "7 of the 110",
    ):
        assert figure in leak
    assert "109 of 110 right: 99.09 %" in leak
    assert "356/358" in leak
    headline = text.split(marks("headline")[0])[1].split(marks("headline")[1])[0]
    assert "| 356/358 = 99.44 %, but" in headline
    assert "| 109/110 = 99.09 % |" in headline
    assert "**98.88 %** (95 % interval: 97.0 to 100.0) of 358: trust this one" in headline
    assert "casting_table" not in (pages / "docs" / "results.json").read_text()


def test_probes_give_a_sentence_below_the_table(pages):
    auc = {"mean": 0.81, "low": 0.7, "high": 0.9}
    probes = {"unmodified": {"roc_auc": auc}, "ring gone": {"roc_auc": auc | {"mean": 0.49}}}
    verdict = {"shortcut": False}
    text = publish(pages, {"probes": probes, "verdict": verdict, "images": 1000})
    table = text.split(marks("results")[0])[1].split(marks("results")[1])[0]
    assert "is 0.49 (0.70 to 0.90), where whole images give 0.81 (0.70 to 0.90)" in table
    assert "no shortcut was found" in table


def test_the_probes_sentence_names_the_models_it_is_about(pages):
    publish(pages, metrics() | {"checkpoints": {"1": "ab"}}, "--name", "Net A")
    publish(pages, metrics() | {"checkpoints": {"1": "cd"}}, "--name", "Net B")
    auc = {"mean": 0.81, "low": 0.7, "high": 0.9}
    probes = {"unmodified": {"roc_auc": auc}, "ring gone": {"roc_auc": auc}}
    found = {"probes": probes, "verdict": {"shortcut": True}, "images": 9}
    page = publish(pages, found | {"checkpoints": {"1": "cd"}})
    assert "the models of 'Net B' decide by light and background" in page
    # Less than whole images tell, but more than nothing
    found["probes"]["ring gone"] = {"roc_auc": {"mean": 0.65, "low": 0.55, "high": 0.75}}
    page = publish(pages, found | {"checkpoints": {"1": "cd"}})
    assert "light and background are part of what the models of 'Net B' decide by" in page


def test_bad_calls_give_one_line_and_change_nothing(pages):
    before = (pages / "docs" / "results.json").read_text(), text_of(pages)
    with pytest.raises(UserError, match="no such file"):
        results.main(["--name", "x", str(pages / "gone.json")])
    with pytest.raises(UserError, match=r"needs a metrics\.json"):
        results.main(["--name", "x"])
    (pages / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"neither a metrics\.json of test\.py"):
        results.main(["--name", "x", str(pages / "other.json")])
    (pages / "probes.json").write_text('{"probes": {}}')
    with pytest.raises(UserError, match="--name belongs to a metrics"):
        results.main(["--name", "x", str(pages / "probes.json")])
    (pages / "part.json").write_text('{"tiers": {"test": {}}, "weights": "none"}')
    with pytest.raises(UserError, match="make it anew"):
        results.main(["--name", "x", str(pages / "part.json")])
    (pages / "good.json").write_text(json.dumps(metrics()))
    with pytest.raises(UserError, match="--name"):
        results.main([str(pages / "good.json")])
    (pages / "text.json").write_text("no json")
    with pytest.raises(UserError, match="not a JSON file"):
        results.main(["--name", "x", str(pages / "text.json")])
    assert ((pages / "docs" / "results.json").read_text(), text_of(pages)) == before
    for damaged in ("[]", "{}", '{"reference": 5}', '{"runs": []}', "[" * 100_000, "\0" * 99):
        (pages / "docs" / "results.json").write_text(damaged)
        with pytest.raises(UserError, match=r"results\.json"):
            results.main([])
    assert text_of(pages) == before[1]


# --- speed ---------------------------------------------------------------------------------------


def machine(gpu=False):
    return {"gpu": gpu, "device": "NVIDIA X" if gpu else "AMD Y", "threads": 2}


SIZE = {"image_size": 224, "batch_size": 16}
TRAINING = {
    "benchmark": "train", "machine": machine(), "data": "castings",
    "variants": [
        SIZE | {"name": "plain loop, no workers", "epoch_s": 700.0, "ratio_vs_plain": 1.0},
        SIZE | {"name": "ours, same recipe", "epoch_s": 540.0, "ratio_vs_plain": 1.296},
    ],
}  # fmt: skip
INFERENCE = {
    "benchmark": "infer", "machine": machine(), "data": "synthetic castings", "network": "local",
    "image_size": 160, "plain_image_size": 224,
    "engines": [
        {"name": "eager PyTorch", "p50_ms": 45.2, "p95_ms": 51.0, "ratio_vs_eager": 1.0},
        {"name": "predict.py", "p50_ms": 40.4, "p95_ms": 48.6, "ratio_vs_eager": 1.119},
    ],
}  # fmt: skip


def test_benchmarks_are_published_as_ratios_and_what_is_missing_is_said(pages):
    publish(pages, TRAINING)
    page = publish(pages, INFERENCE)
    training = "training: ours, same recipe, 224 px, batch 16, 9.0 min an epoch; the plain loop"
    training += " at 224 px, batch 16 11.7 min"
    assert f"| {training} | AMD Y, 2 threads | 1.30 |" in page
    assert (
        "network local, 160 px, decoding included: predict.py, median 40 ms, p95 49 ms; plain "
        "ResNet-18 at 224 px 45 ms | AMD Y, 2 threads, synthetic castings | 1.12 |" in page
    )
    assert "| `python benchmark.py train` | NVIDIA GPU | not measured |" in page
    assert "old speed" not in page
    page = publish(pages, TRAINING | {"machine": machine(gpu=True)})
    assert "11.7 min | NVIDIA X | 1.30 |" in page
    assert "11.7 min | AMD Y, 2 threads | 1.30 |" in page  # one does not replace the other
    assert "benchmark.py train`" not in page


def test_the_services_figures_are_published_as_a_paragraph(pages):
    assert "serve`: not measured" in publish(pages, TRAINING)
    page = publish(
        pages,
        {
            "benchmark": "serve", "machine": machine(), "data": "castings", "image_size": 112,
            "parts": 64, "other_decisions": 0, "largest_difference": 0.0,
            "paced": {
                "asked_per_s": 20, "requests_per_s": 14.2, "p50_ms": 61.8, "p95_ms": 98.6,
            },
            "saturated": {
                "images_per_s": 108.5, "predict_images_per_s": 122.4, "ratio_vs_predict": 0.9,
                "generator_cpu_share": 0.004,
            },
            "memory_mb": {"requests": [0, 10517], "resident_mb": [1151, 1162]},
        },
    )  # fmt: skip
    assert "ask for 20 requests/s get 14, p50 62 ms, p95 99 ms" in page
    assert "0.90 times predict.py's own 122" in page
    assert "1,162 MB at most over 10,517 requests; 0 of 64 parts" in page
    assert "within 1e-07" in page
    assert "old service" not in page


@pytest.mark.parametrize(
    ("ours", "text"),
    [([9.0, 10.0, 12.0], "12.0"), ([9.0, None, 12.0], "reached with 2 of 3 seeds")],
)
def test_seconds_to_an_accuracy_are_published_as_the_ratio_of_medians(pages, ours, text):
    measured = {"benchmark": "accuracy", "machine": machine(gpu=True), "target": 0.99}
    measured |= {
        "data": "castings",
        "seeds": [0, 1, 2],
        "plain_s": [100.0, 120.0, 300.0],
        "ours_s": ours,
    }
    assert f"| seconds to 99.0% on validation | NVIDIA X | {text}" in publish(pages, measured)


def test_what_make_gpu_found_is_published_with_the_cards_name(pages):
    seconds = {"epochs": 6, "first_epoch_s": 9.5}
    found = {
        "benchmark": "gpu", "machine": machine(gpu=True), "data": "castings", "tiny": False,
        "outcomes": {
            "tests": {"seconds": 40.0, "figures": {"text": "25 passed in 35.1s"}},
            "eager": {"seconds": 55.0, "figures": seconds | {"epoch_s": 3.87}},
            "graph": {"seconds": 29.0, "figures": seconds | {"epoch_s": 1.13}},
            "train": {"seconds": 95.0, "figures": TRAINING | {"machine": machine(gpu=True)}},
            "infer": {"seconds": 240.0, "error": "cut short after 240 s"},
        },
    }  # fmt: skip
    page = publish(pages, found)
    assert "On an NVIDIA X (`make gpu`), tests that need a GPU: 25 passed; " in page
    assert "reference recipe 3.9 s (the first 10 s), with `--amp --cuda-graph` 1.1 s" in page
    assert "recipe fast" not in page.split("On an NVIDIA X")[1]
    assert "11.7 min | NVIDIA X | 1.30 |" in page
    assert "| `python benchmark.py infer` | NVIDIA GPU | not measured |" in page
    for nothing in ({"tiny": True}, {"machine": machine()}):
        with pytest.raises(UserError, match="nothing of a GPU"):
            publish(pages, found | nothing)


def test_sessions_are_published_without_what_is_left_out_of_tiers(tmp_path):
    run = {"tiers": {"test": {"by_session": {"dark": {"images": 3, "confusion_matrix": [[1]]}}}}}
    (tmp_path / "metrics.json").write_text(json.dumps(run))
    stored = {"runs": {}}
    results.add_file(stored, tmp_path / "metrics.json", "ours")
    assert stored["runs"]["ours"]["tiers"]["test"] == {"by_session": {"dark": {"images": 3}}}


def adaptation_of(session, balanced):
    draw = {
        "castings": ["a", "b", "c"], "good": 40, "defective": 60,
        "before": {
            "auc": 0.9, "balanced": 0.6, "missed": 3, "rejected": 30, "reviewed": 100, "refused": 0,
        },
    }  # fmt: skip
    later = {"known_worse": 8, "known_better": 2, "known_balanced": 0.9, "seconds": 101.0}
    draws = [
        draw
        | {way: draw["before"] | later | {"balanced": value} for way in ("threshold", "network")}
        for value in balanced
    ]
    return {
        "benchmark": "adapt", "session": session, "photographs": 10, "castings": 3, "draws": draws,
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


def test_another_product_has_a_table_of_its_own(pages):
    figures = metrics("unseen castings", "casting") | {"data": "tiles", "recipe": "product"}
    figures["tiers"]["unseen castings"]["kind"] = {"count": 200, "of": 241}
    before = (pages / "README.md").read_text()
    publish(pages, figures, "--name", "a table of parts")
    stored = json.loads((pages / "docs" / "results.json").read_text())
    assert list(stored["products"]) == ["a table of parts"]
    assert "a table of parts" not in stored["runs"]
    assert (pages / "README.md").read_text() == before
    assert (
        "| tiles | a table of parts | 358 of 51 | 0.988 (folds 0.980 to 0.990) | 200/241 = 83.0 % "
        "| 3/241 = 1.2 % | 1/117 = 0.9 % | 0.990 |"
    ) in (pages / "docs" / "results.md").read_text()


def curve_of(data, *auc, **changed):
    points = [
        {"parts": parts, "good_parts": parts, "defective_parts": parts, "photographs": 3 * parts,
         "roc_auc": value, "roc_auc_range": [value, value], "missed": 0.2, "false_alarms": 0.1}
        for parts, value in zip((5, 10, 20), auc, strict=False)
    ]  # fmt: skip
    return {
        "benchmark": "curve", "data": data, "recipe": "product", "good_only": False, "folds": [1],
        "tested": {"defective": 90, "good": 110}, "points": points,
        "machine": {"device": "a CPU", "gpu": False, "threads": 2},
    } | changed  # fmt: skip


def test_learning_curves_are_published_by_data_and_recipe_and_drawn(pages):
    (pages / "docs" / "img").mkdir()
    publish(pages, curve_of("tiles", 0.61, 0.72))
    drawn = (pages / results.CURVES).read_bytes()
    publish(pages, curve_of("tiles", 0.55, good_only=True))
    text = publish(pages, curve_of("tiles", 0.63, 0.74, 0.85))
    assert "**tiles, recipe product.** Fold 1; tested on the same 200 photographs" in text
    assert "| 20, 20 | 60 | 0.850 |  | 20.0 % | 10.0 % | 0.850 |" in text
    assert "0.610" not in text
    assert "**tiles, recipe product, good parts alone.**" in text
    assert "| 5, 5 | 15 | 0.550 |" in text
    assert (pages / results.CURVES).read_bytes() != drawn
    several = curve_of("tiles", 0.63, folds=[1, 2])
    several["points"][0]["roc_auc_range"] = [0.61, 0.65]
    text = publish(pages, several)
    assert "**tiles, recipe product.** Means of 2 folds; tested on the same 200" in text
    assert "| 5, 5 | 15 | 0.630 (0.610 to 0.650) |" in text
