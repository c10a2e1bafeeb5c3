"""The service of an event in the service layout is found in its payload."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from app.kinds import Kind
from tests.decode.decoding import BINARY, KEY, POLICY, RECEIVED_MS, decode_one
from tests.support import flatbuffer_oracle as oracle
from tests.support.flatbuffer_batches import hand_laid

space = st.sampled_from(["", " ", "\n\t", "\r\n  "])
keys = st.sampled_from(
    [
        '"service"',
        '"\\u0073ervice"',
        '"servic\\u0065"',
        '"Service"',
        '"\\"service\\""',
        '"a"',
        '"\\u00e9"',
        '""',
    ]
)
scalars = st.sampled_from(
    ['"service"', '"\\\\"', "1", "null", "{}", "[]", '{"service":1}', '"}"', '"{\\"service\\":1}"']
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    members = [
        f"{draw(space)}{key}{draw(space)}:{draw(space)}{value}{draw(space)}"
        for key, value in draw(st.lists(st.tuples(keys, scalars), max_size=3))
    ]
    return f"{draw(space)}{{{','.join(members) or draw(space)}}}{draw(space)}".encode()


services = st.one_of(
    st.none(), st.sampled_from(["", "web", 'a"b\\c', "\x00\x1f\x7f", "Jürgen 🙂", "service"]), st.text()
)
rows = st.fixed_dictionaries(
    {
        "event_type": st.just(1),
        "layout": st.sampled_from(["service", "service", "plain"]),
        "service": services,
        "payload": objects() | scalars.map(str.encode),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(rows, min_size=1, max_size=6), st.sampled_from([POLICY, BINARY]))
def test_payloads_are_those_of_the_oracle(rows: list[dict[str, Any]], policy: Any) -> None:
    body = hand_laid(Kind.EVENTS, rows, KEY)
    _, wanted = oracle.rows_of(body, RECEIVED_MS, json_required=policy.payload_must_be_json)
    _, decoded = decode_one(body, policy)
    assert [row["payload"] for row in decoded] == [row["payload"] for row in wanted if isinstance(row, dict)]


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (b"{}", b'{"service":"w"}'),
        (b"{ }", b'{ "service":"w"}'),
        (b'{"a":1}', b'{"a":1,"service":"w"}'),
        (b' {"a":1} \n', b' {"a":1,"service":"w"}'),
        (b'{"a":{"service":1}}', b'{"a":{"service":1},"service":"w"}'),
        (b'{"a":"\\u00e9"}', b'{"a":"\\u00e9","service":"w"}'),
        (b'{"service":"mine"}', None),
        (b'{"a":1,"\\u0073ervice":null}', None),
        (b"[{}]", None),
        (b'"{}"', None),
        (b"12", None),
    ],
)
@pytest.mark.parametrize("policy", [POLICY, BINARY], ids=["json", "binary"])
def test_the_member_is_added_once_and_last(payload: bytes, stored: bytes | None, policy: Any) -> None:
    row = {"event_type": 1, "service": "w", "payload": payload}
    _, rows = decode_one(hand_laid(Kind.EVENTS, [row] * 2, KEY, layout="service"), policy)
    assert [row["payload"] for row in rows] == [payload if stored is None else stored] * 2


@pytest.mark.parametrize("payload", [b"{nope", b'{"a":"}', b'{"a":1,"}', b"{\xff}", b"", b"{", b"\x00\x01"])
def test_bytes_that_only_look_like_an_object_stay_as_they_are(payload: bytes) -> None:
    row = {"event_type": 1, "service": "w", "payload": payload}
    _, rows = decode_one(hand_laid(Kind.EVENTS, [row], KEY, layout="service"), BINARY)
    assert rows[0]["payload"] == payload


def test_a_service_of_broken_text_refuses_its_row() -> None:
    rows = [{"event_type": 1, "service": service, "payload": b"{}"} for service in (b"\xff", b"ok")]
    verdict, good = decode_one(hand_laid(Kind.EVENTS, rows, KEY, layout="service"))
    assert [(r.row, r.field) for r in verdict.refusals] == [(1, "service")]
    assert [row["payload"] for row in good] == [b'{"service":"ok"}']
