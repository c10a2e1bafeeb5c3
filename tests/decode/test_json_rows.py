"""What one body of a kind gives, stated case by case."""

import json
from typing import Any

import pytest

from app.decode.json.decode import PIECE_BYTES, decode_json
from app.errors import MalformedBatch
from app.kinds import Kind
from app.submission import DecodePolicy, RowRefusal, Verdict
from tests.decode.json_bodies import DEVICE, RECEIVED_MS, submission

EVENT = {"type": "track", "event": "Signed up", "device_id": DEVICE}
LOG = {"message": "disk full"}
SNAPSHOT = {"source": "github", "entity": "user/repo"}


def decode(body: bytes | str, kind: Kind = Kind.EVENTS) -> tuple[Verdict, list[dict[str, Any]]]:
    """The verdict and rows of one body."""
    decoded = decode_json(
        [submission(body.encode() if isinstance(body, str) else body, kind)], DecodePolicy()
    )
    rows = [row for group in decoded.groups for row in group.rows.to_pylist()]
    assert decoded.verdicts[0].accepted == len(rows)
    return decoded.verdicts[0], rows


def row(members: dict[str, Any], kind: Kind = Kind.EVENTS) -> dict[str, Any]:
    """The only row of a body that must be accepted."""
    verdict, rows = decode(json.dumps(members), kind)
    assert (verdict.accepted, verdict.rejected) == (1, 0), verdict
    return rows[0]


def payload(members: dict[str, Any], kind: Kind = Kind.EVENTS) -> bytes:
    stored: bytes = row(members, kind)["payload"]
    return stored


def refusal(members: dict[str, Any], kind: Kind = Kind.EVENTS) -> RowRefusal:
    verdict, rows = decode(json.dumps(members), kind)
    assert (rows, verdict.rejected, len(verdict.refusals)) == ([], 1, 1), verdict
    return verdict.refusals[0]


def test_an_event_fills_every_column() -> None:
    assert row(
        EVENT
        | {
            "type": "Track",
            "session_id": DEVICE.replace("-", "").upper(),
            "timestamp": 1_714_564_800_000,
            "properties": {"plan": "team"},
        }
    ) == {
        "timestamp": 1_714_564_800_000,
        "batch_timestamp": RECEIVED_MS,
        "workspace_id": 7,
        "event_type": "track",
        "event_name": "Signed up",
        "device_id": bytes.fromhex(DEVICE.replace("-", "")),
        "session_id": bytes.fromhex(DEVICE.replace("-", "")),
        "source_ip": bytes(10) + b"\xff\xff\0\0\0\7",
        "payload": b'{"plan": "team"}',
    }


def test_a_log_fills_every_column() -> None:
    members = LOG | {
        "level": "WARN",
        "type": "enrich",
        "source": "h",
        "service": "web",
        "session_id": DEVICE,
        "data": {"n": 1},
    }
    assert row(members, Kind.LOGS) == {
        "timestamp": RECEIVED_MS,
        "batch_timestamp": RECEIVED_MS,
        "workspace_id": 7,
        "level": "warning",
        "event_type": "enrich",
        "source": "h",
        "service": "web",
        "session_id": bytes.fromhex(DEVICE.replace("-", "")),
        "source_ip": bytes(10) + b"\xff\xff\0\0\0\7",
        "payload": b'{"message":"disk full","n": 1}',
    }


def test_a_snapshot_fills_every_column() -> None:
    assert row(SNAPSHOT | {"timestamp": 1_714_564_800_005, "metrics": {"stars": 3}}, Kind.SNAPSHOTS) == {
        "timestamp": 1_714_564_800_005,
        "batch_timestamp": RECEIVED_MS,
        "workspace_id": 7,
        "source": "github",
        "entity": "user/repo",
        "source_ip": bytes(10) + b"\xff\xff\0\0\0\7",
        "payload": b'{"stars": 3}',
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, b"{}"),
        ({"properties": {}}, b"{}"),
        ({"properties": None, "traits": None, "context": None, "user_id": None}, b"{}"),
        ({"properties": {"a": 1}, "user_id": "u"}, b'{"user_id":"u","a": 1}'),
        ({"context": {"os": "x"}, "traits": {"a": 1}}, b'{"a": 1,"_context":{"os": "x"}}'),
        ({"properties": {}, "user_id": 5, "group_id": "g"}, b'{"user_id":5,"group_id":"g"}'),
        ({"properties": {"a": 1}, "traits": {"b": 2}}, b'{"a":1,"b":2}'),
        ({"flat": None, "é": [1, 2]}, '{"flat":null,"é":[1, 2]}'.encode()),
        ({"flat": 1, "properties": {"a": 1}, "context": 7}, b'{"a":1,"flat":1,"_context":7}'),
        ({"user_id": "u", "flat": True}, b'{"user_id":"u","flat":true}'),
    ],
)
def test_an_events_payload_joins_all_places(members: dict[str, Any], expected: bytes) -> None:
    assert payload(EVENT | members) == expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"user_id": 1, "properties": {"user_id": 1}}, b'{"user_id":1}'),
        (
            {"user_id": 1, "properties": {"user_id": 2, "a": 3}},
            b'{"user_id":1,"a":3,"_shadowed":{"properties":{"user_id":2}}}',
        ),
        (
            {"a": 3, "properties": {"a": 1}, "traits": {"a": 2}},
            b'{"a":1,"_shadowed":{"traits":{"a":2},"other":{"a":3}}}',
        ),
        (
            {"_context": 1, "context": 2, "_shadowed": 0},
            b'{"_context":1,"_shadowed":0,"__shadowed":{"context":{"_context":2}}}',
        ),
    ],
)
def test_a_key_that_two_places_have_loses_neither_value(members: dict[str, Any], expected: bytes) -> None:
    assert payload(EVENT | members) == expected


def test_a_key_is_recognised_however_it_is_escaped() -> None:
    body = b'{"type":"alias","device_id":"%b","user_id":1,"properties":{"us\\u0065r_id":2}}' % DEVICE.encode()
    assert decode(body)[1][0]["payload"] == b'{"user_id":1,"_shadowed":{"properties":{"user_id":2}}}'
    body = b'{"typ\\u0065":"alias","device_id":"%b"}' % DEVICE.encode()
    assert decode(body)[1][0]["event_type"] == "alias"


@pytest.mark.parametrize("shape", ['"properties":{%s}', "%s"])
def test_values_stay_as_the_client_wrote_them(shape: str) -> None:
    written = '"z":1.0,"a":12345678901234567890,"big":1e400,"minus":-0,"esc":"\\u00e9\\/","o":{ "y" : [ ] }'
    _, rows = decode(f'{{"type":"alias","device_id":"{DEVICE}",{shape % written}}}')
    assert rows[0]["payload"] == f"{{{written}}}".encode()


def test_a_log_message_may_be_any_value_but_null() -> None:
    assert payload({"message": {"a": 1}}, Kind.LOGS) == b'{"message":{"a": 1}}'
    assert payload({"message": True, "level": None, "extra": 1}, Kind.LOGS) == b'{"message":true,"extra":1}'
    assert refusal({"message": None}, Kind.LOGS).field == "message"
    assert refusal({"data": {}}, Kind.LOGS).field == "message"


@pytest.mark.parametrize("event_type", ["identify", "group", "alias", "enrich", "context"])
def test_only_track_needs_a_name(event_type: str) -> None:
    assert row({"type": event_type, "device_id": DEVICE})["event_name"] is None
    assert row({"type": event_type, "device_id": DEVICE, "event": ""})["event_name"] is None
    assert row({"type": event_type, "device_id": DEVICE, "event": "n"})["event_name"] == "n"


@pytest.mark.parametrize(
    ("kind", "members", "field"),
    [
        (Kind.EVENTS, EVENT | {"type": None}, "type"),
        (Kind.EVENTS, EVENT | {"type": "unknown"}, "type"),
        (Kind.EVENTS, EVENT | {"type": 1}, "type"),
        (Kind.EVENTS, EVENT | {"event": ""}, "event"),
        (Kind.EVENTS, EVENT | {"event": None}, "event"),
        (Kind.EVENTS, EVENT | {"event": ["x"]}, "event"),
        (Kind.EVENTS, EVENT | {"timestamp": True}, "timestamp"),
        (Kind.LOGS, LOG | {"level": "loud"}, "level"),
        (Kind.LOGS, LOG | {"type": "track"}, "type"),
        (Kind.LOGS, LOG | {"source": 1}, "source"),
        (Kind.LOGS, LOG | {"service": False}, "service"),
        (Kind.SNAPSHOTS, SNAPSHOT | {"source": ""}, "source"),
        (Kind.SNAPSHOTS, SNAPSHOT | {"entity": None}, "entity"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(kind: Kind, members: dict[str, Any], field: str) -> None:
    assert refusal(members, kind).field == field


def test_a_refused_line_is_named_and_its_neighbours_are_kept() -> None:
    good = json.dumps(EVENT)
    body = f'\n{good}\r\n\n{{"type":\n  \n{good}\n[1]\n{json.dumps(EVENT | {"timestamp": "x"})}\n{good}'
    verdict, rows = decode(body)
    assert len(rows) == 3
    assert verdict.rejected == 3
    assert [(refusal.row, refusal.field) for refusal in verdict.refusals] == [
        (4, ""),
        (7, ""),
        (8, "timestamp"),
    ]
    assert verdict.refusals[0].message.startswith("not valid JSON")
    assert verdict.refusals[1].message == "a row must be one JSON object"


def test_a_wrong_value_is_named_by_its_line_where_all_lines_are_json() -> None:
    verdict, _ = decode(f"\n\n{json.dumps(EVENT)}\n\n{json.dumps(LOG)}\n")
    assert [refusal.row for refusal in verdict.refusals] == [5]


def test_a_refused_element_is_named_by_its_number() -> None:
    verdict, rows = decode(f'[\n{json.dumps(EVENT)},\n\n1, {json.dumps(LOG)}, {{"a":"\\ud800"}}]')
    assert len(rows) == 1
    assert [(refusal.row, refusal.field) for refusal in verdict.refusals] == [
        (2, ""),
        (3, "type"),
        (4, "type"),
    ]


def test_refusals_beyond_the_limit_are_only_counted() -> None:
    policy = DecodePolicy(max_reported_refusals=2)
    verdict = decode_json([submission(b"{}\n" * 5)], policy).verdicts[0]
    assert (verdict.rejected, [refusal.row for refusal in verdict.refusals]) == (5, [1, 2])


@pytest.mark.parametrize(
    "body", [json.dumps(EVENT, indent=2), json.dumps([EVENT], indent=2), json.dumps([EVENT])]
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_one_object_and_an_array_are_told_apart_by_content(body: str, mark: str, newline: str) -> None:
    verdict, _ = decode(mark + body.replace("\n", newline) + newline)
    assert (verdict.accepted, verdict.rejected) == (1, 0)


@pytest.mark.parametrize("body", ["", " \r\n\t\n", "\ufeff", "[]", " [ ] \n"])
def test_a_body_without_rows_is_malformed(body: str) -> None:
    verdict, rows = decode(body)
    assert isinstance(verdict.error, MalformedBatch)
    assert "no rows" in verdict.error.message
    assert not rows


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("[", "element 1"),
        (f"[{json.dumps(EVENT)},", "element 2"),
        (f"[{json.dumps(EVENT)}", "element 1"),
        (f"[{json.dumps(EVENT)}] x", "extra data"),
        (f"[{json.dumps(EVENT)}][]", "extra data"),
        (f'[{json.dumps(EVENT)},{{"a":]', "element 2"),
        (f'[{{"a":}}, {json.dumps(EVENT)}}}, 1]', "element 2"),
        (f'[{{"a": "b"c"}}, {json.dumps(EVENT)}]', "element 1"),
        ("[" + "[" * 100_000, "element 1 of the array is nested too deeply"),
    ],
)
def test_an_array_that_cannot_be_read_to_its_end_is_malformed(body: str, where: str) -> None:
    verdict, rows = decode(body)
    assert isinstance(verdict.error, MalformedBatch)
    assert where in verdict.error.message
    assert not rows


@pytest.mark.parametrize(
    "fault",
    [
        '{"a":}',
        '{"a": "\t"}',
        r'{"a": "\x"}',
        '{"a": 01}',
        '{"a": [1,]}',
        '{"a" 1}',
        "{} {}",
        "",
        "x",
        "[1, {]}",
    ],
)
@pytest.mark.parametrize("shape", ["[%s, %s,%s]", "[%s,%s ,%s,]", "[%s\n,%s\n,%s\n,\n]\n"])
def test_an_element_that_is_not_valid_json_is_refused_alone(shape: str, fault: str) -> None:
    good = [json.dumps(EVENT | {"event": name, "at": ['"]},{', {"b": [2]}]}) for name in ("one", "two")]
    verdict, rows = decode(shape % (good[0], fault, good[1]))
    if fault == "[1, {]}":  # brackets that are not in pairs: nobody knows where this element ends
        assert isinstance(verdict.error, MalformedBatch)
        return
    assert [row["event_name"] for row in rows] == ["one", "two"]
    assert [refusal.row for refusal in verdict.refusals] == [2]
    assert "not valid JSON" in verdict.refusals[0].message


@pytest.mark.parametrize("shape", [b"%b\n%b", b"[%b,%b]"])
def test_bytes_that_are_not_utf8_refuse_their_row_alone(shape: bytes) -> None:
    good = json.dumps(EVENT | {"properties": {"é": "é"}}, ensure_ascii=False).encode()
    verdict, rows = decode(shape % (good, good.replace("é".encode(), b"\xe9")))
    assert len(rows) == 1
    assert [(refusal.row, refusal.field) for refusal in verdict.refusals] == [(2, "")]


def test_submissions_of_all_kinds_come_back_in_order() -> None:
    sent = [
        submission(json.dumps(LOG).encode(), Kind.LOGS, workspace_id=1),
        submission(json.dumps([EVENT, EVENT]).encode(), Kind.EVENTS, workspace_id=2),
        submission(b"[", Kind.EVENTS, workspace_id=3),
        submission(json.dumps(EVENT | {"flat": 1}).encode(), Kind.EVENTS, workspace_id=4),
        submission(b"{}", Kind.LOGS, workspace_id=5),
        submission(json.dumps(LOG).encode(), Kind.LOGS, workspace_id=6),
    ]
    decoded = decode_json(sent, DecodePolicy())
    assert [verdict.accepted for verdict in decoded.verdicts] == [1, 2, 0, 1, 0, 1]
    assert [verdict.rejected for verdict in decoded.verdicts] == [0, 0, 0, 0, 1, 0]
    found = {group.kind: group for group in decoded.groups}
    assert (found[Kind.EVENTS].owners, found[Kind.EVENTS].counts) == ([1, 3], [2, 1])
    assert (found[Kind.LOGS].owners, found[Kind.LOGS].counts) == ([0, 5], [1, 1])
    assert found[Kind.EVENTS].rows["workspace_id"].to_pylist() == [2, 2, 4]
    assert found[Kind.LOGS].rows["source_ip"].to_pylist() == [sent[0].source_ip, sent[5].source_ip]


def test_a_group_of_many_bodies_keeps_its_order() -> None:
    filler = "x" * 1_000
    sent = []
    for number in range(5 * PIECE_BYTES // 2_000):
        rows = [EVENT | {"event": f"{number}-{row}", "filler": filler} for row in range(2)]
        body = "\n".join(map(json.dumps, rows)) if number % 7 else "{"
        sent.append(submission(body.encode(), workspace_id=number))
    decoded = decode_json(sent, DecodePolicy())
    good = [number for number in range(len(sent)) if number % 7]
    (group,) = decoded.groups
    group.rows.validate(full=True)
    assert (group.owners, group.counts) == (good, [2] * len(good))
    assert group.rows["event_name"].to_pylist() == [f"{number}-{row}" for number in good for row in range(2)]
    assert group.rows["workspace_id"].to_pylist() == [number for number in good for _ in range(2)]
    assert [verdict.accepted for verdict in decoded.verdicts] == [2 * bool(n % 7) for n in range(len(sent))]


def test_no_submissions_give_nothing() -> None:
    decoded = decode_json([], DecodePolicy())
    assert (decoded.verdicts, decoded.groups) == ([], [])
