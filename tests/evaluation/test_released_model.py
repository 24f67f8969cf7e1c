"""Figures on unseen castings are told of the released model alone, and are those of its card."""

import json
from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import ROOT
from evaluation import released_model
from evaluation.released_model import unseen_figures
from inspection.model_file import RESEARCH_ONLY, restriction
from model import load_checkpoint

FOLDER = ROOT / "checkpoints"


@pytest.fixture(scope="module")
def released():
    return load_checkpoint(FOLDER / "released.pth")


def test_the_released_model_has_the_figures_of_its_card(released):
    unseen, card = unseen_figures(released), (FOLDER / "MODEL_CARD.md").read_text()
    missed = unseen.figures["counts"]
    assert f"{missed['missed']}/{missed['defects']} = " in card
    assert unseen.sessions == ["dark", "light"]
    assert unseen.band_text(0.2, 0.8) in card
    assert unseen.band_text(0.2, 0.8).startswith("680 of 8,391 for a person")
    assert unseen.band_text(0.3, 0.8) == ""


def test_other_models_have_none(released, trained):
    assert unseen_figures(load_checkpoint(trained / "best.pth")) is None
    assert unseen_figures(replace(released, adaptation={"mode": "network"})) is None
    assert unseen_figures(replace(released, training={**released.training, "epochs": 1})) is None


def test_without_a_released_model_there_are_none(released, tmp_path, monkeypatch):
    monkeypatch.setattr(released_model, "RELEASED", tmp_path / "released.json")
    assert unseen_figures(released) is None
    (tmp_path / "released.json").write_text(json.dumps({"epoch": released.epoch}))
    with pytest.raises(UserError, match="make it anew"):
        unseen_figures(released)


def test_the_restriction_is_the_cards(released):
    assert restriction(released) == RESEARCH_ONLY
    assert "**Do not sort real parts with it**" in (FOLDER / "MODEL_CARD.md").read_text()
    assert restriction(replace(released, data="gears")) == ""
