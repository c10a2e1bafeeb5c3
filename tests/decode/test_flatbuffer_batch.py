"""The head of a batch, the limits, and that a refusal touches nothing else."""

import struct
from typing import Any

import pytest

from app.decode.flatbuffer.batch import BATCH_ID_PREFIX
from app.decode.flatbuffer.decode import decode_flatbuffers
from app.decode.group_room import GroupRoom
from app.errors import BodyTooLarge, Forbidden, MalformedBatch, NoRoomInGroup, RequestError
from app.kinds import Kind
from app.schema import SCHEMAS
from app.submission import DecodePolicy
from tests.decode.decoding import (
    BINARY,
    KEY,
    POLICY,
    RECEIVED_MS,
    SOURCE_IP,
    checked,
    decode,
    decode_one,
    refusal,
    rows_of,
    submission,
)
from tests.support.flatbuffer_batches import Template, hand_laid, official

EVENT = {"event_type": "track", "timestamp": 5, "event_name": "n", "device_id": KEY, "payload": b"{}"}
IP6 = bytes(range(16, 32))


@pytest.fixture(params=[official, hand_laid], ids=["official", "hand-laid"])
def encode(request: pytest.FixtureRequest) -> Any:
    return request.param


def events(encode: Any = hand_laid, rows: int = 1, **options: Any) -> bytes:
    body: bytes = encode(Kind.EVENTS, [EVENT] * rows, KEY, **options)
    return body


def error_of(body: bytes, policy: DecodePolicy = POLICY, **fields: Any) -> RequestError:
    verdict, rows = decode_one(body, policy, **fields)
    assert verdict.error is not None
    assert rows == []
    return verdict.error


def test_no_submissions_give_nothing() -> None:
    decoded = decode_flatbuffers([], POLICY)
    assert (decoded.verdicts, decoded.groups) == ([], [])


@pytest.mark.parametrize("kind", Kind)
def test_a_batch_of_no_rows_is_accepted_and_gives_none(encode: Any, kind: Kind) -> None:
    verdict, rows = decode_one(encode(kind, [], KEY))
    assert (verdict.kind, verdict.accepted, verdict.rejected, rows) == (kind, 0, 0, [])


@pytest.mark.parametrize("version", [0, 100])
def test_version_100_is_taken_and_0_read_as_100(encode: Any, version: int) -> None:
    assert decode_one(events(encode, version=version))[0].accepted == 1


def test_another_version_is_refused(encode: Any) -> None:
    assert "version 101" in error_of(events(encode, version=101)).message


@pytest.mark.parametrize(
    ("number", "named"), [(0, "0 (unknown)"), (3, "3 (metric)"), (4, "4 (trace)"), (6, "6"), (255, "255")]
)
def test_another_schema_type_is_refused_with_those_that_are_taken(
    encode: Any, number: int, named: str
) -> None:
    error = error_of(events(encode, schema_type=number))
    assert isinstance(error, MalformedBatch)
    assert f"schema_type {named} is not supported" in error.message
    assert "1 (event), 2 (log) or 5 (snapshot)" in error.message


@pytest.mark.parametrize("key", [KEY[:-1], KEY + b"x", b"", bytes(16), KEY[:-1] + b"x"])
def test_another_key_than_that_of_the_request_is_forbidden(encode: Any, key: bytes) -> None:
    error = error_of(encode(Kind.EVENTS, [EVENT], key))
    assert isinstance(error, Forbidden)
    assert error.code == "key_mismatch"


def test_keys_are_compared_one_to_one_within_a_group() -> None:
    other = bytes(reversed(KEY))
    bodies = [events(), hand_laid(Kind.EVENTS, [EVENT], other)]
    group = [submission(bodies[0]), submission(bodies[1], api_key=other), submission(bodies[1])]
    verdicts = checked(decode_flatbuffers(group, POLICY)).verdicts
    assert [type(verdict.error) for verdict in verdicts] == [type(None), type(None), Forbidden]


def test_a_batch_of_another_kind_than_the_call_takes_is_refused() -> None:
    assert "takes logs, but the batch contains events" in error_of(events(), kind=Kind.LOGS).message
    assert decode_one(events(), kind=Kind.EVENTS)[0].accepted == 1


def test_missing_fields_are_named() -> None:
    def batch(*present: int) -> bytes:
        fields = struct.pack("<HH6H", 16, 12, *(4 if i in present else 0 for i in range(6)))
        return struct.pack("<I", 20) + fields + struct.pack("<iII", 16, 4, 0)

    assert "`api_key` is missing" in error_of(batch(4)).message
    key_at_slot_0 = events()
    vtable = 4
    without_data = key_at_slot_0[: vtable + 12] + b"\0\0" + key_at_slot_0[vtable + 14 :]
    assert "`data` is missing" in error_of(without_data).message


def test_a_batch_id_is_told_from_one_in_a_header(encode: Any) -> None:
    own = decode_one(events(encode, batch_id=258), batch_id=b"header")[0].batch_id
    assert own == BATCH_ID_PREFIX + bytes([0, 0, 0, 0, 0, 0, 1, 2])
    assert own.startswith(b"\0")
    assert decode_one(events(encode, batch_id=2**64 - 1))[0].batch_id == BATCH_ID_PREFIX + b"\xff" * 8
    assert decode_one(events(encode), batch_id=b"header")[0].batch_id == b"header"
    assert decode_one(events(encode))[0].batch_id == b""


@pytest.mark.parametrize(("trusted", "expected"), [(True, IP6), (False, SOURCE_IP)])
def test_a_source_address_counts_from_a_trusted_forwarder_only(
    encode: Any, trusted: bool, expected: bytes
) -> None:
    _, rows = decode_one(events(encode, source_ip=IP6), trusted_forwarder=trusted)
    assert rows[0]["source_ip"] == expected


def test_an_empty_source_address_is_none() -> None:
    _, rows = decode_one(events(source_ip=b""), trusted_forwarder=True)
    assert rows[0]["source_ip"] == SOURCE_IP


def test_a_source_address_of_4_bytes_is_refused_from_a_trusted_forwarder_only() -> None:
    body = events(source_ip=b"\x01\x02\x03\x04")
    assert "`source_ip` has 4 bytes" in error_of(body, trusted_forwarder=True).message
    assert decode_one(body)[0].accepted == 1


def test_requests_keep_their_own_columns() -> None:
    group = [
        submission(events(rows=2), workspace_id=2**32 - 1, received_ms=11, source_ip=IP6),
        submission(events(rows=1, source_ip=KEY), workspace_id=3, received_ms=12, trusted_forwarder=True),
    ]
    rows = checked(decode_flatbuffers(group, POLICY)).groups[0].rows.to_pylist()
    assert [row["workspace_id"] for row in rows] == [2**32 - 1] * 2 + [3]
    assert [row["batch_timestamp"] for row in rows] == [11, 11, 12]
    assert [row["source_ip"] for row in rows] == [IP6, IP6, KEY]


def test_more_rows_than_allowed_are_refused_whole() -> None:
    policy = DecodePolicy(max_rows=2)
    assert decode_one(events(rows=2), policy)[0].accepted == 2
    error = error_of(events(rows=3), policy)
    assert isinstance(error, BodyTooLarge)
    assert "3 rows" in error.message


def test_a_small_buffer_that_claims_four_billion_rows_is_out_of_bounds() -> None:
    empty = events(rows=0)
    assert isinstance(error_of(empty[:-4] + b"\xff\xff\xff\xff"), MalformedBatch)


def shared_payload_batch(rows: int, payload: bytes) -> bytes:
    """Every row is the same table."""
    body = bytearray(events(rows=1))
    single = hand_laid(Kind.EVENTS, [{**EVENT, "payload": payload}], KEY)
    at = single.index(struct.pack("<IHHHHiI", 12, 6, 8, 4, 0, 8, 4))
    data = single[at:]
    (first,) = struct.unpack_from("<I", data, 24)
    slots = b"".join(struct.pack("<I", first + 4 * (rows - 1 - i)) for i in range(rows))
    nested = data[:20] + struct.pack("<I", rows) + slots + data[28:]
    body = bytearray(single[: at - 4])
    return bytes(body) + struct.pack("<I", len(nested)) + nested


def test_a_row_count_is_checked_against_the_bytes_it_needs() -> None:
    for claimed in range(1, 40):
        body = events(rows=0)[:-4] + struct.pack("<I", claimed) + bytes(40)
        length_at = body.index(struct.pack("<IHHHHiI", 12, 6, 8, 4, 0, 8, 4)) - 4
        body = body[:length_at] + struct.pack("<I", len(body) - length_at - 4) + body[length_at + 4 :]
        message = error_of(body).message
        assert ("the vector of the field `events" in message) == (claimed > 10)


def test_a_service_counts_as_long_as_it_is_once_escaped() -> None:
    row = {**EVENT, "service": b"\x01" * 1000, "layout": "service"}
    body = hand_laid(Kind.EVENTS, [row] * 10, KEY)
    assert isinstance(error_of(body, DecodePolicy(max_expanded_bytes=50_000)), BodyTooLarge)
    assert decode_one(body, DecodePolicy(max_expanded_bytes=70_000))[0].accepted == 10


@pytest.mark.parametrize("body", [b"", b"\0\0\0"])
def test_a_body_too_short_for_an_offset_is_said_to_be_so(body: bytes) -> None:
    assert f"the body has {len(body)} bytes, too few" in error_of(body).message


def test_nothing_lies_hidden_under_a_null() -> None:
    rows = [{**EVENT, "device_id": b"", "session_id": None, "payload": b"1"}]
    body = hand_laid(Kind.EVENTS, rows, KEY)
    other = hand_laid(Kind.EVENTS, [{**EVENT, "device_id": KEY, "session_id": KEY}], KEY)
    decoded = decode([body, other])
    for name in ("device_id", "session_id"):
        column = decoded.groups[0].rows.column(name)
        assert column.to_pylist() == [None, KEY]
        assert column.buffers()[1].to_pybytes() == bytes(16) + KEY


def test_rows_may_share_one_table() -> None:
    verdict, rows = decode_one(shared_payload_batch(3, b'{"a":1}'))
    assert verdict.accepted == 3
    assert [row["payload"] for row in rows] == [b'{"a":1}'] * 3


def test_rows_that_share_a_payload_count_it_each() -> None:
    payload = b'"' + b"x" * 100_000 + b'"'
    body = shared_payload_batch(1000, payload)
    assert len(body) < 110_000
    error = error_of(body)
    assert isinstance(error, BodyTooLarge)
    assert str(POLICY.max_expanded_bytes) in error.message
    assert decode_one(shared_payload_batch(100, payload))[0].accepted == 100


def test_what_a_group_takes_together_is_bounded_and_the_rest_comes_in_the_next() -> None:
    body = shared_payload_batch(100, b'"' + b"x" * 1000 + b'"')
    group = [submission(body) for _ in range(3)]
    decoded = checked(decode_flatbuffers(group, POLICY, GroupRoom(workspace_bytes=250_000)))
    assert [verdict.accepted for verdict in decoded.verdicts] == [100, 100, 0]
    assert isinstance(decoded.verdicts[2].error, NoRoomInGroup)


def test_groups_of_more_rows_than_are_decoded_at_once_stay_in_order() -> None:
    bodies = [shared_payload_batch(60_000, b"%d" % i) for i in range(3)] + [events(rows=2)]
    decoded = decode(bodies)
    assert decoded.groups[0].owners == [0, 1, 2, 3]
    assert decoded.groups[0].counts == [60_000, 60_000, 60_000, 2]
    payloads = decoded.groups[0].rows.column("payload")
    assert [payloads[i].as_py() for i in (0, 59_999, 60_000, 179_999, 180_001)] == [
        b"0",
        b"0",
        b"1",
        b"2",
        b"{}",
    ]


def test_a_group_of_all_kinds_is_sorted_by_kind_in_the_given_order() -> None:
    row = {"source": "s", "entity": "e", "event_type": 1, "payload": b"{}"}
    order = [Kind.LOGS, Kind.EVENTS, Kind.SNAPSHOTS, Kind.EVENTS, Kind.LOGS]
    decoded = decode([hand_laid(kind, [row] * (i + 1), KEY) for i, kind in enumerate(order)])
    assert {group.kind: group.owners for group in decoded.groups} == {
        Kind.EVENTS: [1, 3],
        Kind.LOGS: [0, 4],
        Kind.SNAPSHOTS: [2],
    }
    for group in decoded.groups:
        assert group.rows.schema.equals(SCHEMAS[group.kind], check_metadata=True)
        assert group.counts == [owner + 1 for owner in group.owners]


def test_refused_rows_leave_the_others_and_are_numbered_from_1() -> None:
    rows = [dict(EVENT) for _ in range(5)]
    rows[1]["device_id"] = b"x" * 15
    rows[2]["payload"] = b"{"
    rows[4]["event_name"] = b"\xff"
    verdict, good = decode_one(hand_laid(Kind.EVENTS, rows, KEY))
    assert (verdict.accepted, verdict.rejected, len(good)) == (2, 3, 2)
    assert [(r.row, r.field) for r in verdict.refusals] == [
        (2, "device_id"),
        (3, "payload"),
        (5, "event_name"),
    ]
    assert "15 bytes" in verdict.refusals[0].message
    assert "JSON" in verdict.refusals[1].message


def test_a_row_with_several_wrong_values_is_refused_once_for_the_first() -> None:
    row = {**EVENT, "event_type": 9, "device_id": b"x", "session_id": b"y", "payload": b"{"}
    verdict, _ = decode_one(hand_laid(Kind.EVENTS, [row], KEY))
    assert refusal(verdict).field == "event_type"


def test_as_many_refusals_as_the_policy_says_are_reported() -> None:
    rows = [{**EVENT, "event_type": 9}] * 10
    verdict, _ = decode_one(hand_laid(Kind.EVENTS, rows, KEY), DecodePolicy(max_reported_refusals=3))
    assert (verdict.rejected, [r.row for r in verdict.refusals]) == (10, [1, 2, 3])


def test_refusals_are_counted_per_batch() -> None:
    bad, good = {**EVENT, "event_type": 9}, EVENT
    bodies = [hand_laid(Kind.EVENTS, rows, KEY) for rows in ([bad, good], [good], [bad, bad], [good, bad])]
    decoded = decode(bodies)
    assert [(v.accepted, [r.row for r in v.refusals]) for v in decoded.verdicts] == [
        (1, [1]),
        (1, []),
        (0, [1, 2]),
        (1, [2]),
    ]
    assert (decoded.groups[0].owners, decoded.groups[0].counts) == ([0, 1, 3], [1, 1, 1])


def test_a_row_out_of_bounds_refuses_its_whole_batch_and_is_named() -> None:
    body = bytearray(events(rows=3))
    slots = body.index(struct.pack("<IHHHHiI", 12, 6, 8, 4, 0, 8, 4)) + 24
    struct.pack_into("<I", body, slots + 4, 0x7FFFFFFF)
    decoded = decode([events(), bytes(body), events(rows=2)])
    error = decoded.verdicts[1].error
    assert isinstance(error, MalformedBatch)
    assert error.message.startswith("row 2: the table")
    assert decoded.groups[0].counts == [1, 2]


@pytest.mark.parametrize("missing", range(1, 9))
def test_a_last_field_that_is_cut_is_out_of_bounds(missing: int) -> None:
    whole = hand_laid(Kind.EVENTS, [{"event_type": 1, "timestamp": 5}], KEY)
    data_at = whole.index(struct.pack("<IHHHHiI", 12, 6, 8, 4, 0, 8, 4))
    length = len(whole) - data_at
    assert decode_one(whole)[0].accepted == 1
    cut = whole[: data_at - 4] + struct.pack("<I", length - missing) + whole[data_at:]
    assert "the field `timestamp`" in error_of(cut).message


def test_deeply_nested_payloads_are_refused_and_not_fatal() -> None:
    rows = [EVENT, {**EVENT, "payload": b"[" * 100_000 + b"]" * 100_000}, EVENT]
    verdict, good = decode_one(hand_laid(Kind.EVENTS, rows, KEY))
    assert len(good) == 2
    assert "nested too deeply" in refusal(verdict).message


def test_an_event_without_a_payload_holds_an_empty_object_where_json_is_asked_for() -> None:
    body = hand_laid(Kind.EVENTS, [{"event_type": 1}], KEY)
    assert decode_one(body)[1][0]["payload"] == b"{}"
    assert decode_one(body, BINARY)[1][0]["payload"] == b""


def test_an_absent_timestamp_is_the_time_of_receipt() -> None:
    assert decode_one(hand_laid(Kind.EVENTS, [{"event_type": 1}], KEY))[1][0]["timestamp"] == RECEIVED_MS


def test_a_template_writes_what_the_plain_encoder_writes() -> None:
    rows = [{**EVENT, "payload": b'{"n":"000000000000"}'}] * 3
    body = Template(Kind.EVENTS, rows, KEY).body(41, 1_700_000_000_000, batch_id=6)
    decoded = decode([body])
    assert decoded.verdicts[0].batch_id.endswith(b"\6")
    assert [row["payload"] for row in rows_of(decoded, 0)] == [
        b'{"n":"0000000000%d"}' % n for n in (41, 42, 43)
    ]
    assert [row["timestamp"] for row in rows_of(decoded, 0)] == [1_700_000_000_000 + i for i in range(3)]
