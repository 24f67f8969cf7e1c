"""How a JPEG file is built: its scans, what they would cost, and whether parts are missing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.limits import EXIF_START, refuse_costly_exif
from imaging.unreadable import UnreadableImageError

MAX_SEGMENTS = 1000  # of the header and between scans
MAX_SCANS, MAX_SCAN_PIXELS = 100, 128_000_000  # the latter: scans times pixels
MAX_PIECES = 1 << 16  # between restart markers
MARKER, NEXT_MARKER = re.compile(rb"\xff{1,64}[\x01-\xfe]"), re.compile(rb"\xff[\x01-\xfe]")
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: what is common
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
START_OF_SCAN, END, HUFFMAN_TABLES, RESTART_INTERVAL, EXIF, MPF = 0xDA, 0xD9, 0xC4, 0xDD, 0xE1, 0xE2
RESTARTS = range(0xD0, 0xD8)
END_OF_BLOCK, SIXTEEN_ZEROS = 0x00, 0xF0  # symbols of the Huffman tables
DAMAGED = "damaged: {} (whole? then save it as PNG)"


@dataclass(frozen=True)
class Scan:
    """A part of a JPEG's compressed data."""

    components: tuple[int, ...]  # their identifiers
    first: int  # coefficient, 0 to 63
    last: int
    bits_before: int  # 0: these coefficients begin here
    bits_left: int  # for later scans
    plain_zeros: bool  # whether a run of zero bits stands for plain ground
    interval: int  # MCUs between two restart markers, 0: there are none
    pieces: list[tuple[int, int]]  # begin and end of the data between markers


@dataclass(frozen=True)
class Jpeg:
    """How a JPEG file is built."""

    width: int
    height: int
    sampling: dict[int, tuple[int, int]]  # horizontal and vertical, by component
    progressive: bool
    scans: list[Scan]
    end: int  # behind the end marker

    def mcus(self, scan: Scan) -> tuple[int, int]:
        """How many MCUs, the units it is made of, a scan has, across and down."""
        wide, high = self.sampling_of_all
        h, v = (1, 1) if len(scan.components) > 1 else self.sampling[scan.components[0]]
        return -(-self.width * h // (8 * wide)), -(-self.height * v // (8 * high))

    @property
    def sampling_of_all(self) -> tuple[int, int]:
        """The finest of the components': an MCU of all of them has 8 times as many pixels."""
        return max(h for h, _ in self.sampling.values()), max(v for _, v in self.sampling.values())


def parse_jpeg(data: bytes) -> Jpeg:
    """The structure of a JPEG, checked.

    Raises:
        UnreadableImageError: markers are missing or out of place, it is of a rare kind, or it
            would take too much work.
    """
    header, scans, at = _Header(), [], 2
    for _ in range(MAX_SEGMENTS):
        marker = MARKER.match(data, at)
        if not marker:
            raise damaged("its markers are out of place" if at < len(data) else "truncated")
        code, at = marker[0][-1], marker.end()
        if code == END or len(scans) > MAX_SCANS:
            break
        size = int.from_bytes(data[at : at + 2])
        segment, at = data[at + 2 : at + size], at + max(size, 2)
        header.take(code, segment)
        if code == START_OF_SCAN:
            pieces, at = _pieces(data, at)
            scans.append(_scan(segment, header, pieces))
    else:
        raise UnreadableImageError("too many segments; save it anew")
    refuse_costly_exif(header.exif)
    if len(header.frame) < 6 or not scans:
        raise damaged("no image in it")
    jpeg = _jpeg(header, scans, at)
    _refuse_costly(jpeg)
    _refuse_incomplete(jpeg)
    return jpeg


@dataclass
class _Header:
    """What the segments before a scan say of it."""

    progressive: bool = False
    frame: bytes = b""
    interval: int = 0
    codes_of_zeros: dict[int, int] = field(default_factory=dict)  # by Huffman table
    exif: bytes = b""

    def take(self, code: int, segment: bytes) -> None:
        """Note a segment."""
        if code in FRAMES:
            self.progressive, self.frame = code == FRAMES[2], segment
        elif code in OTHER_FRAMES:
            raise UnreadableImageError("a rare kind of JPEG; save it as baseline JPEG or PNG")
        elif code == RESTART_INTERVAL:
            self.interval = int.from_bytes(segment[:2])
        elif code == HUFFMAN_TABLES:
            self.codes_of_zeros |= _codes_of_zeros(segment)
        elif code == EXIF and segment.startswith(EXIF_START):
            self.exif += segment.removeprefix(EXIF_START)
        elif code == MPF and segment.startswith(b"MPF\0"):
            refuse_costly_exif(segment[4:])


def damaged(what: str) -> UnreadableImageError:
    """The error of a JPEG that is not whole."""
    return UnreadableImageError(DAMAGED.format(what))


def _pieces(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """The pieces of a scan between restart markers, and where the next other marker is."""
    pieces = []
    for marker in NEXT_MARKER.finditer(data, at):
        fill = marker.start() - at - len(data[at : marker.start()].rstrip(b"\xff"))
        pieces.append((at, marker.start() - fill))
        code, at = marker[0][-1], marker.end()
        if code not in RESTARTS:
            return pieces, marker.start()
        if len(pieces) > MAX_PIECES:
            raise UnreadableImageError("too many restart markers; save it anew")
        if code != RESTARTS[(len(pieces) - 1) % 8]:
            raise damaged("a restart marker is missing")
    raise damaged("truncated")


def _codes_of_zeros(segment: bytes) -> dict[int, int]:
    """What the code of zero bits alone stands for, by Huffman table: the first of its symbols."""
    found, at = {}, 0
    while len(segment) > at + 17:
        found[segment[at]] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return found


def _scan(segment: bytes, header: _Header, pieces: list[tuple[int, int]]) -> Scan:
    count = segment[0] if segment else 0
    if not 1 <= count <= 4 or len(segment) < 4 + 2 * count:
        raise damaged("a scan without a header")
    first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
    components, choices = segment[1 : 1 + 2 * count : 2], segment[2 : 2 + 2 * count : 2]
    codes = [header.codes_of_zeros.get(0x10 | choice & 15, END_OF_BLOCK) for choice in choices]
    # Else the code of zeros is that of a coefficient, and no picture is full of the same ones
    plain_zeros = not last or all(code & 15 == 0 and code != SIXTEEN_ZEROS for code in codes)
    return Scan(
        tuple(components), first, last, bits >> 4, bits & 15, plain_zeros, header.interval, pieces
    )


def _jpeg(header: _Header, scans: list[Scan], end: int) -> Jpeg:
    frame = header.frame
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    sampling = {one[0]: (one[1] >> 4, one[1] & 15) for one in _triples(frame[6:])}
    used = {name for scan in scans for name in scan.components}
    whole = all(h and v for h, v in sampling.values()) and width and height
    if used != set(sampling) or not whole:
        raise damaged("its header and its data do not agree")
    return Jpeg(width, height, sampling, header.progressive, scans, end)


def _triples(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 3] for at in range(0, len(data) - 2, 3))


def _refuse_costly(jpeg: Jpeg) -> None:
    scans = len(jpeg.scans)
    work = scans * jpeg.width * jpeg.height if jpeg.progressive else 0
    if scans > MAX_SCANS or work > MAX_SCAN_PIXELS:
        raise UnreadableImageError(
            f"{scans} scans of {jpeg.width} x {jpeg.height} pixels are too many; "
            "save it as baseline JPEG"
        )


def _refuse_incomplete(jpeg: Jpeg) -> None:
    """Raise UnreadableImageError where restart intervals or whole scans are missing."""
    for scan in jpeg.scans:
        across, down = jpeg.mcus(scan)
        expected = -(-across * down // scan.interval) if scan.interval else 1
        if len(scan.pieces) != expected:
            raise damaged("parts of the picture are missing")
    if jpeg.progressive:
        sent = {
            (name, coefficient)
            for scan in jpeg.scans
            if not scan.bits_left
            for name in scan.components
            for coefficient in range(scan.first, min(scan.last, 63) + 1)
        }
        if len(sent) < 64 * len(jpeg.sampling):
            raise damaged("the last scans are missing")
