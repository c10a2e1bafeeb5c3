"""Bodies that cost a server more than ordinary ones: small to send, dear to decode, or large once decoded."""

import json
from collections.abc import Callable
from typing import Final

from app.kinds import Kind
from benchmarks.generated_rows import json_lines, rows
from tests.decode.test_flatbuffer_batch import shared_payload_batch

ROWS: Final = 90_000
START: Final = '{"type":"track","event":"a"'
JSON: Final = "/v1/events"
FLATBUFFERS: Final = "/v1/ingest"


def ordinary() -> tuple[str, bytes]:
    return JSON, json_lines(Kind.EVENTS, rows(Kind.EVENTS, 500, 1), flat=False)


def lines(text: str, count: int = ROWS) -> Callable[[], tuple[str, bytes]]:
    return lambda: (JSON, "\n".join([text] * count).encode())


def keys(name: str, count: int = 500_000) -> Callable[[], tuple[str, bytes]]:
    def make() -> tuple[str, bytes]:
        members = ",".join(f'"{name.format(number)}":1' for number in range(count))
        return JSON, f"{START},{members}}}".encode()

    return make


SHAPES: Final[dict[str, Callable[[], tuple[str, bytes]]]] = {
    "ordinary rows, as fast as they are answered": ordinary,
    "FlatBuffer rows that share one large payload": lambda: (
        FLATBUFFERS,
        shared_payload_batch(60_000, json.dumps({"x": "y" * 800}).encode()),
    ),
    "FlatBuffer rows that share one bad payload": lambda: (
        FLATBUFFERS,
        shared_payload_batch(ROWS, b'{"x": "' + b"y" * 500),
    ),
    "one row of 500,000 keys": keys("k{}"),
    "one row of one key 500,000 times": keys("k"),
    "rows that are refused one by one": lines("{}"),
    "numbers instead of rows": lambda: (JSON, ("[" + ",".join(["1"] * ROWS) + "]").encode()),
    "keys that stand twice": lines(START + ',"event":"b","x":1,"x":2}'),
    "NaN in every row": lines(START + ',"properties":{"x":NaN}}'),
    "half emoji in every row": lines('{"type":"track","event":"\\ud800"}'),
}
