"""The store holds the right pixels whatever happens to its cache; batches repeat bit for bit."""

import os
import resource
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from common.errors import UserError
from data_split import load_split
from dataset import store
from dataset.batches import (
    Batches,
    make_batches,
    order_by_castings,
    order_by_classes,
    seeded,
    with_drawn_copies,
)
from dataset.listing import ImageRow, hashed
from dataset.store import describe_store, open_store

CPU = torch.device("cpu")
SIZE_PX = 16


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for the store's files."""
    monkeypatch.setenv("CASTING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path):
    """Folder and rows of six images with a value of their own each."""
    root = tmp_path / "pictures"
    rows = []
    for n in range(6):
        path = f"train/{'ok' if n % 2 else 'def'}/{n}.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 40 * n + 10, np.uint8)).save(root / path)
        rows.append(ImageRow(path, path.split("/")[1], "val" if n > 3 else "train"))
    return root, hashed(root, rows)


def no_decoding(monkeypatch):
    def fail(path, *how):
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr(store, "read_framed", fail)


def values(store):
    return [int(image[0, 0]) for image in store]


def store_file(cache):
    return next(cache.glob("*.u8"))


def random_batches(n=22, **options):
    """Batches of 4 of random pixels; each target is the number of its image."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 12, 12), np.uint8))
    defaults = {"batch_size": 4, "device": CPU, "shuffle": True}
    return Batches(pixels, torch.arange(n), **(defaults | options))


def order_of(batches, epoch):
    return torch.cat([targets for _, targets in batches.epoch(epoch)]).tolist()


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b)
        for pair in zip(first, second, strict=True)
        for a, b in zip(*pair, strict=True)
    )


# --- the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [32, 61, 100])
def test_store_holds_what_torchvision_resizes(castings, size_px):
    rows, _ = load_split(castings)
    rows = rows[::8]
    store = open_store(castings, rows, size_px, cache=False)
    assert (store.shape, store.dtype) == ((len(rows), size_px, size_px), np.uint8)
    resize = transforms.Resize((size_px, size_px))
    for row, pixels in zip(rows, store, strict=True):
        with Image.open(castings / row.path) as image:
            expected = np.asarray(resize(image.convert("RGB"))).astype(int)
        assert np.abs(expected - pixels[..., None]).max() <= 1, row.path


def test_store_follows_the_order_of_rows(images, cache):
    root, rows = images
    assert values(open_store(root, rows, SIZE_PX)) == [10, 50, 90, 130, 170, 210]
    assert values(open_store(root, rows[::-1], SIZE_PX)) == [210, 170, 130, 90, 50, 10]
    assert values(open_store(root, rows[2:4], SIZE_PX)) == [90, 130]


def test_second_opening_reads_the_cache(images, cache, monkeypatch):
    root, rows = images
    first = np.array(open_store(root, rows, SIZE_PX))
    no_decoding(monkeypatch)
    assert np.array_equal(open_store(root, rows, SIZE_PX), first)
    with pytest.raises(AssertionError, match="decoded again"):  # another size is another store
        open_store(root, rows, SIZE_PX + 1)


def test_cached_store_cannot_be_written_to_by_accident(images, cache):
    store = open_store(*images, SIZE_PX)
    with pytest.raises(ValueError, match="read-only"):
        store[0] = 0


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
        lambda file: file.with_suffix(".json").unlink(),
        lambda file: file.with_suffix(".json").write_text('{"crc'),
        lambda file: file.with_suffix(".json").write_text("[1]"),
    ],
    ids=["bit flipped", "truncated", "empty", "gone", "no sum", "half a sum", "other sum"],
)
def test_damaged_cache_is_made_anew(images, cache, monkeypatch, damage):
    expected = np.array(open_store(*images, SIZE_PX))
    damage(store_file(cache))
    assert np.array_equal(open_store(*images, SIZE_PX), expected)
    no_decoding(monkeypatch)
    assert np.array_equal(open_store(*images, SIZE_PX), expected)


def test_changed_image_is_noticed(images, cache):
    root, rows = images
    open_store(root, rows, SIZE_PX)
    Image.fromarray(np.full((20, 20), 99, np.uint8)).save(root / rows[3].path)
    assert values(open_store(root, hashed(root, rows), SIZE_PX)) == [10, 50, 90, 99, 170, 210]


def test_store_without_cache_leaves_no_file(images, cache):
    store = open_store(*images, SIZE_PX, cache=False)
    assert values(store) == [10, 50, 90, 130, 170, 210]
    assert not cache.exists()


@pytest.mark.parametrize("use_cache", [True, False])
def test_all_unreadable_images_are_listed_and_nothing_is_kept(images, cache, use_cache):
    root, rows = images
    for n in (1, 4):
        (root / rows[n].path).write_bytes(b"<html>")
    with pytest.raises(UserError, match="2 unreadable images") as caught:
        open_store(root, rows, SIZE_PX, cache=use_cache)
    assert all(f"{rows[n].path}: not an image" in str(caught.value) for n in (1, 4))
    assert not cache.exists() or os.listdir(cache) == []


def test_cache_folder_that_cannot_be_used_is_named_with_what_to_do(images, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CASTING_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write .*file/images.*--no-cache"):
        open_store(*images, SIZE_PX)


def test_full_disk_is_a_user_error_that_leaves_nothing_behind(images, cache):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*images.*File too large.*--no-cache"):
            open_store(*images, SIZE_PX)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(cache) == []


def test_store_is_described_for_people():
    text = describe_store(np.zeros((1250, 40, 40), np.uint8))
    assert text == "1,250 images at 40 px, 2 MB"


# --- batches -------------------------------------------------------------------------------------


def test_every_image_comes_once_an_epoch_with_its_own_target():
    batches = random_batches()
    found = list(batches.epoch(3))
    assert [len(targets) for _, targets in found] == [4, 4, 4, 4, 4, 2]
    assert len(batches) == 6
    assert sorted(order_of(batches, 3)) == list(range(22))
    for images, targets in found:
        assert (images.shape[1:], images.dtype) == ((1, 12, 12), torch.float32)
        assert torch.equal(images, batches.pixels[targets].unsqueeze(1) / 255)


def test_order_depends_on_seed_and_epoch_only():
    expected = order_of(random_batches(seed=5), 2)
    torch.manual_seed(123)
    batches = random_batches(seed=5)
    order_of(batches, 0)
    assert order_of(batches, 2) == expected
    others = [order_of(random_batches(seed=s), e) for s, e in ((5, 1), (4, 2), (2, 5))]
    assert expected not in others


def test_without_shuffling_images_come_in_their_order():
    assert order_of(random_batches(shuffle=False), 7) == list(range(22))


def test_batches_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    list(random_batches(augment="full").epoch())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["none", "flip", "full", "strong"])
def test_epoch_continued_in_the_middle_is_the_tail_bit_for_bit(kind):
    whole = list(random_batches(augment=kind).epoch(4))
    for done in range(len(whole) + 1):
        tail = list(random_batches(augment=kind).epoch(4, first_step=done))
        assert same(tail, whole[done:])


@pytest.mark.parametrize("kind", ["flip", "full"])
def test_augmentation_differs_from_epoch_to_epoch_and_step_to_step(kind):
    n = 8
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8))
    batches = Batches(pixels.repeat(n, 1, 1), torch.arange(n), 4, CPU, augment=kind)
    first, second = (torch.stack([images for images, _ in batches.epoch(e)]) for e in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


# --- several processes ---------------------------------------------------------------------------


@given(images=st.integers(1, 40), batch_size=st.integers(1, 9), world_size=st.integers(1, 5))
def test_shares_of_all_processes_are_the_batches_of_one(images, batch_size, world_size):
    alone = random_batches(images, batch_size=batch_size)
    for step in range(len(alone)):
        ranks = [replace(alone, rank=r, world_size=world_size) for r in range(world_size)]
        shares = [one.share(step) for one in ranks]
        places = [place for share in shares for place in range(share.start, share.stop)]
        assert places == list(range(alone.share(step).start, alone.share(step).stop))
        assert len(places) == alone.size_of_batch(step)
        sizes = [share.stop - share.start for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert sizes[0] >= 1  # the first process's BatchNorm statistics are the ones that count


def test_processes_cut_the_same_epoch():
    whole = list(random_batches(9).epoch(2))
    parts = [list(random_batches(9, rank=rank, world_size=2).epoch(2)) for rank in (0, 1)]
    for step, (_, targets) in enumerate(whole[:-1]):
        assert torch.equal(targets, torch.cat([part[step][1] for part in parts]))
    # Of the last batch's one image the second process has no share; it gets that image all the same
    assert [part[-1][1].tolist() for part in parts] == [whole[-1][1].tolist()] * 2


def test_processes_augment_their_shares_differently():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8))
    alike = random_batches(8, augment="full", batch_size=8)
    alike.pixels = pixels.repeat(8, 1, 1)
    first, second = (
        next(iter(replace(alike, rank=rank, world_size=2).epoch()))[0] for rank in (0, 1)
    )  # fmt: skip
    assert not torch.equal(first, second)


# --- which images make an epoch ------------------------------------------------------------------

castings_of_images = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40)


@given(castings=castings_of_images, images=st.integers(1, 100), epoch=st.integers(0, 5))
def test_every_casting_comes_equally_often_whatever_its_images(castings, images, epoch):
    order = order_by_castings(castings, images, seeded(0, epoch)).tolist()
    assert len(order) == images
    assert set(order) <= set(range(len(castings)))
    names = set(castings)
    times = [sum(castings[i] == name for i in order) for name in names]
    assert max(times) - min(times) <= 1
    for start in range(0, images, len(names)):  # each round takes every casting once
        taken = [castings[i] for i in order[start : start + len(names)]]
        assert len(set(taken)) == len(taken)


@given(castings=st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_every_image_of_a_casting_has_its_turn(castings):
    order = order_by_castings(castings, 600, seeded(1))
    # Of 12 images one is left out of 200 draws three times in ten million.
    assert set(order.tolist()) == set(range(len(castings)))


def test_castings_come_in_another_order_each_round_and_epoch():
    castings = list("abcdefghijklmnopqrst")
    orders = [order_by_castings(castings, 40, seeded(0, epoch)).tolist() for epoch in (0, 1)]
    rounds = [order[start : start + 20] for order in orders for start in (0, 20)]
    assert all(sorted(order) == list(range(20)) for order in rounds)
    assert len(set(map(tuple, rounds))) == 4


def sampled(castings, **options):
    """Batches that draw by castings; each target is the number of its image."""
    return random_batches(len(castings), sampler="casting", castings=castings, **options)


def test_order_by_castings_depends_on_seed_and_epoch_only():
    castings = ["a", "b", "b", "c", "c", "c", "d", "e"]
    expected = order_of(sampled(castings, seed=5), 2)
    torch.manual_seed(123)
    assert order_of(sampled(castings, seed=5), 2) == expected
    others = [order_of(sampled(castings, seed=s), e) for s, e in ((5, 1), (4, 2), (2, 5))]
    assert expected not in others


def test_batches_by_castings_hold_the_images_of_their_order():
    castings = ["a"] * 30 + ["b", "c"]
    batches = sampled(castings, epoch_size=24)
    assert (batches.images, len(batches)) == (24, 6)
    order = order_of(batches, 3)
    assert order == batches.order(3).tolist()
    assert [sum(castings[i] == name for i in order) for name in "abc"] == [8, 8, 8]
    images = torch.cat([images for images, _ in batches.epoch(3)])
    assert torch.equal(images[:, 0], batches.pixels[order] / 255)


@pytest.mark.parametrize("sampler", ["image", "casting"])
def test_epoch_of_any_size_continued_in_the_middle_is_its_tail(sampler):
    options = {"sampler": sampler, "castings": ["a", "b"] * 11, "epoch_size": 30}
    whole = list(random_batches(augment="flip", **options).epoch(4))
    assert [len(targets) for _, targets in whole] == [4] * 7 + [2]
    tail = list(random_batches(augment="flip", **options).epoch(4, first_step=5))
    assert same(tail, whole[5:])


def test_classes_alike_and_castings_alike_within_a_class():
    castings = ["a"] * 30 + ["b"] * 2 + ["c"] * 4 + ["b"] * 4  # b has parts of either class
    is_defect = torch.tensor([False] * 32 + [True] * 8)

    def ordered(defective, good, seed):
        parts = ((True, defective), (False, good))
        return order_by_classes(castings, is_defect, [""] * 40, parts, seeded(seed)).tolist()

    order = ordered(8, 16, seed=3)
    drawn = Counter((castings[i], bool(is_defect[i])) for i in order)
    assert drawn == {("a", False): 8, ("b", False): 8, ("c", True): 4, ("b", True): 4}
    assert order != ordered(8, 16, seed=4)
    assert not any(is_defect[i] for i in ordered(0, 7, seed=3))


HALVES_OF_30 = ((True, 15), (False, 15))


def test_one_session_gives_the_order_of_none():
    castings, is_defect = list("aabbbcdd"), torch.arange(8) > 4
    orders = [
        order_by_classes(castings, is_defect, [name] * 8, HALVES_OF_30, seeded(5))
        for name in ("", "light")
    ]
    assert orders[0].tolist() == orders[1].tolist()


def test_sessions_are_alike_within_a_class_that_has_several():
    castings = ["a"] * 20 + ["b"] * 8 + ["c"] * 2 + ["d"] * 10
    sessions = ["light"] * 28 + ["dark"] * 2 + ["light"] * 10
    is_defect = torch.tensor([False] * 30 + [True] * 10)  # all of one session
    halves = ((True, 16), (False, 16))
    order = order_by_classes(castings, is_defect, sessions, halves, seeded(3)).tolist()
    assert Counter(castings[i] for i in order) == {"a": 4, "b": 4, "c": 8, "d": 16}
    halves = ((True, 8), (False, 7))
    odd = order_by_classes(castings, is_defect, sessions, halves, seeded(3)).tolist()
    assert Counter((sessions[i], bool(is_defect[i])) for i in odd) == {
        ("light", False): 4, ("dark", False): 3, ("light", True): 8,
    }  # fmt: skip


def test_the_share_of_real_defects_is_the_one_asked_for():
    is_defect = torch.arange(40) % 2 == 0
    batches = random_batches(
        40, sampler="class", castings=["a"] * 40, sessions=[""] * 40, is_defect=is_defect,
        epoch_size=50, real_defects=0.2,
    )  # fmt: skip
    assert int(is_defect[batches.order(3)].sum()) == 10


def test_kinds_of_defects_are_alike_and_the_castings_of_each():
    castings = ["a"] * 20 + ["b"] * 8 + ["c"] * 2 + ["d"] * 9 + ["e"]
    kinds = ["ok"] * 28 + ["chip"] * 2 + ["crack"] * 10
    is_defect = torch.tensor([kind != "ok" for kind in kinds])
    batches = random_batches(
        40, sampler="kind", castings=castings, kinds=kinds, is_defect=is_defect, epoch_size=32
    )
    order = batches.order(3).tolist()
    assert Counter(kinds[i] for i in order) == {"ok": 16, "chip": 8, "crack": 8}
    assert Counter(castings[i] for i in order) == {"a": 8, "b": 8, "c": 8, "d": 4, "e": 4}


def test_good_parts_are_validated_beside_copies_with_drawn_defects():
    pixels = torch.randint(60, 190, (20, 64, 64), generator=seeded(1)).byte()
    good = Batches(
        pixels, torch.ones(20, dtype=torch.int64), 8, CPU,
        castings=[f"part {n}" for n in range(20)], is_defect=torch.zeros(20, dtype=torch.bool),
    )  # fmt: skip
    both = with_drawn_copies(good, defective=0, where="anywhere")
    copies = len(both.targets) - 20
    assert 10 < copies <= 20
    assert both.targets.tolist() == [1] * 20 + [0] * copies
    assert both.is_defect.tolist() == [False] * 20 + [True] * copies
    assert torch.equal(both.pixels[:20], pixels)
    for image, name in zip(both.pixels[20:], both.castings[20:], strict=True):
        original = pixels[int(name.removeprefix("drawn on part "))].int()
        assert 0 < ((image.int() - original).abs() > 6).float().mean() < 1
    again = with_drawn_copies(good, defective=0, where="anywhere")
    assert torch.equal(again.pixels, both.pixels)


@pytest.mark.parametrize("where", ["ring", "anywhere"])
def test_drawn_copies_are_half_as_strong_as_defects_in_training(where, monkeypatch):
    pixels = (torch.arange(64 * 64) % 50 + 125).view(1, 64, 64).repeat(12, 1, 1).byte()
    names = [f"part {number}" for number in range(12)]
    is_defect = torch.zeros(12, dtype=torch.bool)
    good = Batches(pixels, torch.ones(12).long(), 4, CPU, castings=names, is_defect=is_defect)
    faint = with_drawn_copies(good, 0, where).pixels[12:].int() - pixels[0].int()
    monkeypatch.setattr("dataset.batches.FAINT", 1.0)
    full = with_drawn_copies(good, 0, where).pixels[12:].int() - pixels[0].int()
    assert full.abs().max() > 60
    assert (2 * faint - full).abs().max() <= 2  # of rounding


def with_drawn_defects(**options) -> Batches:
    pixels = torch.full((40, 64, 64), 150, dtype=torch.uint8)
    is_defect = torch.arange(40) % 2 == 0
    defaults = {"is_defect": is_defect, "synthetic_defects": 0.5, "augment": "strong"}
    return Batches(pixels, torch.arange(40), 8, CPU, **(defaults | options))


def test_defects_are_put_on_good_parts_only_and_on_the_share_asked_for():
    batches = with_drawn_defects(synthetic_defects=1.0)
    images = torch.cat([images for images, _ in batches.epoch()])
    assert images.shape == (40, 2, 64, 64)
    marked = images[:, 1].amax((1, 2)) > 0
    assert not marked[::2].any()
    assert marked[1::2].float().mean() > 0.7
    half = torch.cat([i for e in range(5) for i, _ in with_drawn_defects().epoch(e)])[:, 1]
    assert 0.3 < (half.amax((1, 2)) > 0)[1::2].float().mean() < 0.6


def test_synthetic_defects_go_on_in_the_middle_of_an_epoch():
    whole = list(with_drawn_defects(shuffle=True).epoch(2))
    assert same(list(with_drawn_defects(shuffle=True).epoch(2, first_step=3)), whole[3:])


@pytest.mark.parametrize("size", [10, 22, 23, 44, 50])
def test_epoch_size_takes_images_equally_often(size):
    batches = random_batches(epoch_size=size)
    order = order_of(batches, 0)
    times = [order.count(image) for image in range(22)]
    assert len(order) == batches.images == size
    assert max(times) - min(times) <= 1
    assert order_of(batches, 1) != order


def test_epoch_as_large_as_the_set_is_the_usual_one():
    assert order_of(random_batches(epoch_size=22), 3) == order_of(random_batches(), 3)
    assert order_of(random_batches(epoch_size=5, shuffle=False), 3) == list(range(5))


def test_split_brings_the_castings_of_its_own_images(images, cache):
    root, rows = images
    rows = [replace(row, casting=f"casting {n // 2}") for n, row in enumerate(rows)]
    store = open_store(root, rows, SIZE_PX)
    options = {"batch_size": 2, "sampler": "casting", "epoch_size": 8}
    batches = make_batches(store, rows, "train", ["def", "ok"], CPU, **options)
    assert list(batches.castings) == ["casting 0", "casting 0", "casting 1", "casting 1"]
    order = batches.order(0)
    assert sorted((order // 2).tolist()) == [0] * 4 + [1] * 4


# --- batches of one split ------------------------------------------------------------------------


def test_split_has_its_own_images_and_class_indices(images, cache):
    root, rows = images
    store = open_store(root, rows, SIZE_PX)
    options = {"batch_size": 3}
    for split, numbers in (("train", [0, 1, 2, 3]), ("val", [4, 5])):
        for names in (["def", "ok"], ["ok", "def"]):
            found = list(make_batches(store, rows, split, names, CPU, **options).epoch())
            images = torch.cat([images for images, _ in found])
            greys = (images[:, 0, 0, 0] * 255).round().int().tolist()
            assert greys == [40 * n + 10 for n in numbers]
            targets = torch.cat([targets for _, targets in found]).tolist()
            assert [names[t] for t in targets] == [rows[n].label for n in numbers]


def test_store_on_disk_and_tensor_in_memory_give_the_same_batches(images, cache):
    root, rows = images
    rows = [replace(row, split="train") for row in rows]
    store = open_store(root, rows, SIZE_PX)
    options = {"batch_size": 4, "shuffle": True, "augment": "full", "seed": 3}
    on_disk = make_batches(store, rows, "train", ["def", "ok"], CPU, **options)
    pixels = torch.from_numpy(np.array(store))
    in_memory = Batches(pixels, on_disk.targets, device=CPU, **options)
    assert same(list(on_disk.epoch(1)), list(in_memory.epoch(1)))


def test_empty_split_is_refused_by_name(images, cache):
    store = open_store(*images, SIZE_PX)
    with pytest.raises(UserError, match="'test' holds no image"):
        make_batches(store, images[1], "test", ["def", "ok"], CPU, batch_size=2)
