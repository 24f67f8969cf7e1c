"""adapt.py: from photographs of a new line to a checkpoint that everything takes."""

import json
import shutil

import numpy as np
import pytest
import torch

import adapt
from adaptation import task, tuning
from common.errors import UserError
from common.files import sha256_of_file
from model import load_checkpoint, load_identified, save_checkpoint


@pytest.fixture(scope="module")
def photographs(castings, tmp_path_factory):
    """Ten photographs of good castings."""
    folder = tmp_path_factory.mktemp("good")
    for path in sorted((castings / "test" / "ok_front").glob("*.jpeg"))[:10]:
        shutil.copy(path, folder)
    assert len(list(folder.iterdir())) == 10
    return folder


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """A few steps: what is learned is not looked at here."""
    for name in ("FULL", "BRIEF"):
        monkeypatch.setattr(task, name, tuning.Effort(steps=3, batch_size=4))
    monkeypatch.setattr("adaptation.run.FULL", tuning.Effort(steps=3, batch_size=4))


def adapted(photographs, trained, out, *options):
    arguments = [photographs, "--checkpoint", trained / "best.pth", "--device", "cpu", "--out", out]
    assert adapt.main([*map(str, arguments), *map(str, options)]) == 0
    return load_checkpoint(out)


def test_an_adapted_checkpoint_inspects_and_knows_where_it_comes_from(
    photographs, trained, tmp_path, capsys
):
    import predict

    parent = trained / "best.pth"
    before = parent.read_bytes()
    checkpoint = adapted(photographs, trained, tmp_path / "line3.pth")
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert parent.read_bytes() == before
    found = checkpoint.adaptation
    assert found["parent"] == sha256_of_file(parent)
    hashes = {sha256_of_file(path) for path in photographs.iterdir()}
    assert {one["sha256"] for one in found["good"]} <= hashes
    assert line["model"] == sha256_of_file(tmp_path / "line3.pth")[:12]
    assert line["photographs"] == len(found["good"]) == found["figures"]["photographs"]
    written = json.loads((tmp_path / "line3.adaptation.json").read_text())
    assert written["figures"] == json.loads(json.dumps(found["figures"]))
    page = (tmp_path / "line3.adaptation.html").read_text()
    assert "line3.pth" in page
    assert page.count("data:image/png") == 2
    assert "://" not in page
    assert sha256_of_file(tmp_path / "line3.pth") in page
    assert sha256_of_file(parent) in page
    assert ("watch.py" in page) == line["pays"]
    table = tmp_path / "inspections.csv"
    options = ["--checkpoint", str(tmp_path / "line3.pth"), "--device", "cpu", "--out", str(table)]
    assert predict.main([str(photographs), *options]) in (0, 4)
    assert len(table.read_text().splitlines()) == 11


def test_the_same_photographs_give_the_same_model(photographs, trained, tmp_path):
    one, other = (adapted(photographs, trained, tmp_path / f"{n}.pth") for n in "ab")
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.gate["limits"] == other.gate["limits"]


def test_with_the_threshold_alone_the_network_stays(photographs, trained, tmp_path):
    before = load_checkpoint(trained / "best.pth")
    found = adapted(photographs, trained, tmp_path / "a.pth", "--threshold-only")
    changed = [k for k, v in before.weights.items() if not torch.equal(v, found.weights[k])]
    assert changed in ([], ["fc.bias"])
    assert found.adaptation["mode"] == "threshold"
    # At least nine in ten of the photographs pass now
    from inspection.predictor import load_predictor

    predictor = load_predictor(tmp_path / "a.pth", "cpu", gate=False)
    paths = sorted(photographs.iterdir())
    decisions = [one.decision for one in predictor.predict(paths)]
    assert decisions.count("ok") >= 0.9 * len(paths)


def test_tuning_changes_the_network_but_not_what_batch_norm_has_seen(
    photographs, trained, tmp_path
):
    before = load_checkpoint(trained / "best.pth").weights
    after = adapted(photographs, trained, tmp_path / "a.pth").weights
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "conv1.weight" in changed
    assert not [name for name in changed if "running" in name or "num_batches" in name]


def test_photographs_of_defects_and_of_the_line_before_are_learned(
    photographs, castings, trained, tmp_path, capsys
):
    defects = sorted((castings / "test" / "def_front").glob("*.jpeg"))[:3]
    options = ["--defects", *defects, "--old", castings / "train"]
    figures = adapted(photographs, trained, tmp_path / "a.pth", *options).adaptation["figures"]
    assert figures["defects"]["caught"]["of"] == figures["defects"]["caught_before"]["of"] <= 3
    old = figures["old"]
    assert 0 < old["defective"] < old["photographs"]
    wrong_before = old["missed_before"] + old["false_alarms_before"]
    wrong = old["missed"] + old["false_alarms"]
    assert wrong - wrong_before == old["worse"] - old["better"]
    assert "to test what was forgotten" in capsys.readouterr().out


def refused(photographs, trained, tmp_path, *options):
    adapted(photographs, trained, tmp_path / "a.pth", *options)


def test_too_few_photographs_are_refused(photographs, trained, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photographs.iterdir())[:4]:
        shutil.copy(path, few)
        shutil.copy(path, few / f"copy_{path.name}")
    with pytest.raises(UserError, match=r"usable photographs? of good parts; .* left out.*same"):
        refused(few, trained, tmp_path)
    assert not (tmp_path / "a.pth").exists()


def test_a_picture_cannot_be_good_and_defective(photographs, trained, tmp_path):
    both = sorted(photographs.iterdir())[0]
    with pytest.raises(UserError, match="good or defective"):
        refused(photographs, trained, tmp_path, "--defects", both)


def test_what_is_no_photograph_is_named(photographs, trained, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1 unreadable image.*\n.*broken\.png"):
        refused(photographs, trained, tmp_path, "--defects", tmp_path / "broken.png")


def test_a_resnet_has_its_threshold_moved_and_nothing_else(photographs, trained_resnet, tmp_path):
    with pytest.raises(UserError, match="--threshold-only"):
        refused(photographs, trained_resnet, tmp_path)
    found = adapted(photographs, trained_resnet, tmp_path / "a.pth", "--threshold-only")
    assert found.architecture == "resnet18"


def test_an_adapted_model_can_be_adapted_again(photographs, trained, tmp_path):
    adapted(photographs, trained, tmp_path / "best.pth")
    again = adapted(photographs, tmp_path, tmp_path / "again.pth")
    assert again.adaptation["parent"] == load_identified(tmp_path / "best.pth")[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_written_when_it_is_stopped(photographs, trained, tmp_path, monkeypatch, error):
    def stopped(*args):
        raise error

    monkeypatch.setattr(task, "tuned", stopped)
    with pytest.raises(error):
        adapt.main([str(photographs), "--checkpoint", str(trained / "best.pth"),
                    "--out", str(tmp_path / "a.pth")])  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", [True, False])
def test_the_model_itself_is_not_overwritten(photographs, trained, tmp_path, monkeypatch, named):
    shutil.copytree(trained, tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    path = "checkpoints/best.pth"  # the one that is taken when none is named
    before = (tmp_path / path).read_bytes()
    with pytest.raises(UserError, match="name another file"):
        adapt.main([str(photographs), "--out", path, *(["--checkpoint", path] if named else [])])
    assert (tmp_path / path).read_bytes() == before


def test_scores_are_those_that_the_predictor_decides_by(photographs, castings):
    """With several kinds of defects, too, whose probabilities add up."""
    from builders import checkpoint_of

    from adaptation.photographs import read_photographs
    from inspection.engines import torch_network
    from inspection.predictor import Predictor

    names = ["blow_hole", "chipping", "ok_back", "ok_front"]
    checkpoint = checkpoint_of(names, network="local")
    checkpoint.temperature, checkpoint.threshold = 0.7, 0.3
    device = torch.device("cpu")
    parent = task.Parent(checkpoint, "", checkpoint.model(), device)
    read = read_photographs(sorted(photographs.iterdir()), checkpoint)
    scores = parent.scores(parent.network, np.stack([one.pixels for one in read]))
    predictor = Predictor(checkpoint, torch_network(checkpoint, device), "", device)
    prob = np.array([one.prob_defect for one in predictor.predict([one.path for one in read])])
    odds = np.log(prob / (1 - prob)) - np.log(0.3 / 0.7)
    assert scores == pytest.approx(0.7 * odds, abs=1e-4)


@pytest.mark.slow
def test_an_adapted_model_is_exported_by_the_photographs_of_its_line(
    photographs, trained, tmp_path, capsys
):
    import export

    adapted(photographs, trained, tmp_path / "a.pth")
    out = ["--out", str(tmp_path / "a.onnx")]
    capsys.readouterr()
    assert export.main(["--checkpoint", str(tmp_path / "a.pth"), *out]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["gate"] == "photographs"


@pytest.mark.parametrize(
    "change",
    [
        {"parent": 7},
        {"good": []},
        {"good": [{"path": "a"}]},
        {"mode": "none"},
        {"defective": None},
        {"figures": {}},
        {"verdicts": {}},
        {"verdicts": {"learned": [7]}},
        {"figures": {"held_out": {"parts": {"count": "2", "of": 3}}}},
    ],
)
def test_a_checkpoint_with_a_damaged_lineage_is_refused(photographs, trained, tmp_path, change):
    checkpoint = adapted(photographs, trained, tmp_path / "a.pth", "--threshold-only")
    checkpoint.check()
    checkpoint.adaptation = checkpoint.adaptation | change
    save_checkpoint(tmp_path / "b.pth", checkpoint)
    with pytest.raises(UserError, match=r"b\.pth does not fit its own description"):
        load_checkpoint(tmp_path / "b.pth")
