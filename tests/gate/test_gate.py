"""What is no sound photograph of the part is not judged; what is unlike training is reviewed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

import predict
import probe
from evaluation.gate_tests import SOUND
from evaluation.gate_views import brighter, broken_views, pasted, pictures_of_nothing
from gate.fitting import fit_distance, fit_limits
from gate.limits import NOT_JUDGED, REASONS, REVIEW, Interval, Limits
from gate.measures import HUB, measure
from imaging.reading import read_grey_image, upright_size_px
from inspection.predictor import load_predictor
from networks.features import Distance


@pytest.fixture(scope="module")
def judge(trained_sharp):
    """The predictor of a model that was trained on parts of 300 px, with hubs that are found."""
    predictor = load_predictor(trained_sharp / "best.pth", "cpu")
    assert predictor.limits.with_hub
    return predictor


@pytest.fixture(scope="module")
def good(sharp_castings) -> Image.Image:
    """A photograph of a good part that the model was not trained on."""
    with Image.open(sorted((sharp_castings / "unseen" / "ok_front").iterdir())[0]) as image:
        return image.convert("L")


@pytest.mark.parametrize("kind", pictures_of_nothing())
def test_pictures_of_nothing_are_never_ok(judge, kind):
    for one in judge.predict(pictures_of_nothing()[kind]):
        assert one.decision in ("", REVIEW)
        assert one.error
        if not one.decision:
            nothing = (one.status, one.prob_defect, one.predicted_class)
            assert nothing == (NOT_JUDGED, None, "")


@given(st.integers(0, 255), st.integers(0, 255), st.integers(40, 4000), st.integers(40, 4000))
def test_no_plain_or_smooth_picture_of_any_size_is_judged(judge, first, last, width, height):
    row = np.linspace(first, last, width).astype(np.uint8)
    (one,) = judge.predict([Image.fromarray(np.tile(row, (min(height, 400), 1)))])
    assert one.status == NOT_JUDGED


def test_no_spoiled_photograph_is_ok_and_the_sound_one_is_judged(judge, good):
    (sound,) = judge.predict([good])
    assert (sound.status, sound.error) == ("ok", "")
    kinds = broken_views(good)
    # At 64 px, as the small network looks, the others are not blurred
    kinds["blurred beyond use"] = [good.filter(ImageFilter.GaussianBlur(40))]
    kinds["other"] = [
        good.point(lambda value: 255 - value),
        brighter(good, 250),
        pasted(good, [(60, 60)], 0.6),
    ]
    for kind, pictures in kinds.items():
        for one in judge.predict(pictures):
            assert one.decision in ("", REVIEW), kind
            assert one.error, kind


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda i: pasted(i, [(60, 60)], 0.6), "too small: its hub is .*% of the width; the model"),
        (lambda i: pasted(i, [(0, 0)], 1, (4000, 300)), "too wide: 13.33 times as wide as high"),
        (lambda i: brighter(i, 150), "overexposed: .*% of the pixels are white"),
        (lambda i: brighter(i, -150), "underexposed: .*% of the pixels are black"),
        (lambda i: i.point(lambda value: 120 + value // 16), "hardly any contrast: grey values"),
        (lambda i: pasted(i, [(150, 0)], 1), "hub|part"),
    ],
)
def test_the_reason_says_in_words_what_is_wrong(judge, good, spoil, reason):
    (one,) = judge.predict([spoil(good)])
    assert one.status == NOT_JUDGED
    assert re.search(reason, one.error)


def test_sound_photographs_are_judged_whatever_their_defects_turn_and_size(judge, sharp_castings):
    paths = sorted((sharp_castings / "unseen").rglob("*.jpeg"))
    photos = [Image.open(path).convert("L") for path in paths]
    changed = [
        *photos,
        *(photo.rotate(90) for photo in photos),
        *(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for photo in photos),
        *(photo.resize((640, 640), Image.Resampling.BICUBIC) for photo in photos),
        *(photo.point(lambda value: 0.85 * value) for photo in photos),
    ]
    found = judge.predict(changed)
    assert {one.status for one in found} == {"ok"}


def test_without_the_gate_everything_is_judged_and_said_so(trained_sharp, tmp_path, capsys):
    Image.new("L", (64, 64), 0).save(tmp_path / "black.png")
    model = ["--checkpoint", str(trained_sharp / "best.pth"), "--device", "cpu"]
    run = [str(tmp_path / "black.png"), "--out", str(tmp_path / "found.csv"), *model]
    assert predict.main(run) == 4
    out, err = capsys.readouterr()
    line = json.loads(out.splitlines()[-1])
    assert (line["not_judged"], line["ok"], line["error"]) == (1, 0, 0)
    assert "not judged: " in err
    assert "underexposed: 100% of the pixels are black" in err
    _, row = (tmp_path / "found.csv").read_text().splitlines()
    assert row.split(",")[2:5] == ["not_judged", "", ""]
    assert predict.main([*run, "--no-gate"]) == 0
    assert "every picture is judged, whatever it shows (--no-gate)" in capsys.readouterr().err
    assert (tmp_path / "found.csv").read_text().splitlines()[1].split(",")[2] == "ok"


def test_probe_counts_what_the_gate_lets_pass(trained_sharp, sharp_castings, tmp_path, capsys):
    out = tmp_path / "results"
    run = ["--checkpoint", str(trained_sharp / "best.pth"), "--data", str(sharp_castings)]
    run += ["--gate", "--images", "2", "--external", str(sharp_castings / "unseen")]
    assert probe.main([*run, "--device", "cpu", "--out", str(out)]) == 0
    found = json.loads((out / "gate.json").read_text())
    assert found["gate"] == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["photographs_spoiled"] == 2
    assert found["gate"][f"photographs in {sharp_castings / 'unseen'}"]["pictures"] == 4
    assert found["gate"][SOUND]["pictures"] > 2
    assert found["gate"]["two or more parts"]["pictures"] == 8
    for counts in found["gate"].values():
        assert sum(n for name, n in counts.items() if name != "pictures") == counts["pictures"]
    assert found["gate"]["plain grey"]["not_judged"] == found["gate"]["plain grey"]["pictures"]


# --- limits and distance -------------------------------------------------------------------------


def limits(**measures) -> Limits:
    return Limits({k: Interval(*v) for k, v in measures.items()}, known=1, review=1.3, refuse=4)


@pytest.mark.parametrize(
    ("distance", "opinion"),
    [(0.9, ""), (1.3, ""), (1.31, REVIEW), (4.0, REVIEW), (4.1, NOT_JUDGED), (np.nan, NOT_JUDGED)],
)
def test_what_is_far_from_training_is_for_a_person_and_what_is_farther_for_nobody(
    distance, opinion
):
    assert limits().opinion({}, distance)[0] == opinion


def test_a_measure_that_is_missing_is_no_objection_but_a_missing_hub_is():
    span = (0.4, 0.5, 0.3, 0.6)
    assert not limits(aspect=span).refusal({})
    with_hub = limits(**dict.fromkeys(HUB, span))
    assert "no part found" in with_hub.refusal({})
    assert not with_hub.refusal(dict.fromkeys(HUB, 0.55))
    assert "too large" in with_hub.refusal(dict.fromkeys(HUB, 0.55) | {"hub_size": 0.61})


def test_limits_survive_json_and_refuse_nonsense():
    span = (0, 0.1, 0, 0.3)
    some = limits(**{name: span for name in REASONS if name not in HUB})
    assert Limits.from_dict(json.loads(json.dumps(some.as_dict()))) == some
    wrong = {
        "review": 5, "refuse": float("nan"), "known": "x", "measures": {},
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises((TypeError, ValueError)):
            Limits.from_dict(some.as_dict() | {name: value})
    for bounds in ((0.5, 0.1, 0, 0.3), ("a", "b", "c", "d"), (0, float("nan"), 0, 1)):
        measures = some.measures | {"white": Interval(*bounds)}
        with pytest.raises(ValueError, match=r"white|float"):
            Limits.from_dict(Limits(measures, 1, 1.3, 4).as_dict())
    for names in ("colour", HUB[0]):
        measures = some.measures | {names: Interval(*span)}
        with pytest.raises(ValueError, match="known here"):
            Limits.from_dict(Limits(measures, 1, 1.3, 4).as_dict())


def test_the_distance_is_mahalanobis_and_one_on_average():
    import torch

    random = np.random.default_rng(0)
    mixing = random.standard_normal((6, 6)) + 3 * np.eye(6)
    features = random.standard_normal((4000, 6)) @ mixing + 5
    mean, whitening = fit_distance(features)
    found = Distance(mean, whitening)(torch.from_numpy(features).float()).numpy()
    centred = features - features.mean(0)
    expected = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(np.cov(features.T)), centred)
    assert found == pytest.approx(np.sqrt(expected / 6), rel=0.05)
    assert (found**2).mean() == pytest.approx(1, rel=0.05)


def test_a_dozen_images_and_a_channel_that_never_varies_are_enough():
    import torch

    features = np.random.default_rng(0).standard_normal((12, 40))
    features[:, 7] = 0
    mean, whitening = fit_distance(features)
    usual = Distance(mean, whitening)(torch.from_numpy(features).float())
    odd = torch.from_numpy(features).float()
    odd[:, 7] = 50.0
    assert usual.isfinite().all()
    assert (Distance(mean, whitening)(odd) > 10 * usual.max()).all()


def test_no_number_is_outside_of_all_limits():
    assert limits(detail=(1, 2, 0.5, 3)).refusal({"detail": float("nan")})


def test_photographs_of_a_turned_camera_are_measured_as_they_are_looked_at(tmp_path):
    exif = Image.Exif()
    for orientation, size in ((1, (120, 90)), (3, (120, 90)), (6, (90, 120))):
        exif[0x0112] = orientation
        Image.new("L", (120, 90)).save(tmp_path / "part.jpeg", exif=exif)
        assert upright_size_px(tmp_path / "part.jpeg") == size
        assert read_grey_image(tmp_path / "part.jpeg").size == size


def test_limits_know_a_hub_only_where_parts_have_one():
    plain = {"white": 0.0, "black": 0.0, "contrast": 50.0, "detail": 1.5, "aspect": 1.0,
             "side_px": 300.0}  # fmt: skip
    hub = dict.fromkeys(HUB, 0.5)
    distances = np.array([0.8, 1.0])
    assert fit_limits([plain | hub] * 200 + [plain], distances).with_hub
    assert not fit_limits([plain | hub] * 20 + [plain], distances).with_hub


def test_measures_do_not_depend_on_the_photographs_size(good):
    small, large = (
        measure(np.asarray(photo.resize((300, 300))), photo.size, hub=True)
        for photo in (good, good.resize((900, 900), Image.Resampling.BICUBIC))
    )
    assert small["side_px"] * 3 == large["side_px"]
    for name in {*small} - {"side_px", "detail"}:
        assert small[name] == pytest.approx(large[name], abs=0.03 * max(1, abs(small[name])))


@pytest.mark.real
def test_photographs_of_both_sessions_that_the_model_knows_are_judged(real_data):
    from common.files import ROOT

    predictor = load_predictor(ROOT / "checkpoints" / "released.pth", "cpu")
    paths = sorted((real_data / "test").rglob("*.jpeg"))[::24]
    second = real_data.parent / "casting_512x512"
    if second.is_dir():
        paths += sorted(second.rglob("*.jpeg"))[::20]
    found = predictor.predict(paths)
    assert {one.status for one in found} == {"ok"}
    assert sum(bool(one.error) for one in found) <= 0.01 * len(found) + 1


def test_every_way_in_asks_the_same_gate():
    """What inspects on its own would forget it: only `Predictor.predict` makes decisions."""
    from common.files import ROOT

    for folder in ("inspection", "service", "page"):
        for path in Path(ROOT, folder).glob("*.py"):
            if path.name != "predictor.py":
                assert ".predict_batch(" not in path.read_text(), path
