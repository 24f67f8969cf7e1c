"""Every kind of damaged or odd file has one pinned outcome: the right grey values, or a reason."""

import io
import os
import socket
import stat
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from imaging import reading
from imaging.framing import framed
from imaging.reading import (
    UnreadableImageError,
    in_threads,
    read_framed,
    read_grey_image,
    refuse_unreadable,
)

NOISE = np.random.default_rng(0).integers(40, 216, (96, 96)).astype(np.uint8)
# Not square and without symmetry, so that a wrong turn shows.
SLOPE = np.add.outer(np.arange(24) * 7, np.arange(40) * 2).astype(np.uint8)


def encoded(image, kind, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def with_hole(data, length=512):
    middle = len(data) // 2
    return data[:middle] + bytes(length) + data[middle + length :]


def png_header(width, height):
    """A PNG that says its size and holds next to nothing."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(99)))


def several(kind, count):
    images = [Image.fromarray(NOISE // n) for n in range(1, count + 1)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:])


def see_through(mode):
    image = Image.fromarray(NOISE).convert(mode)
    image.putpixel((5, 5), (*image.getpixel((5, 5))[:-1], 0))
    return encoded(image, "PNG")


JPEG, PNG = encoded(NOISE, "JPEG"), encoded(NOISE, "PNG")
REFUSED = {
    "truncated.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "without_its_end.jpg": (JPEG[:-2], "truncated"),
    "truncated.png": (PNG[: len(PNG) // 2], "truncated"),
    "truncated.bmp": (encoded(NOISE, "BMP")[:4000], "truncated"),
    "truncated.tif": (encoded(NOISE, "TIFF")[:4000], "."),
    "empty.jpg": (b"", "empty file"),
    "page.jpg": (b"<!doctype html><html><body>404 Not Found</body></html>", "not an image"),
    "notes.png": (b"call the foundry\n", "not an image"),
    "zeros.jpg": (bytes(5000), "not an image"),
    "hole.jpg": (with_hole(JPEG), "damaged: "),
    "hole.png": (with_hole(PNG), "."),
    "another_format.jpg": (encoded(NOISE, "PPM"), "not an image"),
    "animation.gif": (several("GIF", 3), "several images"),
    "pages.tif": (several("TIFF", 2), "several images"),
    "float.tif": (encoded(NOISE.astype(np.float32) / 255, "TIFF"), "floating-point"),
    "animation.png": (several("PNG", 2), "2 images"),
    "animation.webp": (several("WEBP", 2), "2 images"),
    "32_bit.tif": (encoded(NOISE.astype(np.int32) * 1000, "TIFF"), "32-bit"),
    "32_bit_dark.tif": (encoded(NOISE.astype(np.int32), "TIFF"), "32-bit"),
    "negative.tif": (encoded(NOISE.astype(np.int32) - 100, "TIFF"), "32-bit"),
    "transparent_colour.png": (see_through("RGBA"), "transparent"),
    "transparent_grey.png": (see_through("LA"), "transparent"),
    "transparent_value.png": (encoded(NOISE, "PNG", transparency=int(NOISE[0, 0])), "transparent"),
    "72_megapixels.png": (png_header(9000, 8000), "9000 x 8000 pixels"),
    "bomb.png": (png_header(60_000, 60_000), r"(?i)bomb|pixels"),
}


def read(folder, data, name="image"):
    (folder / name).write_bytes(data)
    return np.asarray(read_grey_image(folder / name))


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_or_doubtful_file_is_refused_with_its_reason(tmp_path, name):
    data, reason = REFUSED[name]
    with pytest.raises(UnreadableImageError, match=reason):
        read(tmp_path, data, name)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_grey_image(tmp_path / "missing.jpg")
    with pytest.raises(UnreadableImageError, match="directory"):
        read_grey_image(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    if kind == "pipe":
        os.mkfifo("x.jpeg")
        assert not stat.S_ISREG(os.stat("x.jpeg").st_mode)
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("x.jpeg")
    with pytest.raises(UnreadableImageError, match=r"not a regular file|No such device"):
        read_grey_image(Path("x.jpeg"))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_grey_values_are_kept_exactly(tmp_path, kind, mode):
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(every_value).convert(mode), kind, **options)
    assert np.array_equal(read(tmp_path, data), every_value)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_values_are_nearly_kept(tmp_path, mode):
    values = read(tmp_path, encoded(Image.fromarray(SLOPE).convert(mode), "JPEG", quality=95))
    assert values.dtype == np.uint8
    assert np.abs(values.astype(int) - SLOPE).max() <= 3


def test_result_is_an_8_bit_grey_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(NOISE).convert("RGB"), "JPEG"))
    image = read_grey_image(tmp_path / "a.jpg")
    assert (image.mode, image.size) == ("L", (96, 96))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_image_is_scaled_not_clipped(tmp_path, kind):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    assert read(tmp_path, encoded(values, kind)).tolist() == [[0, 1, 128, 255]]


def test_cmyk_jpeg_has_the_right_values(tmp_path):
    for ink, grey in ((0, 255), (155, 100), (255, 0)):
        data = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, ink)), "JPEG", quality=95)
        assert np.abs(read(tmp_path, data).astype(int) - grey).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_accepted(tmp_path, mode):
    data = encoded(Image.fromarray(NOISE).convert(mode), "PNG")
    assert np.array_equal(read(tmp_path, data), NOISE)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_palette_values_are_looked_up(tmp_path, kind):
    image = Image.fromarray((NOISE > 128).astype(np.uint8), "L").convert("P")
    image.putpalette([200, 200, 200, 50, 50, 50] + [0] * 762)
    assert np.array_equal(
        read(tmp_path, encoded(image, kind)), np.where(NOISE > 128, 50, 200).astype(np.uint8)
    )


def test_opaque_palette_with_an_alpha_table_is_read_without_a_warning(tmp_path):
    image = Image.fromarray(NOISE).convert("P")
    data = encoded(image, "PNG", transparency=bytes([255] * 256))
    assert np.array_equal(read(tmp_path, data), NOISE)


def test_two_level_image_is_black_and_white(tmp_path):
    data = encoded(Image.fromarray(NOISE > 128), "PNG")
    assert np.array_equal(read(tmp_path, data), np.where(NOISE > 128, 255, 0))


def test_phone_image_with_a_preview_behind_it_is_its_first_image(tmp_path):
    preview = Image.fromarray(NOISE[:32, :32])
    data = encoded(NOISE, "MPO", save_all=True, append_images=[preview], quality=95)
    values = read(tmp_path, data, "phone.jpg")
    assert values.shape == NOISE.shape
    assert np.abs(values.astype(int) - NOISE).mean() < 3


def test_zeros_outside_the_compressed_data_are_no_damage(tmp_path):
    # Cameras pad the preview in the header, and the file's end.
    preview = b"Exif\0\0" + encoded(NOISE[:16, :16], "JPEG") + bytes(600)
    header = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    expected = read(tmp_path, JPEG)
    for data in (JPEG[:2] + header + JPEG[2:], JPEG + bytes(600)):
        assert np.array_equal(read(tmp_path, data), expected)
    with pytest.raises(UnreadableImageError, match="damaged: "):
        read(tmp_path, JPEG[:2] + header + with_hole(JPEG)[2:])


UPRIGHT = {  # what a viewer does with the stored image, by EXIF orientation
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_rotated_photograph_is_read_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = UPRIGHT[orientation](SLOPE).astype(int)
    values = read(tmp_path, encoded(SLOPE, "JPEG", quality=95, exif=exif))
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() <= 3


@pytest.mark.parametrize(
    ("kind", "stored", "options"),
    [
        ("PNG", SLOPE, {}),
        ("PNG", SLOPE.astype(np.uint16) * 257, {}),
        ("TIFF", SLOPE, {}),
        ("TIFF", SLOPE, {"compression": "tiff_lzw"}),
        ("WEBP", SLOPE, {"lossless": True}),
    ],
    ids=["png", "16-bit png", "tiff", "lzw tiff", "webp"],
)
def test_other_formats_are_read_upright_too(tmp_path, kind, stored, options):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = read(tmp_path, encoded(stored, kind, exif=exif, **options))
    assert np.array_equal(values, UPRIGHT[6](SLOPE))


def test_resized_file_is_square_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(SLOPE, "PNG"))
    values = read_framed(tmp_path / "a.png", 12)
    assert (values.shape, values.dtype) == ((12, 12), np.uint8)
    assert (np.diff(values.astype(int), axis=0) > 0).all()
    assert (np.diff(values.astype(int), axis=1) > 0).all()


def test_file_and_image_in_memory_give_the_same_pixels(tmp_path):
    image = Image.fromarray(NOISE).convert("RGB")
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_framed(tmp_path / "a.png", 32), framed(image, 32))


def test_all_unreadable_files_are_listed_at_once(tmp_path):
    problems = [(f"train/ok/{n}.jpg", f"reason {n}") for n in range(12)]
    with pytest.raises(UserError, match="12 unreadable images in ") as caught:
        refuse_unreadable(iter(problems), tmp_path)
    assert all(f"{path}: {reason}" in str(caught.value) for path, reason in problems)
    assert caught.value.exit_code == 2


def test_no_unreadable_file_is_no_error(tmp_path):
    refuse_unreadable(iter([]), tmp_path)


def test_work_in_threads_keeps_the_order_and_tells_errors():
    assert in_threads(lambda n: n * n, range(100), "squares") == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 / n, range(3), "reciprocals")


def test_of_large_images_two_at_a_time_are_decoded(monkeypatch):
    monkeypatch.setattr(reading, "LARGE_PIXELS", 0)
    original, running, most = reading.file_to_grey, [], []

    def slow(image, data):
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return original(image, data)

    monkeypatch.setattr(reading, "file_to_grey", slow)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(reading.decode_grey, [PNG] * 16))) == 16
    assert max(most) == 2
