"""Bodies of other protocols, damaged in many ways: no 500, no hang, and the service goes on."""

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from app.clients.lenient_json import read_object
from app.clients.loki_protobuf import labels
from app.errors import MalformedBatch
from tests.clients.bodies import FAMILIES, Family
from tests.clients.captures import Capture, captures, clients, with_key
from tests.clients.test_status_table import send
from tests.support.service import KEYS, Service

CONFIG = {"server": {"max_body_size": "256KB"}}
SEED: Final = 20261127
DAMAGES: Final = 40
PIECES: Final = (
    *(b'"', b"{", b"[", b"]}", b"\\ud83d", b"NaN", b"-Infinity", b"null", b"1e400", b"9" * 400),
    *(b"\xff", b"\x00", b",", b":", b"true", b'"x"', b"\r\n", b"[[[[", b"\xf0\x9f", b"-", b"0.1e"),
)
"""What damage puts in the place of something else."""

NESTED: Final = b'{"a":' * 20_000
VALUES: Final = (None, True, 7, -1.5, "text", [], [1], {}, {"a": 1}, "", 10**30, "x" * 1000)


def damaged(body: bytes, rng: random.Random) -> bytes:
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(body) + 1)
        end = min(len(body), start + rng.choice((0, 1, 2, 10, 200)))
        body[start:end] = rng.choice(PIECES)
    return bytes(body)


def plain_captures() -> list[Capture]:
    return [
        capture
        for client in clients()
        for capture in list(captures(client))[-2:]
        if capture.method in ("POST", "PUT") and capture.body
    ]


@pytest.mark.parametrize("capture", plain_captures(), ids=lambda capture: capture.name)
def test_damaged_bodies_are_no_defect_of_the_service(service: Service, capture: Capture) -> None:
    rng = random.Random(f"{SEED} {capture.name}")
    for _ in range(DAMAGES):
        body = damaged(capture.body, rng)
        response = service.http.request(capture.method, capture.target, headers=capture.headers, content=body)
        assert response.status_code < 500, (response.text, body)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_members_of_any_type_are_no_defect(service: Service, family: Family) -> None:
    """Each member of a message in turn, and of what is around it, holds each kind of value."""
    if family.bad is None:
        return
    for value in VALUES:
        message = family.message(1)
        for name in message if isinstance(message, dict) else range(len(message)):
            changed = json.loads(json.dumps(message))
            changed[name] = value
            response = send(service.http, family, family.wrap([changed, family.message(2)], KEYS[1]))
            assert response.status_code < 500, (name, value, response.text)


NOT_JSON: Final = ("1e400", "9" * 5_000, '"a\tb"', "[1,]", "01", "undefined")
ODD: Final = "the-odd-one"


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if family.name not in ("otlp-protobuf", "firehose")],
    ids=lambda family: family.name,
)
def test_a_value_that_cannot_be_read_costs_no_other_message(service: Service, family: Family) -> None:
    workspace = 1_060 + FAMILIES.index(family)
    for number, value in enumerate(NOT_JSON):
        odd = family.message(ODD)
        if isinstance(odd, list):
            odd[1] = ODD
        else:
            odd["any"] = ODD
        messages = [family.message(f"{number} before"), odd, family.message(f"{number} after")]
        body = family.wrap(messages, KEYS[workspace])
        body = body.replace(f'"{ODD}"'.encode(), value.encode())
        response = send(service.http, family, body, KEYS[workspace])
        assert response.status_code < 300, (value, response.text)
    service.flush(workspace)
    rows = [str(row) for row in service.table(family.kind, workspace).to_pylist()]
    for number in range(len(NOT_JSON)):
        for place in ("before", "after"):
            assert len([row for row in rows if f"{number} {place}" in row]) == 1, (NOT_JSON[number], place)


@pytest.mark.parametrize(
    ("stream", "stored"),
    [
        (7, 0),
        (None, 0),
        ({"stream": 5, "values": [["1772600767890000000", "odd"]]}, 0),
        ({"stream": None, "values": [["1772600767890000000", "odd"]]}, 1),
        ({"stream": {"a": "b"}, "values": None}, 0),
        ({"stream": {"a": "b"}, "values": 7}, 0),
        ({"stream": {"a": [1]}, "values": [[], None, ["1772600767890000000", "odd"]]}, 1),
    ],
)
def test_a_stream_that_is_none_costs_no_other_stream(service: Service, stream: Any, stored: int) -> None:
    before = service.table("logs", 1_050).num_rows
    good = {"stream": {"app": "a"}, "values": [["1772600767890000001", "good"]]}
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEYS[1_050]}"}
    body = {"streams": [good, stream, {**good, "stream": {"app": "b"}}]}
    response = service.http.post("/loki/api/v1/push", json=body, headers=headers)
    assert response.status_code == 204, response.text
    service.flush(1_050)
    assert service.table("logs", 1_050).num_rows - before == 2 + stored


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"7", NESTED, b"[" * 50_000, b'{"batch":[' + NESTED], ids=range(8)
)
def test_bodies_that_are_nothing(service: Service, family: Family, body: bytes) -> None:
    response = send(service.http, family, body)

    assert response.status_code < 500, response.text


@pytest.mark.parametrize("odd", [b"NaN", b'"\\ud83d"', b"1e400", b'"\xff"', b"-Infinity", b"9" * 300])
def test_an_odd_value_costs_no_neighbour(service: Service, workspace: int, odd: bytes) -> None:
    for family in FAMILIES:
        if family.name in ("segment", "posthog", "amplitude", "mixpanel"):
            key = KEYS[workspace]
            body = family.body([f"{odd!r}-{n}" for n in (1, 2, 3)], key)  # type: ignore[arg-type]  # text
            body = body.replace(b'"number": "', b'"odd": %b, "number": "' % odd, 1)
            response = send(service.http, family, body, key)
            assert response.status_code == 200, response.text
    service.flush()
    assert service.table("events", workspace).num_rows == 12


def test_the_same_request_with_another_key_is_another_workspaces(service: Service, workspace: int) -> None:
    """A key in a compressed body counts as much as one in a header."""
    (capture,) = captures("posthog-node")
    response = with_key(capture, KEYS[workspace]).post(service.http)

    assert response.status_code == 200
    service.flush()
    assert service.table("events", workspace).num_rows > 5


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_object, b'{"a":1,' + b'"\\' * 500_000),
        (read_object, b'{"batch":[' + b'{"a":"\\' * 200_000),
        (labels, "{" + "a" * 500_000 + "}"),
        (labels, "{" + 'a="\\' * 200_000 + "}"),
    ],
    ids=["escapes", "objects", "a long name", "values"],
)
def test_what_never_ends_is_run_through_once(read: Callable[[Any], object], text: Any) -> None:
    """A body is read on the event loop where it is small, and by a thread that others wait for."""
    with contextlib.suppress(MalformedBatch):
        read(text)
