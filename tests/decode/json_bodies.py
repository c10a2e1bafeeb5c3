"""Strategies for JSON bodies, from well-behaved to hostile, and how submissions are made of them."""

import json
from typing import Any

from hypothesis import strategies as st

from app.kinds import Kind
from app.submission import Submission, WireFormat
from tests.decode.json_reference import KNOWN, Number

RECEIVED_MS = 1_750_000_000_123
DEVICE = "0190a7d6-7c2b-4f4e-9d6b-2f8a5e1c3b47"

FAULTY = '{"type":"alias","message":"NaN","source":"s","entity":"e","a":%s}'

Pairs = list[tuple[str, Any]]
"""An object as it will be written: keys may stand twice."""


class Written(list[tuple[str, Any]]):
    """Tells an object's pairs from an array."""


def submission(body: bytes, kind: Kind = Kind.EVENTS, *, workspace_id: int = 7) -> Submission:
    source_ip = bytes(10) + b"\xff\xff" + workspace_id.to_bytes(4, "big")
    return Submission(WireFormat.JSON, kind, body, bytes(16), workspace_id, source_ip, RECEIVED_MS)


def write(value: Any, blank: str = "", ascii_only: bool = False) -> str:
    """JSON text of Python values, Numbers as they are, Written as objects."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Written):
        members = (
            f"{json.dumps(k, ensure_ascii=ascii_only)}{blank}:{blank}{v}"
            for k, v in ((k, write(v, blank, ascii_only)) for k, v in value)
        )
        return "{" + blank + f"{blank},{blank}".join(members) + blank + "}"
    if isinstance(value, list):
        return "[" + blank + f",{blank}".join(write(v, blank, ascii_only) for v in value) + blank + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


ALL_KEYS = sorted({key for keys in KNOWN.values() for key in keys})
keys = st.sampled_from(
    [*ALL_KEYS, "_context", "_shadowed", "__shadowed", "a", "b", "", '"', "\\", "\n", "é", "\u2028", "😀"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
numbers = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "1.0",
        "1e400",
        "-1E-400",
        "12345678901234567890",
        "1700000000000",
        "1.7e12",
        "1714564800",
        "1714564800.1239",
        "1714564800123456",
        "1714564800123456789",
        "99999999999",
        "100000000000",
        "1700000000000.9",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "-86400000",
        "0.5",
        "1e19",
        "123456789012345678901234567890e-20",
    ]
).map(Number)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
scalars = st.none() | st.booleans() | numbers | texts


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Written]:
    return st.lists(st.tuples(keys, values), max_size=4).map(Written)


values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=6)

uuids = st.uuids().flatmap(
    lambda u: st.sampled_from([str(u), str(u), u.hex, str(u).upper(), f"{{{u}}}", u.urn, u.hex[:30] + "  "])
)
times = numbers | st.sampled_from(
    [
        "2024-05-01T12:00:00Z", "2024-05-01t12:00:00.123456z", "2024-05-01 12:00:00+05:30", "2024-05-01",
        "2024-05-01T12:00:00.9999995Z", "1969-12-31T23:59:59.9999-00:30", "2024-05-01T12:00:00", "now",
        "2024-05-01T12:00:00.1234567890123456789-1200", "2024-02-30T00:00:00Z", "2024-05-01T12:00:60Z",
        "1714564800", "1714564800.123", "1714564800123456789", "0", "2024-05-01 12:00:00,123", "1970-01-01",
        "2024-05-01 12:00:00 +0200", "", "2024-05-01T12:00Z", " 2024-05-01", "1e400",
    ]
)  # fmt: skip
names = st.sampled_from(["", "anonymous", "42", "é", "{"]) | texts
levels = st.sampled_from(
    ["info", "WARN", "err", "Fatal", "emerg", "trace", "verbose", "", "INFO+2", "loud", "6"]
    + [Number(n) for n in ("0", "7", "8", "10", "30", "60", "99", "100", "-1", "20.5")]
)
types = st.sampled_from(["track", "track", "Identify", "GROUP", "log", "enrich", "unknown", "page"])
good_values: dict[str, st.SearchStrategy[Any]] = {
    "type": types, "event": texts, "device_id": uuids | names, "session_id": uuids | names,
    "timestamp": times,
    "user_id": scalars, "group_id": scalars, "properties": objects(values), "traits": objects(values),
    "context": objects(values), "message": texts, "level": levels, "source": texts, "service": texts,
    "data": objects(values), "entity": texts, "payload": objects(values), "metrics": objects(values),
}  # fmt: skip
ids_beside = st.tuples(st.just("anonymous_id"), uuids | names | scalars)
logger_members = st.one_of(
    st.tuples(st.sampled_from(["msg", "log", "MESSAGE", "body", "short_message", "event"]), texts | values),
    st.tuples(st.sampled_from(["time", "ts", "@timestamp", "date", "__REALTIME_TIMESTAMP"]), times | values),
    st.tuples(st.sampled_from(["severity", "lvl", "log.level", "PRIORITY", "levelname"]), levels | values),
    st.tuples(
        st.sampled_from(["hostname", "host", "host.name", "name", "service.name", "app"]), texts | values
    ),
    st.tuples(
        st.sampled_from(["log", "service", "host", "fields"]),
        st.lists(
            st.tuples(st.sampled_from(["level", "name", "message", "logger"]), levels | texts | values),
            max_size=3,
            unique_by=lambda pair: pair[0],
        ).map(Written),
    ),
)


@st.composite
def rows(draw: st.DrawFn, kind: Kind) -> str:
    """One row's text: mostly what the protocol says, sometimes anything."""
    if draw(st.integers(0, 19)) == 0:
        return draw(
            st.sampled_from(
                ["{", "1", "[]", "null", "{}", '{"a":01}', "{]", "NaN"]
                + [
                    FAULTY % fault
                    for fault in (r'"\ud800"', r'"x\udc00\ud83d"', "NaN", "[-Infinity,Infinity]")
                ]
            )
        )
    pairs: Pairs = []
    if kind is Kind.EVENTS and draw(st.integers(0, 9)):
        pairs = [("type", "identify"), ("device_id", DEVICE)]
    elif kind is Kind.LOGS and draw(st.integers(0, 9)):
        pairs = [("message", "m")]
    elif kind is Kind.SNAPSHOTS and draw(st.integers(0, 9)):
        pairs = [("source", "s"), ("entity", "e")]
    for key in draw(st.lists(st.sampled_from(KNOWN[kind]), max_size=5)):
        pairs.append((key, draw(good_values[key] if draw(st.integers(0, 9)) else values)))
    if draw(st.booleans()):
        pairs.extend(draw(objects(values)))
    if draw(st.booleans()) and kind is not Kind.SNAPSHOTS:
        beside = logger_members if kind is Kind.LOGS else ids_beside
        pairs.extend(draw(st.lists(beside, min_size=1, max_size=4)))
    order = draw(st.permutations(pairs))
    return write(Written(order), draw(st.sampled_from(["", "", " "])), draw(st.booleans()))


@st.composite
def bodies(draw: st.DrawFn, kind: Kind) -> bytes:
    """JSON Lines with blank lines and either line end, or an array, perhaps with a byte order mark."""
    texts_of_rows = draw(st.lists(rows(kind), max_size=5))
    if draw(st.booleans()):
        body = "[" + ",\n".join(texts_of_rows) + "]"
    else:
        ends = st.sampled_from(["\n", "\n", "\r\n", "\n\n", "\n \t\r\n"])
        body = "".join(text + draw(ends) for text in texts_of_rows)
        body = body if draw(st.booleans()) else body.rstrip()
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])) + body.encode()


@st.composite
def mutated(draw: st.DrawFn, kind: Kind) -> bytes:
    """A body with bytes changed, put in, taken out, or cut off."""
    body = bytearray(draw(bodies(kind)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        piece = draw(
            st.sampled_from([b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\\", b"\xff", b"\x00"])
            | st.binary(max_size=2)
        )
        body[at : at + draw(st.integers(0, 2))] = piece
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)
