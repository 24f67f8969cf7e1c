"""Sound JPEGs of every kind are read; those of which data is missing or wrong are refused."""

import random

import numpy as np
import pytest
from builders import encoded, jpeg_like_photograph
from PIL import Image

from imaging.jpeg import parse_jpeg
from imaging.reading import UnreadableImageError, decode_grey

KINDS = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "colour": {"mode": "RGB"},
    "full colour, progressive": {"mode": "RGB", "subsampling": 0, "progressive": True},
    "colour, restarts": {"mode": "RGB", "restart_marker_blocks": 5},
}


@pytest.fixture(scope="module", params=KINDS)
def photograph(request) -> bytes:
    return jpeg_like_photograph(**KINDS[request.param])


def data_of(jpeg: bytes) -> tuple[int, int]:
    scans = parse_jpeg(jpeg).scans
    return scans[0].pieces[0][0], scans[-1].pieces[-1][1]


def is_refused(data: bytes) -> bool:
    try:
        decode_grey(data)
    except UnreadableImageError:
        return True
    return False


@pytest.mark.parametrize("size", [512, 4096])
def test_lost_blocks_of_a_photograph_are_noticed(photograph, size):
    begin, end = data_of(photograph)
    places = random.Random(size)
    for _ in range(8):
        at = places.randrange(begin, end - size)
        assert is_refused(photograph[:at] + bytes(size) + photograph[at + size :]), at


def test_data_cut_short_is_noticed_whatever_is_put_behind_it(photograph):
    begin, end = data_of(photograph)
    for share in (0.3, 0.9, 0.99):
        cut = photograph[: begin + int(share * (end - begin))]
        assert is_refused(cut + b"\xff\xd9"), share
        assert is_refused(cut), share
        assert is_refused(cut + bytes(2000) + b"\xff\xd9"), share


def test_data_of_another_photograph_is_noticed(photograph):
    begin, end = data_of(photograph)
    other = jpeg_like_photograph(quality=70)
    middle = (begin + end) // 2
    assert is_refused(photograph[:middle] + other[len(other) // 2 :])
    assert is_refused(photograph[:middle] + photograph[middle + 512 :])


def test_scans_that_are_missing_are_noticed():
    data = jpeg_like_photograph(progressive=True)
    begin = parse_jpeg(data).scans[-1].pieces[0][0]
    last = data.rindex(b"\xff\xda", 0, begin)
    tables = data.rindex(b"\xff\xc4", 0, last)
    assert is_refused(data[:tables] + b"\xff\xd9")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("quality", [50, 100])
def test_sound_files_on_plain_ground_are_read(kind, ground, quality):
    """Plain ground compresses to long runs of zeros."""
    part = decode_grey(jpeg_like_photograph(200))
    canvas = Image.new("L", (700, 650), ground)
    canvas.paste(part, (250, 200))
    options = dict(KINDS[kind])
    image = canvas.convert(options.pop("mode", "L"))
    grey = np.asarray(decode_grey(encoded(image, "JPEG", quality=quality, **options)), int)
    assert np.abs(grey - np.asarray(canvas, int)).mean() < 2


def test_plain_ground_alone_is_read():
    for size in ((1, 1), (17, 5), (600, 500)):
        for options in ({}, {"optimize": True}, {"progressive": True}):
            data = encoded(Image.new("L", size, 255), "JPEG", **options)
            assert np.asarray(decode_grey(data)).min() == 255


def test_noise_at_the_highest_quality_is_read():
    noise = np.random.default_rng(0).integers(0, 256, (203, 311, 3)).astype(np.uint8)
    for options in ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}):
        decode_grey(encoded(noise, "JPEG", quality=100, **options))


def test_fill_bytes_before_markers_and_data_behind_the_end_are_no_damage(photograph):
    begin, _ = data_of(photograph)
    end = photograph.rindex(b"\xff\xd9")
    first = photograph.rindex(b"\xff\xda", 0, begin)
    padded = photograph[:first] + b"\xff" * 3 + photograph[first:end] + b"\xff" * 5
    padded += b"\xff\xd9" + b"\xff\xd8 more" * 9
    assert np.array_equal(decode_grey(padded), decode_grey(photograph))
