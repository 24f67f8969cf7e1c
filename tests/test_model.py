"""The network's heads, its weights, and checkpoint files that are damaged, foreign or malicious."""

import hashlib
import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import checkpoint_of, flip_byte, zero_block
from torchvision.models import ResNet18_Weights, resnet18

import model as model_module
from common.errors import UserError
from model import (
    build_model,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    with_logit_bias,
)
from networks.classes import class_logits, class_probabilities, defect_probability
from networks.initial_weights import WEIGHTS_FILE
from networks.losses import loss_function

TWO = ["def_front", "ok_front"]


@pytest.mark.parametrize(("head", "outputs"), [("softmax", 2), ("sigmoid", 1)])
def test_each_head_has_its_number_of_outputs(head, outputs):
    logits = build_model(2, "none", head).eval()(torch.zeros(3, 1, 32, 32))
    assert logits.shape == (3, outputs)


def test_sigmoid_refuses_more_than_two_classes():
    with pytest.raises(UserError, match="two classes"):
        build_model(3, "none", "sigmoid")


def test_both_heads_agree_on_probabilities_and_loss():
    # softmax over (z, 0) is the sigmoid of z
    z = torch.tensor([[2.0], [-1.0], [0.3]])
    both = torch.cat([z, torch.zeros_like(z)], dim=1)
    for names in (TWO, ["ok_a", "scratch"]):  # the defect class first, and last
        two_logits = both if names == TWO else both.flip(1)
        single, double = class_probabilities(z, names), class_probabilities(two_logits, names)
        torch.testing.assert_close(single, double)
        targets = torch.tensor([0, 1, 1])
        losses = [loss_function("sigmoid", names)(z, targets)]
        losses.append(loss_function("softmax", names)(two_logits, targets))
        torch.testing.assert_close(*losses)


@pytest.mark.parametrize("names", [TWO, ["ok_a", "scratch"]])
def test_class_logits_of_either_head_give_its_probabilities_at_any_temperature(names):
    single, double = torch.tensor([[2.0], [-1.5]]), torch.tensor([[2.0, -3.0], [0.1, 0.7]])
    defect = names.index(next(name for name in names if not name.startswith("ok")))
    for logits in (single, double):
        of_classes = class_logits(logits, names)
        assert of_classes.shape == (2, 2)
        for temperature in (0.5, 1.0, 4.0):
            found = class_probabilities(logits, names, temperature)
            torch.testing.assert_close(found, (of_classes / temperature).softmax(dim=1))
    # The one output is the log odds of a defect, which a temperature divides
    odds = class_probabilities(single, names, temperature=4.0)[:, defect]
    torch.testing.assert_close(odds, (single[:, 0] / 4).sigmoid())


def test_defect_probability_sums_the_defect_classes():
    probabilities = torch.tensor([[0.2, 0.5, 0.3]])
    assert defect_probability(probabilities, ["burr", "ok_front", "scratch"]).item() == (
        pytest.approx(0.5)
    )


def stand_in_for_imagenets(monkeypatch):
    """A ResNet-18 in torchvision's cache folder, under the name that its bytes give it."""
    buffer, stand_in = io.BytesIO(), resnet18(weights=None)
    torch.save(stand_in.state_dict(), buffer)
    digits = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"resnet18-{digits}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    monkeypatch.setattr("networks.initial_weights.WEIGHTS_FILE", path.name)
    return stand_in, path


def test_imagenet_weights_come_from_torchvisions_cache_folder(monkeypatch):
    assert ResNet18_Weights.DEFAULT.url.endswith(WEIGHTS_FILE)
    stand_in, path = stand_in_for_imagenets(monkeypatch)
    try:
        model = build_model(2, "imagenet")
        assert torch.equal(model.conv1.weight, stand_in.conv1.weight)
        assert model.fc.out_features == 2
        zero_block(path, 20_000_000)
        for weights in ("imagenet", str(path)):  # from the cache, or named
            with pytest.raises(UserError, match="is damaged"):
                build_model(2, weights)
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("prefix", "holders"),
    [("module.", []), ("", ["state_dict"]), ("_orig_mod.module.", ["model", "state_dict"]),
     ("model.backbone.", ["state_dict"])],
)  # fmt: skip
def test_weights_of_other_training_scripts_are_found(tmp_path, prefix, holders):
    theirs = build_model(5, "none", network="local", defects=[True] * 4 + [False])
    content = {prefix + name: value for name, value in theirs.state_dict().items()}
    for holder in holders:
        content = {"epoch": 3, holder: content}
    torch.save(content, tmp_path / "theirs.pth")
    ours = build_model(2, str(tmp_path / "theirs.pth"), network="local").state_dict()
    assert all(
        torch.equal(ours[name], value)
        for name, value in theirs.state_dict().items()
        if not name.startswith("fc")
    )
    with pytest.raises(UserError, match=r"holds no ResNet-18: .* more missing"):
        build_model(2, str(tmp_path / "theirs.pth"))


def test_a_failed_download_names_file_folder_and_the_way_out(monkeypatch):
    import urllib.error

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(UserError) as failure:
        build_model(2, "imagenet")
    for part in (WEIGHTS_FILE, str(Path(torch.hub.get_dir()) / "checkpoints"), "--weights none"):
        assert part in str(failure.value)


def test_weights_from_a_file_keep_the_new_last_layer(tmp_path):
    source = resnet18(weights=None, num_classes=7)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = build_model(2, str(tmp_path / "weights.pth"))
    assert torch.equal(model.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    checkpoint = checkpoint_of(["def_front", "ok_front"])
    save_checkpoint(tmp_path / "best.pth", checkpoint)
    ours = build_model(3, str(tmp_path / "best.pth"))
    expected = checkpoint.weights["conv1.weight"]
    assert torch.equal(ours.conv1.weight, expected)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds no ResNet-18"):
        build_model(2, str(tmp_path / "weights.pth"))


def test_a_checkpoint_survives_saving_and_loading(tmp_path, trained):
    checkpoint = load_checkpoint(trained / "best.pth")
    save_checkpoint(tmp_path / "copy.pth", checkpoint)
    copy = load_checkpoint(tmp_path / "copy.pth")
    assert copy.description() == checkpoint.description()
    for name, tensor in checkpoint.weights.items():
        assert torch.equal(copy.weights[name], tensor)
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(copy.model()(image), checkpoint.model()(image))


def test_the_operating_point_is_kept_with_the_checkpoint(tmp_path, trained):
    checkpoint = load_checkpoint(trained / "best.pth")
    checkpoint.operating_point = {"fitted": True, "threshold": 0.25, "note": ""}
    checkpoint.threshold, checkpoint.temperature = 0.25, 1.5
    save_checkpoint(tmp_path / "fitted.pth", checkpoint)
    copy = load_checkpoint(tmp_path / "fitted.pth")
    assert copy.operating_point == checkpoint.operating_point
    assert (copy.threshold, copy.temperature) == (0.25, 1.5)


def test_the_json_beside_a_checkpoint_holds_everything_but_tensors(trained):
    described = json.loads((trained / "best.json").read_text())
    description = load_checkpoint(trained / "best.pth").description()
    assert {k: v for k, v in described.items() if k != "sha256"} == description
    wanted = {"head", "class_names", "image_size_px", "mean", "std", "threshold", "temperature"}
    wanted |= {"protocol", "fold", "epoch", "validation", "training", "split_sha256"}
    wanted |= {"operating_point"}
    assert wanted <= set(described)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


def write_legacy_pickle(path, marker):
    path.write_bytes(pickle.dumps({"weights": Malicious(str(marker))}, protocol=2))


def write_zip_pickle(path, marker):
    torch.save({"weights": Malicious(str(marker))}, path)


@pytest.mark.parametrize("write", [write_legacy_pickle, write_zip_pickle])
def test_a_malicious_file_is_refused_and_runs_nothing(tmp_path, write):
    marker = tmp_path / "marker"
    write(tmp_path / "evil.pth", marker)
    with pytest.raises(UserError) as failure:
        load_checkpoint(tmp_path / "evil.pth")
    assert not marker.exists()
    assert "\n" not in str(failure.value)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def replace_by_text(path):
    path.write_text("<html>not found</html>")


def replace_by_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def rewrite(path, change):
    """Another content, and no description of the old one."""
    content = torch.load(path, weights_only=True)
    torch.save(change(content), path)
    path.with_suffix(".json").unlink(missing_ok=True)


def without(table, name):
    return {key: value for key, value in table.items() if key != name}


def drop_a_field(path):
    rewrite(path, lambda content: without(content, "threshold"))


def drop_a_tensor(path):
    def change(content):
        return content | {"weights": without(content["weights"], "fc.bias")}

    rewrite(path, change)


def spoil_a_tensor(path):
    def change(content):
        content["weights"]["fc.bias"][0] = float("nan")
        return content

    rewrite(path, change)


def break_a_value(name, value):
    def damage(path):
        rewrite(path, lambda content: content | {name: value})

    damage.__name__ = f"set_{name}"
    return damage


def break_the_gate(name, value):
    def damage(path):
        rewrite(path, lambda content: content | {"gate": content["gate"] | {name: value}})

    damage.__name__ = f"set_{name}_of_the_gate"
    return damage


WRONG_VALUES = [
    break_a_value("class_names", 5),
    break_a_value("class_names", ["ok_a", "ok_b"]),
    break_a_value("weights", [1]),
    break_a_value("image_size_px", "big"),
    break_a_value("threshold", None),
    break_a_value("mean", [1.0]),
    break_a_value("temperature", float("nan")),
    break_a_value("format", 1),
    break_a_value("format", "3"),
    break_a_value("architecture", ["local"]),
    break_a_value("threshold", 2.0),
    break_a_value("temperature", -1.0),
    break_a_value("image_size_px", 100_000),
    break_a_value("gate", {}),
    break_a_value("gate", {"limits": {"measures": {}}}),
    break_a_value("gate", 7),
    break_the_gate("mean", torch.zeros(5)),
    break_the_gate("whitening", torch.full((192, 192), float("nan"))),
    spoil_a_tensor,
]


@pytest.mark.parametrize("damage", WRONG_VALUES, ids=lambda damage: damage.__name__)
def test_values_that_no_decision_can_rest_on_are_refused(tmp_path, trained, damage):
    path = tmp_path / "best.pth"
    path.write_bytes((trained / "best.pth").read_bytes())
    damage(path)
    with pytest.raises(UserError, match=r"best\.pth"):
        load_checkpoint(path)


def test_a_local_network_fitted_to_four_turns_is_refused_and_an_old_resnet_is_not(tmp_path):
    for network in ("resnet18", "local"):
        save_checkpoint(tmp_path / f"{network}.pth", checkpoint_of(TWO, network=network))
        break_a_value("format", 4)(tmp_path / f"{network}.pth")
    assert load_checkpoint(tmp_path / "resnet18.pth").format == 4
    with pytest.raises(UserError, match=r"local from format 5 on, .*up to 5: train it anew"):
        load_checkpoint(tmp_path / "local.pth")


@pytest.mark.parametrize(
    "damage", [truncate, empty, replace_by_text, replace_by_zip, drop_a_field, drop_a_tensor]
)
def test_a_damaged_checkpoint_gives_one_line_with_its_path(tmp_path, trained, damage):
    path = tmp_path / "best.pth"
    path.write_bytes((trained / "best.pth").read_bytes())
    damage(path)
    with pytest.raises(UserError) as failure:
        load_checkpoint(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with its description"])
def test_no_damaged_byte_of_a_checkpoint_is_overlooked(tmp_path, trained, alone):
    path = tmp_path / "best.pth"
    if not alone:
        path.with_suffix(".json").write_bytes((trained / "best.json").read_bytes())
    data = (trained / "best.pth").read_bytes()
    for damage in (zero_block, flip_byte):
        for offset in range(0, len(data), len(data) // 40):
            path.write_bytes(data)
            damage(path, offset)
            if path.read_bytes() != data:
                with pytest.raises(UserError, match=r"best\.pth is (damaged|not a checkpoint)"):
                    load_checkpoint(path)


def test_a_checkpoint_without_a_seal_is_held_against_its_description(tmp_path, trained):
    # As released by earlier versions: bytes between the records have no checksum of their own
    content = torch.load(trained / "best.pth", weights_only=True)
    path = tmp_path / "best.pth"
    torch.save(content, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256}))
    load_checkpoint(path)
    data = path.read_bytes()
    for offset in (10, 12, len(data) - 6, data.index(b"FB", 30) + 8):
        path.write_bytes(data)
        flip_byte(path, offset)
        with pytest.raises(UserError, match=r"best\.pth is (damaged|not)"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    "beside", ["{}", '{"sha256": "0"}', "[]", "", "\0" * 4096, '{"sha256": 1}']
)
def test_a_description_of_another_file_is_refused(tmp_path, trained, beside):
    (tmp_path / "best.pth").write_bytes((trained / "best.pth").read_bytes())
    load_checkpoint(tmp_path / "best.pth")
    (tmp_path / "best.json").write_text(beside)
    with pytest.raises(UserError, match=r"best\.json") as failure:
        load_checkpoint(tmp_path / "best.pth")
    assert "\n" not in str(failure.value)


def test_a_crash_at_any_moment_of_saving_leaves_a_checkpoint_that_loads(
    tmp_path, trained, monkeypatch
):
    old, path, moments = load_checkpoint(trained / "best.pth"), tmp_path / "best.pth", []
    new = replace(old, epoch=old.epoch + 1)

    def before(name, left):
        original = getattr(os, name)

        def dying(*arguments, **options):
            moments.append(name)
            if len(moments) == left:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return dying

    for left in range(1, 20):
        save_checkpoint(path, old)
        moments.clear()
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace", "unlink"):
                patch.setattr(os, name, before(name, left))
            with suppress(KeyboardInterrupt):
                save_checkpoint(path, new)
        found = load_checkpoint(path)
        assert found.epoch in (old.epoch, new.epoch)
        if len(moments) < left:  # nothing was cut short
            break
    assert found.epoch == new.epoch
    assert {*moments} == {"fsync", "replace", "unlink"}


def test_a_training_that_saves_meanwhile_is_no_damage(tmp_path, trained, monkeypatch):
    old, path = load_checkpoint(trained / "best.pth"), tmp_path / "best.pth"
    save_checkpoint(path, old)
    original = model_module.load_tensors
    new = [replace(old, epoch=old.epoch + 1)]

    def read_then_saved(path):
        found = original(path)
        if new:
            save_checkpoint(path, new.pop())
        return found

    monkeypatch.setattr(model_module, "load_tensors", read_then_saved)
    assert load_checkpoint(path).epoch == old.epoch + 1


def test_the_latest_training_comes_before_the_released_and_the_demos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_module, "ROOT", tmp_path / "repository")
    with pytest.raises(UserError, match=r"make one with: python train\.py"):
        find_checkpoint()
    for name in ("demo/best.pth", "released.pth", "best.pth"):
        path = Path("checkpoints") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_checkpoint() == path
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path.parent)  # in no checkpoints' folder: the repository's
    assert find_checkpoint().parent.name == "checkpoints"
    assert find_checkpoint().is_absolute()
    with pytest.raises(UserError, match="no such checkpoint"):
        find_checkpoint(Path("elsewhere.pth"))


@pytest.mark.parametrize("network", ["resnet18", "local"])
@pytest.mark.parametrize(
    ("head", "names", "less"),
    [("sigmoid", ["def", "ok"], [1.5]), ("softmax", ["chip", "hole", "ok"], [1.5, 1.5, 0.0])],
)
def test_a_logit_bias_shifts_the_logits_of_defects_and_nothing_else(network, head, names, less):
    checkpoint = checkpoint_of(names, head, 64, network)
    images = torch.rand(2, 1, 64, 64)
    before = checkpoint.model()(images)
    checkpoint.weights = with_logit_bias(checkpoint, -1.5)
    change = before - checkpoint.model()(images)
    rounding = 1e-5 * float(before.detach().abs().max())
    torch.testing.assert_close(change, torch.tensor([less, less]), atol=rounding, rtol=1e-5)
