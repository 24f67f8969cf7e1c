"""Whatever the bits, byte order and polarity of a file: the right grey values, or a reason."""

import struct
import zlib

import numpy as np
import pytest
from builders import encoded, tiff_file
from PIL import Image

from imaging.reading import UnreadableImageError, decode_grey
from inspection.predictor import load_predictor

GREY = np.add.outer(np.arange(24) * 6, np.arange(40) * 2).astype(np.uint8)
GREY[0, 0] = 255
SAME = np.stack([GREY] * 3, -1)
OPAQUE = np.full_like(GREY, 255)
ORDERS = {"little": "<", "big": ">"}
MAX_SAMPLE, LARGEST_SAMPLE, FORMAT, EXTRA, PLANAR, COLOURS = 281, 341, 339, 338, 284, 320


def of_bits(bits):
    """The grey values in a camera's range."""
    return np.rint(GREY.astype(float) * ((1 << bits) - 1) / 255).astype(np.uint16)


def packed(values):
    """12-bit values, two in three bytes."""
    left, right = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    three = [left >> 4, (left & 15) << 4 | right >> 8, right & 255]
    return np.stack(three, -1).astype(np.uint8).tobytes()


def png(values, significant_bits=None, transparent=None):
    """A PNG as Pillow writes it, with chunks that it does not write."""
    data = encoded(values, "PNG")
    for name, body in ((b"sBIT", significant_bits), (b"tRNS", transparent)):
        if body is not None:
            content = name + body
            chunk = struct.pack(">I", len(body)) + content + struct.pack(">I", zlib.crc32(content))
            data = data[:33] + chunk + data[33:]
    return data


def colour_png_of_16_bits(values):
    rows = np.stack([values] * 3, -1).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + check
    return data


READ = {
    "16 bits": lambda o: tiff_file(of_bits(16), order=o),
    "16 bits, white is zero": lambda o: tiff_file(65535 - of_bits(16), 0, o),
    "12 bits in 16": lambda o: tiff_file(of_bits(12), order=o, tags={MAX_SAMPLE: 4095}),
    "10 bits in 16": lambda o: tiff_file(of_bits(10), order=o, tags={LARGEST_SAMPLE: 1023}),
    "14 bits in 16": lambda o: tiff_file(of_bits(14), order=o, tags={MAX_SAMPLE: 16383}),
    "12 bits in 16, white is zero": lambda o: tiff_file(
        4095 - of_bits(12), 0, o, {MAX_SAMPLE: 4095}
    ),
    "12 bits, packed": lambda o: tiff_file(
        of_bits(12), order=o, tags={258: 12}, raw=packed(of_bits(12))
    ),
    "12 bits, packed, white is zero": lambda o: tiff_file(
        of_bits(12), 0, o, {258: 12}, packed(4095 - of_bits(12))
    ),
    "8 bits, white is zero": lambda o: tiff_file(255 - GREY, 0, o),
    "16-bit colour": lambda o: tiff_file(SAME.astype(np.uint16) * 257, 2, o),
    "16-bit colour, opaque": lambda o: tiff_file(
        np.stack([GREY, GREY, GREY, OPAQUE], -1).astype(np.uint16) * 257, 2, o, {EXTRA: 2}
    ),
    "opaque grey": lambda o: tiff_file(np.stack([GREY, OPAQUE], -1), 1, o, {EXTRA: 2}),
    "palette": lambda o: tiff_file(GREY, 3, o, {COLOURS: [n * 257 for n in range(256)] * 3}),
    "YCbCr": lambda o: tiff_file(
        np.stack([GREY, OPAQUE // 2 + 1, OPAQUE // 2 + 1], -1), 6, o, {530: [1, 1]}
    ),
    "CMYK": lambda o: tiff_file(np.stack([0 * GREY, 0 * GREY, 0 * GREY, 255 - GREY], -1), 5, o),
}
REFUSED = {
    "12 bits in 16": (lambda o: tiff_file(of_bits(12), order=o), "12 bits.*MaxSampleValue"),
    "10 bits in 16": (lambda o: tiff_file(of_bits(10), order=o), "values up to 1023 .* 10 bits"),
    "14 bits in 16": (lambda o: tiff_file(of_bits(14), order=o), "14 bits"),
    "8 bits in 16": (lambda o: tiff_file(of_bits(8), order=o), "8 bits"),
    "12 bits in 16, white is zero": (lambda o: tiff_file(4095 - of_bits(12), 0, o), "12 bits"),
    "the largest value that occurs": (
        lambda o: tiff_file(of_bits(12) // 2, order=o, tags={MAX_SAMPLE: 2040}), "12 bits",
    ),
    "beyond the stated range": (
        lambda o: tiff_file(of_bits(12), order=o, tags={MAX_SAMPLE: 1023}), "its tag says",
    ),
    "12-bit colour in 16": (
        lambda o: tiff_file(np.stack([of_bits(12)] * 3, -1), 2, o), "12 bits",
    ),
    "signed 8 bits": (lambda o: tiff_file(GREY, order=o, tags={FORMAT: 2}), "signed"),
    "signed 16 bits": (lambda o: tiff_file(of_bits(14), order=o, tags={FORMAT: 2}), "signed"),
    "no polarity": (lambda o: tiff_file(GREY, None, o), "which value is black"),
    "8-bit palette": (lambda o: tiff_file(GREY, 3, o, {COLOURS: [*range(256)] * 3}), "palette"),
    "16-bit planes": (
        lambda o: tiff_file(SAME.astype(np.uint16) * 257, 2, o, {PLANAR: 2}), "planes",
    ),
    "planes without strips": (lambda o: tiff_file(SAME, 2, o, {PLANAR: 2}), "strips .* missing"),
    "a strip missing": (lambda o: tiff_file(GREY, order=o, tags={278: 6}), "strips .* missing"),
    "subsampled": (lambda o: tiff_file(SAME, 6, o), "subsampled"),
    "LAB": (lambda o: tiff_file(SAME, 8, o), "."),
    "64-bit numbers": (lambda o: tiff_file(GREY.astype(float), order=o, tags={FORMAT: 3}), "rare"),
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", READ)
def test_tiff_gives_the_same_picture_as_plain_8_bits(name, order):
    assert np.array_equal(np.asarray(decode_grey(READ[name](ORDERS[order]))), GREY)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", REFUSED)
def test_tiff_that_leaves_its_values_open_is_refused(name, order):
    build, reason = REFUSED[name]
    with pytest.raises(UnreadableImageError, match=reason):
        decode_grey(build(ORDERS[order]))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_compressed_tiff_of_inverted_16_bits(compression, mode):
    values = (65535 - of_bits(16)).astype("<u2" if mode == "I;16" else ">u2")
    image = Image.frombytes(mode, GREY.shape[::-1], values.tobytes())
    data = encoded(image, "TIFF", compression=compression, tiffinfo={262: 0})
    assert np.array_equal(np.asarray(decode_grey(data)), GREY)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_png_with_its_significant_bits(bits):
    """As they are, as cameras' programs store them, and scaled up, as the standard wants it."""
    values, stated = of_bits(bits), bytes([bits])
    scaled = (values << (16 - bits)) | (values >> (2 * bits - 16))
    for stored in (values, values << (16 - bits), scaled):
        grey = np.asarray(decode_grey(png(stored.astype(np.uint16), stated))).astype(int)
        assert np.abs(grey - GREY).max() <= 1
    dark = (values // 40) << (16 - bits)  # does not exceed the unscaled range
    assert np.asarray(decode_grey(png(dark.astype(np.uint16), stated))).max() < 10


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_png_of_16_bits_that_are_not_used_is_refused(bits):
    for data in (png(of_bits(bits)), colour_png_of_16_bits(of_bits(bits))):
        with pytest.raises(UnreadableImageError, match=rf"16-bit file: {bits} bits"):
            decode_grey(data)


def test_png_colours_of_16_bits():
    assert np.array_equal(np.asarray(decode_grey(colour_png_of_16_bits(of_bits(16)))), GREY)


def test_png_in_which_a_16_bit_value_means_transparent_is_refused():
    with pytest.raises(UnreadableImageError, match="transparent"):
        decode_grey(png(of_bits(16), transparent=b"\x12\x34"))


def test_16_bit_image_in_memory_is_held_to_the_same(trained):
    predictor = load_predictor(trained / "best.pth", "cpu", gate=False)
    found = predictor.predict([Image.fromarray(of_bits(12)), Image.fromarray(of_bits(16))])
    assert [one.status for one in found] == ["error", "ok"]
    assert "12 bits" in found[0].error


def test_cmyk_jpeg_without_a_word_on_its_polarity_is_refused():
    data = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 99)), "JPEG")
    adobe = data.index(b"\xff\xee")
    without = data[:adobe] + data[adobe + 2 + int.from_bytes(data[adobe + 2 : adobe + 4]) :]
    decode_grey(data)
    with pytest.raises(UnreadableImageError, match="CMYK"):
        decode_grey(without)


def test_value_beyond_the_palette_is_refused():
    image = Image.fromarray(GREY // 64, "L").convert("P")
    image.putpalette([10, 10, 10, 20, 20, 20, 40, 40, 40, 80, 80, 80])
    expected = np.array([10, 20, 40, 80])[GREY // 64]
    for kind in ("PNG", "BMP", "GIF"):
        assert np.array_equal(np.asarray(decode_grey(encoded(image, kind))), expected)
    head, rest = encoded(image, "PNG").split(b"PLTE")
    rest = rest[:6] + struct.pack(">I", zlib.crc32(b"PLTE" + rest[:6])) + rest[16:]
    with pytest.raises(UnreadableImageError, match="palette"):
        decode_grey(head[:-4] + struct.pack(">I", 6) + b"PLTE" + rest)
