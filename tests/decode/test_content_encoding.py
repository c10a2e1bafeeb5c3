"""Content encodings: undone exactly, under a cap, with a clear error for all else."""

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.content_encoding import decompress
from app.errors import BodyTooLarge, MalformedBatch, RequestError, UnsupportedMedia

CONTENT = b'{"type":"track","event":"Signed up"}\n' * 5_000
MB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]

Compress = Callable[[bytes], bytes]


def codec(name: str) -> Compress:
    def compress(content: bytes) -> bytes:
        compressed: bytes = pa.Codec(name).compress(content, asbytes=True)
        return compressed

    return compress


def raw_deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


ENCODINGS: list[tuple[str, Compress]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", codec("zstd")),
    ("br", codec("brotli")),
]
every_encoding = pytest.mark.parametrize(("name", "compress"), ENCODINGS)


@every_encoding
@pytest.mark.parametrize("content", [CONTENT, b"x", b"", b"\x00" * 300_000])
def test_a_body_comes_back_as_it_was(name: str, compress: Compress, content: bytes) -> None:
    assert decompress(compress(content), name, len(content)) == content


@pytest.mark.parametrize("encoding", ["", "identity", " Identity , identity"])
def test_identity_changes_nothing(encoding: str) -> None:
    assert decompress(b"as it is", encoding, 4) == b"as it is"


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "identity, gzip", "gzip,"])
def test_the_header_is_read_as_http_writes_it(encoding: str) -> None:
    assert decompress(gzip.compress(CONTENT), encoding, MB) == CONTENT


def test_two_encodings_are_undone_in_reverse() -> None:
    assert decompress(codec("zstd")(gzip.compress(CONTENT)), "gzip, zstd", MB) == CONTENT
    with pytest.raises(MalformedBatch, match="gzip"):
        decompress(codec("zstd")(gzip.compress(CONTENT)), "zstd, gzip", MB)


def test_three_encodings_are_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="at most 2"):
        decompress(b"", "gzip, gzip, gzip", MB)


@pytest.mark.parametrize("encoding", ["lzma", "compress", "gzip, lz4", "\x00" * 500])
def test_an_unknown_encoding_is_refused_with_those_that_are_known(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia, match="send gzip, deflate, zstd, br, snappy or identity") as refused:
        decompress(b"", encoding, MB)
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("zstd", codec("zstd"))])
def test_members_and_frames_one_after_the_other_are_one_body(name: str, compress: Compress) -> None:
    body = compress(CONTENT) + compress(b"") + compress(b"end")
    assert decompress(body, name, MB) == CONTENT + b"end"
    with pytest.raises(BodyTooLarge):
        decompress(body, name, len(CONTENT) + 2)


@every_encoding
def test_the_cap_is_exact(name: str, compress: Compress) -> None:
    body = compress(CONTENT)
    assert len(decompress(body, name, len(CONTENT))) == len(CONTENT)
    for cap in (0, 1, len(CONTENT) - 1):
        with pytest.raises(BodyTooLarge, match=f"{cap:,} bytes"):
            decompress(body, name, cap)


@every_encoding
def test_a_body_that_is_cut_off_is_malformed(name: str, compress: Compress) -> None:
    body = compress(CONTENT)
    for length in (0, 1, len(body) // 2, len(body) - 1):
        with pytest.raises(MalformedBatch):
            decompress(body[:length], name, MB)


@every_encoding
@pytest.mark.parametrize("garbage", [b"\x00" * 8, b"garbage", b"{}\n"])
def test_a_body_that_goes_on_after_its_end_is_malformed(
    name: str, compress: Compress, garbage: bytes
) -> None:
    with pytest.raises(MalformedBatch):
        decompress(compress(CONTENT) + garbage, name, MB)


@pytest.mark.parametrize("window_log", [28, 31, 41])
def test_a_zstd_frame_that_wants_a_huge_window_is_refused(window_log: int) -> None:
    one_raw_block = (1 | 3 << 3).to_bytes(3, "little") + b"abc"
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([window_log - 10 << 3]) + one_raw_block
    with pytest.raises(MalformedBatch, match="too much memory"):
        decompress(frame, "zstd", MB)
    usual = b"\x28\xb5\x2f\xfd\x00" + bytes([20 - 10 << 3]) + one_raw_block
    assert decompress(usual, "zstd", MB) == b"abc"


def zeros(wbits: int) -> bytes:
    stream = zlib.compressobj(9, wbits=wbits)
    return b"".join([*(stream.compress(bytes(MB)) for _ in range(512)), stream.flush()])


def zstd_zeros() -> bytes:
    """4 GiB: one frame with a window of 128 MiB, in blocks that each repeat one byte."""
    block = (1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\x00"
    return b"\x28\xb5\x2f\xfd\x00" + bytes([27 - 10 << 3]) + block * (4 << 30 >> 17)


MEASURED = """
import sys
from app.api.content_encoding import decompress

def peak_kib():  # not ru_maxrss, which starts with the peak of the process that started this one
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

bomb = sys.stdin.buffer.read()
before = peak_kib()
try:
    outcome = decompress(bomb, sys.argv[1], 4 << 20)
except Exception as error:
    outcome = error
print(type(outcome).__name__, peak_kib() - before)
"""


@pytest.mark.parametrize(
    ("name", "bomb"),
    [("gzip", zeros(31)), ("deflate", zeros(15)), ("deflate", zeros(-15)), ("zstd", zstd_zeros())],
    ids=["gzip", "deflate", "raw deflate", "zstd"],
)
def test_a_bomb_is_stopped_before_it_takes_memory(name: str, bomb: bytes) -> None:
    # In a process of its own: the peak of this one is that of all tests before.
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, name], input=bomb, capture_output=True, check=True, cwd=ROOT
    )
    outcome, grown_kib = run.stdout.decode().split()
    assert outcome == "BodyTooLarge"
    assert int(grown_kib) < 64 << 10


@every_encoding
@settings(max_examples=40, deadline=None, print_blob=True)
@given(data=st.data())
def test_a_damaged_body_gives_an_error_of_ours_or_content_within_the_cap(
    name: str, compress: Compress, data: st.DataObject
) -> None:
    body = bytearray(compress(CONTENT[:1_000]))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        content = decompress(bytes(body), name, 2_000)
    except RequestError:
        return
    assert len(content) <= 2_000
