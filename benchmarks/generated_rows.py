"""The rows that every benchmark uses: about 270 bytes each, with varied content, the same for one seed.

16-byte ids, five event names, a JSON payload of about 200 bytes.
"""

import json
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import orjson

from app.kinds import Kind
from tests.support.flatbuffer_batches import hand_laid

EVENT_NAMES: Final = ("page_view", "button_click", "signup", "purchase", "search")
PAGES: Final = ("/home", "/pricing", "/docs/start", "/docs/api/reference", "/blog/2026/parquet", "/cart")
COUNTRIES: Final = ("DE", "FR", "US", "JP", "BR", "IN")
START_MS: Final = 1_790_000_000_000
DISTINCT_ROWS: Final = 6_000
"""A benchmark repeats so many rows: enough that no column is trivial, few enough to be made quickly."""


def properties(random_: random.Random, number: int) -> dict[str, Any]:
    """About 200 bytes as JSON."""
    return {
        "n": number,
        "page": random_.choice(PAGES),
        "referrer": f"https://www.example.com/campaign/{random_.randrange(10_000)}",
        "country": random_.choice(COUNTRIES),
        "duration_ms": random_.randrange(60_000),
        "ratio": round(random_.random(), 6),
        "logged_in": random_.random() < 0.5,
        "trace": f"{random_.getrandbits(128):032x}",
        "tags": random_.sample(("a", "beta", "mobile", "new", "vip"), 2),
    }


def rows(kind: Kind, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows with the names of the columns; ids and payload are bytes."""
    random_ = random.Random(seed)
    return [_row(kind, random_, number) for number in range(count)]


def _row(kind: Kind, random_: random.Random, number: int) -> dict[str, Any]:
    payload = orjson.dumps(properties(random_, number))
    row: dict[str, Any] = {"timestamp": START_MS + number * 7, "payload": payload}
    session = random_.getrandbits(128).to_bytes(16)
    if kind is Kind.EVENTS:
        device = random_.getrandbits(128).to_bytes(16)
        name = random_.choice(EVENT_NAMES)
        return row | {"event_type": "track", "event_name": name, "device_id": device, "session_id": session}
    if kind is Kind.LOGS:
        level = random_.choice(("info", "debug", "warning", "error"))
        host = f"host-{random_.randrange(20)}"
        return row | {
            "event_type": "log", "level": level, "source": host, "service": "api", "session_id": session
        }  # fmt: skip
    return row | {"source": "github", "entity": f"org/repository-{random_.randrange(500)}"}


def flatbuffer(kind: Kind, rows_: list[dict[str, Any]], api_key: bytes) -> bytes:
    """A batch as SDK encoders lay it out."""
    return hand_laid(kind, rows_, api_key)


def json_lines(kind: Kind, rows_: list[dict[str, Any]], *, flat: bool) -> bytes:
    """The same rows as JSON Lines. flat: user data beside the protocol's fields, as current SDKs send it."""
    return b"\n".join(orjson.dumps(_json_row(kind, row, flat)) for row in rows_)


def hex_ids(line: dict[str, Any]) -> bytes:
    return orjson.dumps(_with_ids(line, lambda text: text.replace("-", "")))


def capital_ids(line: dict[str, Any]) -> bytes:
    return orjson.dumps(_with_ids(line, str.upper))


def text_times(line: dict[str, Any]) -> bytes:
    """RFC 3339."""
    time = datetime.fromtimestamp(line["timestamp"] / 1000, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps(line | {"timestamp": time.replace("+00:00", "Z")})


def no_session(line: dict[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in line.items() if name != "session_id"})


def beyond_ascii(line: dict[str, Any]) -> bytes:
    return orjson.dumps(_with_words(line, "Größe übertragen, 注文を確認 😀"))


def escaped(line: dict[str, Any]) -> bytes:
    """Everything that is not ASCII as \\u escapes, and quotes and line ends in a text."""
    return json.dumps(_with_words(line, 'a "quoted" word\nGröße 😀'), separators=(",", ":")).encode()


VARIANTS: Final[Mapping[str, Callable[[dict[str, Any]], bytes]]] = MappingProxyType(
    {
        "json-hex-ids": hex_ids,
        "json-capital-ids": capital_ids,
        "json-text-times": text_times,
        "json-no-session": no_session,
        "json-beyond-ascii": beyond_ascii,
        "json-escaped": escaped,
        "json-one-bad": orjson.dumps,
    }
)
"""Nested JSON that differs harmlessly from the usual form, by name; a batch of json-one-bad has a bad row."""

BAD_ROW: Final = b'{"type":"track","event":"a","timestamp":"yesterday"}'


def varied_lines(kind: Kind, rows_: list[dict[str, Any]], variant: str) -> bytes:
    """The rows as JSON Lines in one of VARIANTS."""
    write = VARIANTS[variant]
    lines = [write(_json_row(kind, row, flat=False)) for row in rows_]
    if variant == "json-one-bad":
        lines[len(lines) // 2] = BAD_ROW
    return b"\n".join(lines)


def _with_ids(line: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return line | {name: change(line[name]) for name in ("device_id", "session_id") if name in line}


def _with_words(line: dict[str, Any], words: str) -> dict[str, Any]:
    """With a text in the user's data, of the same length within a few bytes."""
    properties_ = {name: value for name, value in line["properties"].items() if name != "trace"}
    return line | {"properties": properties_ | {"title": words}}


def _json_row(kind: Kind, row: dict[str, Any], flat: bool) -> dict[str, Any]:
    data = orjson.loads(row["payload"])
    line: dict[str, Any] = {"timestamp": row["timestamp"]}
    if "session_id" in row:
        line["session_id"] = str(uuid.UUID(bytes=row["session_id"]))
    if kind is Kind.EVENTS:
        line |= {
            "type": row["event_type"],
            "event": row["event_name"],
            "device_id": str(uuid.UUID(bytes=row["device_id"])),
        }
        nested = "properties"
    elif kind is Kind.LOGS:
        line |= {"level": row["level"], "source": row["source"], "service": row["service"], "message": "done"}
        nested = "data"
    else:
        line |= {"source": row["source"], "entity": row["entity"]}
        nested = "payload"
    return line | (data if flat else {nested: data})
