"""On the real images: the published split, the castings, what leaks, and the released model's gate.

The castings are recognised once, in the user's own cache, which may hold them already; so are the
released model's predictions, to which both its exports are compared.
"""

import hashlib
import json
from collections import Counter

import pytest
from builders import fold_of_castings, parts_by_casting

import export
from common.files import ROOT, cache_folder
from data_split import identical_across_splits, load_split, split_sha256
from dataset.audit import audit
from dataset.casting_table import recognise
from dataset.folds import SplitOptions, casting_classes
from dataset.releases import is_of_second
from dataset.sessions import with_sessions
from dataset.sources import find_data
from evaluation import parity
from inspection.engines import torch_network
from model import load_checkpoint

pytestmark = pytest.mark.real

SPLIT_SHA256 = "4364e014605828d1c26dc69b9d4dbbc73228469842774410393e5594070fcb76"
USERS_CACHE = cache_folder()  # of before the tests had their own: recognising takes a minute


@pytest.fixture(scope="module", autouse=True)
def users_cache():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASTING_CACHE", str(USERS_CACHE))
        yield


@pytest.fixture(scope="module")
def real_castings(real_data):
    """All images with their castings."""
    return load_split(real_data, need_castings=True)[0]


@pytest.fixture(scope="module")
def real_audit(real_data, real_castings):
    return audit(real_data, real_castings, recognise(real_data, real_castings))


def test_the_split_is_the_published_one(real_data):
    rows, _ = load_split(real_data)
    assert Counter((row.split, row.label) for row in rows) == {
        ("train", "def_front"): 3758,
        ("train", "ok_front"): 2875,
        ("val", "def_front"): 212,
        ("val", "ok_front"): 145,
        ("test", "def_front"): 241,
        ("test", "ok_front"): 117,
    }
    assert split_sha256(rows) == SPLIT_SHA256
    assert len(identical_across_splits(rows)) == 64


def test_castings_are_recognised_and_each_image_is_tested_once(real_castings):
    rows = real_castings
    defective = casting_classes(rows)
    assert 110 <= len(defective) <= 145
    assert 16 <= list(defective.values()).count(False) <= 22
    sides = {(row.casting, row.label) for row in rows}
    assert len(sides) == len(defective) + 1  # one casting has images in both folders
    tested = Counter()
    for fold in range(1, 6):
        split = fold_of_castings(rows, fold)
        assert all(len(parts) == 1 for parts in parts_by_casting(split).values())
        tested.update(row.path for row in split if row.split == "test")
    assert len(tested) == sum(tested.values()) == len(rows) == 7348


@pytest.fixture(scope="module")
def both_releases(real_data):
    """Where both releases are, and all their images, with castings and sessions."""
    data = find_data(str(real_data))
    if data.second is None:
        pytest.skip("the second release is not beside the first")
    return data, load_split(data, SplitOptions("casting"))[0]


def test_no_casting_of_the_dark_session_has_both_labels(both_releases, real_castings):
    rows = both_releases[1]
    dark = {row.casting for row in rows if row.session == "dark"}
    labels = {(row.casting, row.label) for row in rows if row.casting in dark}
    assert len(labels) == len(dark) >= 17
    # the castings of the first release are as they are without the second
    alone = {row.path: row.casting for row in real_castings}
    pairs = {(alone[row.path], row.casting) for row in rows if row.path in alone}
    assert len(pairs) == len(set(alone.values())) == len({casting for _, casting in pairs})


def test_sessions_are_told_by_the_light_as_the_table_names_them(both_releases, tmp_path):
    data, rows = both_releases
    found = with_sessions(tmp_path, rows, recognise(data, rows).contrasts)  # no table there
    second = [(row, one) for row, one in zip(rows, found, strict=True) if is_of_second(row.path)]
    assert len(second) > 1000
    assert all(row.session == one.session for row, one in second)


def test_test_images_show_castings_that_are_in_train(real_audit):
    result, lines = real_audit
    assert len(lines) == result["images"] == 7348
    assert 110 <= result["castings"] <= 145
    assert 16 <= result["castings_good"] <= 22
    for split, count in (("val", 357), ("test", 358)):
        known = result["held_out_known"][split]
        assert known["of"] == count
        assert 0.98 <= known["count"] / count <= 1
    assert sum(result["identical_to_train"].values()) == 64


def test_labels_disagree_within_one_casting(real_audit):
    result, _ = real_audit
    (name,) = result["castings_with_both_labels"]
    labels = next(line for line in result["casting_table"] if line["casting"] == name)["labels"]
    assert len(result["suspected_label_errors"]) == min(labels.values())
    assert all("/def_front/" in path for path in result["suspected_label_errors"])


def test_mere_baseline_reaches_the_published_accuracy_on_the_test_folder(real_audit):
    found = real_audit[0]["copy_lookup"]["val and test"]
    assert found["images"] == 715
    assert found["accuracy"] >= 0.995


@pytest.fixture(scope="module")
def predicted_once():
    """PyTorch's predictions on the same images, which take a minute, are kept."""
    original, kept = torch_network, {}

    def network_of(*arguments):
        network = original(*arguments)

        def predict(images):
            key = hashlib.sha256(images.numpy().tobytes()).digest()
            if key not in kept:
                kept[key] = network(images)
            return kept[key]

        return predict

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "torch_network", network_of)
        yield


@pytest.mark.parametrize("arguments", [[], ["--int8"]])
def test_the_released_model_passes_the_gate(real_data, predicted_once, tmp_path, arguments, capsys):
    out = tmp_path / "model.onnx"
    own = ["--checkpoint", str(ROOT / "checkpoints" / "released.pth"), "--data", str(real_data)]
    assert export.main([*own, "--out", str(out), *arguments]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["gate"] == "validation"
    assert found["images"] > 1000
    assert found["new_missed"] == 0


def test_a_few_real_photographs_move_the_threshold_and_stay_what_they_are(
    real_data, real_castings, tmp_path
):
    """Their parts are recognised without a table, none is left out, and the gate knows them."""
    from adaptation.run import adapt

    rows = [row for row in real_castings if row.split == "train" and row.label == "ok_front"]
    rows = [row for row in rows if row.casting == rows[0].casting][:4] + rows[-6:]
    model = ROOT / "checkpoints" / "released.pth"
    found = adapt([real_data / row.path for row in rows], model, threshold_only=True, device="cpu")
    figures = found.figures
    assert figures.recognised
    assert figures.parts == len({row.casting for row in rows})
    assert figures.left_out == []
    assert figures.held_out["photographs"]["of"] == 10
    before, after = load_checkpoint(model).limits, found.checkpoint.limits
    assert all(after.measures[n].lowest <= one.lowest for n, one in before.measures.items())
    assert before.known <= after.known < 2 * before.known
