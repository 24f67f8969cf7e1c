"""A figure says what it was drawn from: in words, dated, and within its width."""

import io
import re

import matplotlib.pyplot as plt
import pytest
from PIL import Image

import common.origin
from common.marks import SOFTWARE
from common.origin import (
    PROTOCOL_WORDS,
    PUBLISHED_SPLIT,
    for_product,
    origin,
    protocol_words,
    seen_text,
)
from common.plotting import figure_png, save
from dataset.arguments import PROTOCOLS


@pytest.fixture
def dated(monkeypatch):
    monkeypatch.setattr(common.origin, "today", lambda: "2026-01-31")


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("protocol", "folds", "words"),
    [
        ("kaggle", "", "protocol: the folders train and test as they are"),
        ("casting", "5 folds pooled", "protocol: unseen castings, 5 folds pooled"),
        ("folders", "", "protocol: folders as they are"),
    ],
)
def test_the_protocol_is_put_into_words_and_the_date_comes_last(dated, protocol, folds, words):
    found = origin("data: castings", "", protocol=protocol, folds=folds)
    assert plain(found) == f"data: castings · {words} · drawn: 2026-01-31"


def test_only_the_split_with_the_published_hash_is_called_so():
    assert protocol_words("kaggle", PUBLISHED_SPLIT) == "published split"
    assert protocol_words("kaggle", "") == "the folders train and test as they are"
    assert protocol_words("casting", PUBLISHED_SPLIT) == "unseen castings"


def test_every_protocol_has_its_words():
    assert set(PROTOCOL_WORDS) == set(PROTOCOLS)


def test_how_many_castings_are_known_is_a_share_too():
    assert seen_text(1, 8) == "1 of 8 images (12.5 %) show a casting that is also in training"


def test_short_facts_are_kept_on_one_line_and_long_ones_are_not():
    short, long = "data: 3 parts", "models: " + " ".join(["0123456789ab"] * 9)
    first, second, _ = origin(short, long).split(" · ")
    assert " " not in first
    assert second == long


def test_a_long_origin_and_title_do_not_widen_the_figure():
    words = "a casting that costs $5 or $6, " * 6

    def width(**texts):
        figure, _ = plt.subplots(figsize=(5, 4), layout="constrained")
        with Image.open(io.BytesIO(figure_png(figure, **texts))) as image:
            return image.width

    assert width(title=words, origin=words) <= width() + 10


def test_a_figure_is_marked_and_written_with_its_origin(tmp_path, monkeypatch):
    figure, _ = plt.subplots(layout="constrained")
    save(figure, tmp_path / "a.png", "Title", "model: a\tb.pth")
    texts = [text.get_text() for text in figure.texts]
    assert any(re.search(r"a\\tb", text) for text in texts)  # spelt out, not a tab
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Software"] == SOFTWARE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9 images of 2 castings, by casting", "9 images of 2 parts, by part"),
        ("unseen castings: leak 0.", "unseen parts: leak 0."),
        ("casting-wise, runs/casting/best.pth, casting_012", None),
    ],
)
def test_of_another_product_parts_are_told_not_castings(text, said):
    assert for_product(text, "magnetic_tiles") == (said or text)
    assert for_product(text, "castings") == for_product(text, "synthetic castings") == text
