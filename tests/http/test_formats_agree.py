"""The same batch in every format gives equal rows in Parquet."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from app.kinds import Kind
from tests.support.flatbuffer_batches import hand_laid, official
from tests.support.payloads import DEVICE, SESSION, TIMESTAMP_MS
from tests.support.service import KEYS, Service

BACKENDS = (
    "directory",
    "bucket",
    "happened",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("kafka", "tables", "workers")),
)

KEY = bytes.fromhex(KEYS[1])

BATCHES: dict[Kind, list[dict[str, Any]]] = {
    Kind.EVENTS: [
        {"event_type": "track", "event_name": "page_view", "session_id": SESSION, "payload": {"n": 1}},
        {"event_type": "identify", "payload": {"user_id": "u_1", "name": "Jürgen \U0001f600 \" \\ \n"}},
        {"event_type": "group", "payload": {"group_id": "g_1", "nested": {"a": [1, 2.5, None, True]}}},
        {"event_type": "alias", "payload": {}},
        {"event_type": "enrich", "payload": {"big": "x" * 5_000}},
        {"event_type": "context", "payload": {"locale": "de-DE", "_context": {"os": "linux"}}},
        {"event_type": "track", "event_name": "ü" * 300, "payload": {"n": 7}},
    ],
    Kind.LOGS: [
        {"level": level, "event_type": kind, "source": source, "service": service, "session_id": session,
         "payload": {"message": f"{level} {kind}", "n": number}}
        for number, (level, kind, source, service, session) in enumerate(
            [
                ("emergency", "log", None, None, None),
                ("error", "log", "host-1", "api", SESSION),
                ("info", "enrich", "host-1", None, None),
                ("trace", "log", None, "Dienst für Ä", SESSION),
            ]
        )
    ],
    Kind.SNAPSHOTS: [
        {"source": "github", "entity": "user/repo", "payload": {"stars": 100}},
        {"source": "stripe", "entity": "Ä" * 200, "payload": {}},
    ],
}  # fmt: skip


def numbered(kind: Kind) -> list[dict[str, Any]]:
    """The batch with a timestamp each; events with a device."""
    device = {"device_id": DEVICE} if kind is Kind.EVENTS else {}
    return [{**device, **row, "timestamp": TIMESTAMP_MS + i} for i, row in enumerate(BATCHES[kind])]


def as_json(kind: Kind, row: dict[str, Any]) -> dict[str, Any]:
    """The row as the JSON call takes it."""
    fields = {name: value for name, value in row.items() if value is not None}
    payload = dict(fields.pop("payload"))
    if kind is Kind.SNAPSHOTS:
        return {**fields, "payload": payload}
    type_ = {"type": fields.pop("event_type")}
    if kind is Kind.LOGS:
        message = payload.pop("message")
        return {**fields, **type_, "message": message, "data": payload}
    context = {"context": payload.pop("_context")} if "_context" in payload else {}
    own = {name: payload.pop(name) for name in ("user_id", "group_id") if name in payload}
    name = {"event": fields.pop("event_name")} if "event_name" in fields else {}
    return {**fields, **type_, **name, **own, **context, "properties": payload}


def as_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the FlatBuffer encoders take it."""
    ids = {name: uuid.UUID(row[name]).bytes for name in ("device_id", "session_id") if row.get(name)}
    return {**row, **ids, "payload": json.dumps(row["payload"], ensure_ascii=False).encode()}


def post_json(service: Service, kind: Kind, rows: list[dict[str, Any]]) -> int:
    return service.post_json(kind.value, [as_json(kind, row) for row in rows], wait="file")


def post_flatbuffer(encode: Callable[..., bytes], **options: Any) -> Callable[..., int]:
    def post(service: Service, kind: Kind, rows: list[dict[str, Any]]) -> int:
        body = encode(kind, [as_fields(row) for row in rows], KEY, **options)
        return service.post_flatbuffer(body, wait="file")

    return post


FORMATS: dict[str, Callable[[Service, Kind, list[dict[str, Any]]], int]] = {
    "official builder": post_flatbuffer(official),
    "hand-laid": post_flatbuffer(hand_laid),
    "hand-laid, off by 1": post_flatbuffer(hand_laid, shift=1),
    "hand-laid, off by 2": post_flatbuffer(hand_laid, shift=2),
    "hand-laid, off by 3": post_flatbuffer(hand_laid, shift=3),
    "official builder, service layout": post_flatbuffer(official, layout="service"),
    "hand-laid, service layout": post_flatbuffer(hand_laid, layout="service"),
    "hand-laid, service layout, off by 3": post_flatbuffer(hand_laid, layout="service", shift=3),
}


def stored(service: Service, kind: Kind, first: int) -> list[dict[str, Any]]:
    """The rows from number `first` on, with the payload parsed and without the time of receipt."""
    rows = service.table(kind).slice(first).to_pylist()
    for row in rows:
        row["payload"] = json.loads(row["payload"])
        assert row.pop("batch_timestamp") > TIMESTAMP_MS
    return rows


@pytest.mark.parametrize("way", FORMATS)
@pytest.mark.parametrize("kind", list(Kind))
def test_a_flatbuffer_gives_the_same_rows_as_json(service: Service, kind: Kind, way: str) -> None:
    rows = numbered(kind)
    first = service.table(kind).num_rows

    assert post_json(service, kind, rows) == len(rows)
    assert FORMATS[way](service, kind, rows) == len(rows)

    both = stored(service, kind, first)
    by_json, by_flatbuffer = both[: len(rows)], both[len(rows) :]
    assert by_flatbuffer == by_json
    assert [row["payload"] for row in by_json] == [row["payload"] for row in rows]
    assert [row["timestamp"] for row in by_json] == [row["timestamp"] for row in rows]


@pytest.mark.parametrize("encode", [official, hand_laid])
def test_the_service_of_an_event_is_kept_in_its_payload(
    service: Service, encode: Callable[..., bytes]
) -> None:
    rows = [{**row, "service": "web"} for row in numbered(Kind.EVENTS)]
    first = service.table(Kind.EVENTS).num_rows

    post_flatbuffer(encode, layout="service")(service, Kind.EVENTS, rows)

    found = stored(service, Kind.EVENTS, first)
    assert [row["payload"] for row in found] == [{**row["payload"], "service": "web"} for row in rows]
