"""Copies of one casting are recognised whatever was done to them; two castings are never one."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from dataset.hubs import NoHubError, contrast, find_hubs
from dataset.recognition import (
    SAME_CASTING,
    Castings,
    best_positions,
    correlations,
    fingerprint,
    match,
    ring_spectra,
)
from rendering.casting import render_casting
from rendering.data_set import make_castings, widen
from rendering.options import RenderOptions

SIZE_PX = 300


def harsh_copy(photo, random):
    """A copy uint8 (300, 300) of a widened photograph, changed more than the real ones are."""
    angle, zoom = random.uniform(0, 2 * np.pi), random.uniform(0.9, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([random.choice([-1.0, 1.0]), 1.0])
    shear = np.array([[1.0, random.uniform(-0.06, 0.06)], [0.0, 1.0]])
    move = 2 / zoom * turn @ mirror @ shear
    middle = photo.width / 2 + random.uniform(-0.04, 0.04, 2) * 2 * SIZE_PX
    matrix = np.column_stack([move, middle - move @ np.full(2, SIZE_PX / 2)]).ravel()
    affine, smooth = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    grey = np.asarray(photo.transform((SIZE_PX, SIZE_PX), affine, matrix, smooth)) / 255
    grey = 255 * random.uniform(0.8, 1.2) * grey ** random.uniform(0.8, 1.25)
    side, ramp = random.uniform(0, 2 * np.pi), np.linspace(-0.15, 0.15, SIZE_PX)
    grey *= 1 + np.cos(side) * ramp[:, None] + np.sin(side) * ramp
    grey += random.normal(0, 1.5, grey.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(file, "jpeg", quality=60)
    return np.asarray(Image.open(file))


def harsh_copies(castings, copies, seed=0):
    """Images uint8 (castings * copies, 300, 300), every other casting good; and their castings."""
    random = np.random.default_rng(seed)
    images = []
    for casting in make_castings(RenderOptions(seed=seed), 0, castings):
        photo = widen(render_casting(casting, 0, SIZE_PX)[0])
        images += [harsh_copy(photo, random) for _ in range(copies)]
    return np.stack(images), np.repeat(np.arange(castings), copies)


@pytest.fixture(scope="module")
def copies():
    """Four harsh copies of six castings."""
    return harsh_copies(6, 4)


@pytest.fixture(scope="module")
def recognised(copies):
    """The copies, compared; so few that each is every other one's partner."""
    return fingerprint([copies[0]])


def score_table(castings):
    """Scores (N, N) of all pairs, nan where two images were not compared."""
    count = len(castings.partners)
    table = np.full((count, count), np.nan)
    np.put_along_axis(table, castings.partners.astype(int), castings.scores, axis=1)
    return table


# --- on rendered castings ------------------------------------------------------------------------


def test_copies_of_a_casting_are_one_group_and_each_casting_has_its_own(copies, recognised):
    assert recognised.groups().tolist() == copies[1].tolist()


def test_scores_of_copies_and_of_different_castings_lie_far_apart(copies, recognised):
    scores, truth = score_table(recognised), copies[1]
    itself = np.eye(len(truth), dtype=bool)
    alike = truth[:, None] == truth
    assert np.isnan(scores[itself]).all()  # nobody is his own partner
    assert scores[alike & ~itself].min() >= SAME_CASTING
    assert scores[~alike].max() < SAME_CASTING - 0.3


def test_a_score_is_the_same_from_either_side(recognised):
    scores = score_table(recognised)
    assert np.allclose(scores, scores.T, atol=1e-5, equal_nan=True)


def test_groups_are_numbered_in_the_order_in_which_they_first_appear(copies):
    images, truth = copies
    order = np.random.default_rng(1).permutation(len(images))
    groups = fingerprint([images[order]]).groups()
    _, first = np.unique(groups, return_index=True)
    assert first.tolist() == sorted(first)
    assert adjusted_rand_score(truth[order], groups) == 1


def test_the_same_image_twice_scores_one(copies):
    images, _ = copies
    found = fingerprint([images[[0, 4, 8, 4]]])
    partner, score = found.best_match(np.ones(4, bool))
    assert (partner[1], partner[3]) == (3, 1)
    assert score[[1, 3]] == pytest.approx(1, abs=1e-4)
    assert score[[0, 2]].max() < SAME_CASTING


@pytest.mark.parametrize("sizes", [[1] * 24, [23, 1], [7, 7, 7, 3]])
def test_the_batches_in_which_images_come_do_not_matter(copies, recognised, sizes):
    found = fingerprint(np.split(copies[0], np.cumsum(sizes)[:-1]))
    expected = score_table(recognised)
    assert np.allclose(score_table(found), expected, atol=1e-4, equal_nan=True)


def test_progress_counts_every_image_once_a_stage(copies):
    done = []
    fingerprint(np.split(copies[0], 3), lambda images, what: done.append((what, images)))
    stages = list(dict.fromkeys(what for what, _ in done))
    assert [sum(n for w, n in done if w == stage) for stage in stages] == [24, 24]


@pytest.mark.slow
def test_sixty_castings_of_twenty_copies_are_told_apart():
    images, truth = harsh_copies(60, 20)
    groups = fingerprint(np.array_split(images, 12)).groups()
    assert adjusted_rand_score(truth, groups) >= 0.99
    for group in range(groups.max() + 1):
        assert len(set(truth[groups == group])) == 1


# --- the ring ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_and_mirroring_an_image_hardly_change_its_ring(copies, quarters, mirrored):
    image = copies[0][5]
    moved = np.rot90(image, quarters)
    moved = moved[:, ::-1] if mirrored else moved
    pair = np.stack([image, moved])
    spectra = ring_spectra(pair, torch.from_numpy(np.stack(find_hubs(pair))))
    assert float(best_positions(correlations(spectra[0], spectra[1:]))[0]) > 0.9


def test_spectra_have_unit_norm(copies):
    images = copies[0][:5]
    spectra = ring_spectra(images, torch.from_numpy(np.stack(find_hubs(images))))
    assert torch.allclose(torch.linalg.vector_norm(spectra, dim=(1, 2)), torch.ones(5))


def test_all_images_without_a_hub_are_named(copies):
    images = copies[0].copy()
    bad = [2, 3, 11, 23]
    images[bad] = np.random.default_rng(0).integers(100, 256, (4, SIZE_PX, SIZE_PX))
    with pytest.raises(NoHubError, match="4 images") as caught:
        fingerprint(np.array_split(images, 5))
    assert caught.value.indices == bad


# --- turning marks that castings share -----------------------------------------------------------


def turned(photo, amplitude):
    """A photograph with spiralling turning marks on its ring: 12, 24 and 36 around it."""
    side = len(photo)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    ring = np.clip((radius - 82) / 4, 0, 1) * np.clip((120 - radius) / 4, 0, 1)
    marks = sum(np.cos(number * angle + 0.1 * radius) for number in (12, 24, 36))
    return np.clip(photo + amplitude * ring * marks, 0, 255).astype(np.uint8)


def test_castings_with_turning_marks_alike_are_told_apart():
    random = np.random.default_rng(0)
    images = []
    for casting in make_castings(RenderOptions(), 0, 12):
        photo = turned(render_casting(casting, 0, SIZE_PX)[0], amplitude=10)
        images += [harsh_copy(widen(photo), random) for _ in range(4)]
    groups = fingerprint([np.stack(images)]).groups()
    assert adjusted_rand_score(np.repeat(np.arange(12), 4), groups) >= 0.98


def test_a_ring_that_matches_as_well_elsewhere_is_no_match():
    partners, scores = np.array([[1], [0]], np.int32), np.full((2, 1), 0.9, np.float32)
    assert Castings(partners, scores, scores - 0.5).groups().tolist() == [0, 0]
    assert Castings(partners, scores, scores - 0.3).groups().tolist() == [0, 1]


# --- from scores to groups -----------------------------------------------------------------------


@st.composite
def compared(draw):
    """Castings as comparing up to 12 images may give them: any scores, equal from either side."""
    count = draw(st.integers(2, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = random.integers(-2, 21, (count, count)) / 20
    scores = np.minimum(scores, scores.T)
    partners = np.stack([random.permutation(np.delete(np.arange(count), i)) for i in range(count)])
    partners = partners[:, : draw(st.integers(1, count - 1))]
    chosen = np.take_along_axis(scores, partners, axis=1)
    return Castings(partners.astype(np.int32), chosen.astype(np.float32), np.full_like(chosen, -1))


def connected(castings, threshold):
    """Groups by walking from image to image."""
    neighbours = {i: set() for i in range(len(castings.partners))}
    for i, row in enumerate(zip(castings.partners, castings.scores, strict=True)):
        for partner, score in zip(*row, strict=True):
            if score >= threshold:
                neighbours[i].add(int(partner))
                neighbours[int(partner)].add(i)
    group = {}
    for start in neighbours:
        number, waiting = len(set(group.values())), [start]
        while waiting:
            image = waiting.pop()
            if image not in group:
                group[image] = number
                waiting += neighbours[image]
    return [group[i] for i in range(len(group))]


@given(castings=compared(), threshold=st.integers(0, 21).map(lambda n: n / 20 + 0.01))
def test_groups_are_what_hangs_together_at_the_threshold(castings, threshold):
    assert castings.groups(threshold).tolist() == connected(castings, threshold)


@given(castings=compared(), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_a_higher_threshold_only_cuts_groups_apart(castings, thresholds):
    coarse, fine = (castings.groups(threshold) for threshold in thresholds)
    assert len(set(zip(coarse, fine, strict=True))) == len(set(fine)) >= len(set(coarse))


@given(castings=compared(), bits=st.integers(0, 2**12 - 1))
def test_best_match_is_the_highest_score_among_the_chosen(castings, bits):
    among = np.array([bits >> i & 1 for i in range(len(castings.partners))], bool)
    partners, scores = castings.best_match(among)
    for i, row in enumerate(zip(castings.partners, castings.scores, strict=True)):
        chosen = {int(p): s for p, s in zip(*row, strict=True) if among[p] and s >= 0}
        if chosen:
            assert scores[i] == chosen[int(partners[i])] == max(chosen.values())
        else:
            assert (partners[i], scores[i]) == (-1, 0)


def test_a_black_image_matches_nothing_and_spoils_nothing():
    random = np.random.default_rng(0)
    spectra = torch.complex(*torch.from_numpy(random.standard_normal((2, 120, 16, 8))).float())
    spectra /= torch.linalg.vector_norm(spectra, dim=(1, 2), keepdim=True)
    spectra[60:] = spectra[:60]  # each twice
    hub = torch.tensor([[[150.0, 150.0], [60.0, 0.0], [0.0, 60.0]]])
    black = ring_spectra(np.zeros((1, 300, 300), np.uint8), hub)
    assert not black.isnan().any()
    found = match(torch.cat([spectra, torch.zeros(1, 16, 8)])).groups()
    assert found[:60].tolist() == found[60:120].tolist() == list(range(60))
    assert found[120] == 60


def test_contrasts_come_with_what_is_recognised(copies, recognised):
    images = copies[0]
    expected = contrast(images, torch.from_numpy(np.stack(find_hubs(images))))
    assert np.allclose(recognised.contrasts, expected.numpy(), atol=1e-3)
