"""The frame format, against the byte table in docs/journal-format.md."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.disk.durable_fs import DurableFS
from app.journal.frame import (
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    FrameType,
    decode_header,
    encode_frame,
    frame_bytes,
    payload_is_valid,
)
from app.journal.segment_reader import SegmentReader

U64 = st.integers(0, (1 << 64) - 1)


def encoded(payload: list[bytes], salt: int = 5, lsn: int = 7, durable_lsn: int = 6) -> bytes:
    length = sum(map(len, payload))
    frame = encode_frame(FrameType.ENTRY, salt, lsn, durable_lsn, payload, length)
    return b"".join([bytes(part) for part in frame])


def test_the_bytes_are_those_of_the_table() -> None:
    body = (
        (3).to_bytes(4, "little")
        + bytes([2, 1, 0, 0])
        + (5).to_bytes(8, "little")
        + (7).to_bytes(8, "little")
        + (6).to_bytes(8, "little")
        + zlib.crc32(b"abc").to_bytes(4, "little")
        + bytes(4)
    )
    assert encoded([b"a", b"bc"]) == b"PSJ1" + zlib.crc32(body).to_bytes(4, "little") + body + b"abc" + bytes(
        5
    )


@given(st.lists(st.binary(max_size=50), max_size=4), U64, U64, U64)
def test_what_is_encoded_is_decoded(payload: list[bytes], salt: int, lsn: int, durable_lsn: int) -> None:
    data = encoded(payload, salt, lsn, durable_lsn)
    header = decode_header(data)
    assert header is not None
    assert (header.type, header.salt, header.lsn, header.durable_lsn) == (2, salt, lsn, durable_lsn)
    assert header.length == len(b"".join(payload))
    assert len(data) == header.frame_bytes == frame_bytes(header.length)
    assert payload_is_valid(header, memoryview(data))


@given(st.binary(max_size=200), st.integers(0, 60))
def test_arbitrary_bytes_are_no_frame(data: bytes, offset: int) -> None:
    assert decode_header(data, offset) is None


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_byte_is_noticed(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(encoded([payload]))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    header = decode_header(frame)
    assert header is None or not payload_is_valid(header, memoryview(frame))


@pytest.mark.parametrize(
    ("at", "value"),
    [(8, struct.pack("<I", FRAME_BYTES_MAX + 1)), (12, b"\x09"), (13, b"\x02"), (14, b"\x01")],
)
def test_a_header_with_a_right_crc_and_an_impossible_field_is_refused(at: int, value: bytes) -> None:
    frame = bytearray(encoded([b"abc"]))
    frame[at : at + len(value)] = value
    frame[4:8] = zlib.crc32(frame[8:HEADER_BYTES]).to_bytes(4, "little")
    assert decode_header(frame) is None


class Counting(DurableFS):
    largest = 0

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        self.largest = max(self.largest, length or 0)
        return super().read(path, offset, length)


def test_a_length_beyond_the_file_is_never_read(tmp_path: Path) -> None:
    frame = bytearray(encoded([b"abc"]))
    frame[8:12] = struct.pack("<I", FRAME_BYTES_MAX)
    frame[4:8] = zlib.crc32(frame[8:HEADER_BYTES]).to_bytes(4, "little")
    path = tmp_path / "segment"
    path.write_bytes(bytes(72) + frame)
    fs = Counting()
    assert SegmentReader(fs, path).frame_at(72, 5, path.stat().st_size) is None
    assert fs.largest < FRAME_BYTES_MAX


@pytest.mark.parametrize("before", [0, 1, (4 << 20) - 90, (4 << 20) - 47, (4 << 20) - 2])
def test_headers_are_found_across_read_windows(tmp_path: Path, before: int) -> None:
    before += -before % 8
    path = tmp_path / "segment"
    path.write_bytes(bytes(before) + encoded([b"one"]) + encoded([b"two"], lsn=8) + bytes(99))
    found = SegmentReader(DurableFS(), path).headers(0, path.stat().st_size, 5)
    assert [(offset, header.lsn) for offset, header in found] == [(before, 7), (before + 56, 8)]
