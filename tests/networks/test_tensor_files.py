"""Files of tensors in which bytes have changed: refused, or read as they were written."""

import hashlib
import io
import zipfile

import pytest
import torch

from common.errors import UserError
from networks.tensor_files import check_weights, load_tensors, to_bytes

CONTENT = {
    "weights": {"conv": torch.arange(400.0), "bias": torch.ones(3)},
    "names": ["def", "ok"],
    "threshold": 0.25,
}


def plain_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer)
    return buffer.getvalue()


def is_content(found: dict) -> bool:
    pairs = zip(found["weights"].values(), CONTENT["weights"].values(), strict=True)
    same = all(torch.equal(one, other) for one, other in pairs)
    return same and all(found[name] == CONTENT[name] for name in ("names", "threshold"))


def is_refused(path, data) -> bool:
    """Whether one line says so; what is not refused must be whole."""
    path.write_bytes(data)
    try:
        content, _ = load_tensors(path)
    except UserError as error:
        message = str(error)
    else:
        assert is_content(content)
        return False
    assert str(path) in message
    assert "\n" not in message
    return True


def test_what_is_written_is_read_and_known_by_its_hash(tmp_path):
    path, data = tmp_path / "a.pth", to_bytes(CONTENT)
    path.write_bytes(data)
    content, sha256 = load_tensors(path)
    assert is_content(content)
    assert sha256 == hashlib.sha256(data).hexdigest()
    with zipfile.ZipFile(path) as archive:  # still an archive to all others
        assert archive.testzip() is None
        assert archive.comment == hashlib.sha256(data[:-64]).hexdigest().encode()


@pytest.mark.parametrize("write", [lambda: to_bytes(CONTENT), plain_bytes], ids=["sealed", "plain"])
def test_no_flipped_byte_and_no_zeroed_block_is_overlooked(tmp_path, write):
    path, data = tmp_path / "a.pth", write()
    overlooked = []
    for offset in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[offset] ^= 0xFF
        if not is_refused(path, flipped):
            overlooked.append(offset)
    for offset in range(0, len(data), 64):
        zeroed = data[:offset] + bytes(len(data[offset : offset + 512])) + data[offset + 512 :]
        if zeroed != data and not is_refused(path, zeroed):
            overlooked.append(offset)
    if write is not plain_bytes:  # which has no checksum of its padding, dates and the like
        assert not overlooked


def test_no_cut_or_lengthened_file_is_read(tmp_path):
    data = to_bytes(CONTENT)
    for size in (0, 1, 63, 64, 86, len(data) // 2, len(data) - 64, len(data) - 1):
        assert is_refused(tmp_path / "a.pth", data[:size])
    assert is_refused(tmp_path / "a.pth", data + b"\0")
    assert is_refused(tmp_path / "a.pth", data + data[-64:])


def test_files_without_checksums_and_compressed_ones_are_refused(tmp_path):
    torch.save(CONTENT, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert is_refused(tmp_path / "old.pth", (tmp_path / "old.pth").read_bytes())
    with zipfile.ZipFile(io.BytesIO(plain_bytes())) as archive:
        with zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small:
            for name in archive.namelist():
                small.writestr(name, archive.read(name))
    assert is_refused(tmp_path / "small.pth", (tmp_path / "small.pth").read_bytes())


def test_torchvisions_names_carry_a_hash_and_a_date_is_none(tmp_path):
    data = plain_bytes()
    right = hashlib.sha256(data).hexdigest()[:8]
    assert not is_refused(tmp_path / f"resnet18-{right}.pth", data)
    assert is_refused(tmp_path / "resnet18-f37072fd.pth", data)
    assert not is_refused(tmp_path / "resnet18-20261126.pth", data)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("conv.weight", torch.tensor([1.0, float("nan")])),
        ("conv.weight", torch.tensor([1.0, float("inf")]).half()),
        ("conv.weight", torch.tensor([1, 2])),
        ("conv.weight", torch.zeros(2, device="meta")),
        ("conv.weight", torch.eye(2).to_sparse()),
        ("bn.running_var", torch.tensor([1.0, -1e-3])),
        ("bn.num_batches_tracked", torch.tensor(1.0)),
        ("conv.weight", [1.0]),
        (5, torch.ones(1)),
    ],
)
def test_weights_that_no_decision_can_rest_on_are_named(name, tensor):
    check_weights({"conv.bias": torch.zeros(2), "bn.num_batches_tracked": torch.tensor(3)})
    with pytest.raises(ValueError, match=str(name)):
        check_weights({"conv.bias": torch.zeros(2), name: tensor})
    with pytest.raises(ValueError, match="no dictionary"):
        check_weights([tensor])
