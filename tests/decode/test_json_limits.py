"""Bodies that are large, deep, or many: each ends in rows or in a clear error, within the limits named."""

import json
from collections.abc import Callable

import pytest

from app.decode.json.decode import decode_json
from app.errors import BodyTooLarge, MalformedBatch
from app.kinds import Kind
from app.submission import DecodePolicy, Verdict
from tests.decode.json_bodies import DEVICE, submission

EVENT = b'{"type":"alias","device_id":"%b"}' % DEVICE.encode()
NESTED = b'{"type":"alias","device_id":"%b","properties":{"a":{}}}' % DEVICE.encode()
TEN_MB = 10_000_000

Shape = Callable[[bytes, int], bytes]


def verdict(body: bytes, policy: DecodePolicy | None = None, kind: Kind = Kind.EVENTS) -> Verdict:
    return decode_json([submission(body, kind)], policy or DecodePolicy()).verdicts[0]


def lines(row: bytes, count: int) -> bytes:
    return b"\n".join([row] * count)


def array(row: bytes, count: int) -> bytes:
    return b"[" + b",".join([row] * count) + b"]"


@pytest.mark.parametrize("shape", [lines, array])
@pytest.mark.parametrize("row", [EVENT, NESTED, EVENT[:-1] + b',"flat":{}}'])
def test_as_many_rows_as_the_policy_allows_are_taken_and_not_one_more(shape: Shape, row: bytes) -> None:
    policy = DecodePolicy(max_rows=50)
    assert verdict(shape(row, 50), policy).accepted == 50
    assert isinstance(verdict(shape(row, 51), policy).error, BodyTooLarge)


@pytest.mark.parametrize("shape", [lines, array])
@pytest.mark.parametrize("row", [b"1", b'{"a":"\\ud800"}', b"{}"])
def test_refused_rows_count_as_rows(shape: Shape, row: bytes) -> None:
    policy = DecodePolicy(max_rows=50)
    assert verdict(shape(row, 50), policy).rejected == 50
    assert isinstance(verdict(shape(row, 51), policy).error, BodyTooLarge)


def test_a_hundred_thousand_tiny_rows_are_read() -> None:
    assert verdict(lines(b"{}", 100_000)).rejected == 100_000
    assert verdict(lines(b'{"message":1}', 100_000), kind=Kind.LOGS).accepted == 100_000


@pytest.mark.parametrize("row", [b"{}", b"1", b"{", b"[]", b'{"a":{}}'])
@pytest.mark.parametrize("shape", [lines, array])
def test_millions_of_rows_are_refused_whole(shape: Shape, row: bytes) -> None:
    error = verdict(shape(row, TEN_MB // (len(row) + 1))).error
    assert isinstance(error, BodyTooLarge | MalformedBatch)


@pytest.mark.parametrize("value", ['"' + "x" * TEN_MB + '"', "[" + "1," * (TEN_MB // 2) + "1]", "9" * TEN_MB])
def test_one_row_of_ten_megabytes_is_read(value: str) -> None:
    for key in ("properties", "flat"):
        text = f'{{"v":{value}}}' if key == "properties" else value
        row = f'{{"type":"alias","device_id":"{DEVICE}","{key}":{text}}}'.encode()
        assert verdict(row).accepted == 1


@pytest.mark.parametrize("key", ["event", "timestamp", "type", "device_id", "session_id"])
def test_a_huge_value_of_any_key_does_no_harm(key: str) -> None:
    row = json.dumps({"type": "track", "event": "e", "device_id": DEVICE} | {key: "x" * TEN_MB})
    outcome = verdict(row.encode())
    assert outcome.accepted == (key not in ("timestamp", "type"))
    assert sum(len(str(refusal)) for refusal in outcome.refusals) < 200


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":[', b'[{"a":'])
def test_ten_megabytes_of_openings_are_refused(opening: bytes) -> None:
    outcome = verdict(opening * (TEN_MB // len(opening)))
    assert outcome.accepted == 0
    assert outcome.rejected == 1 or isinstance(outcome.error, MalformedBatch)


@pytest.mark.parametrize("shape", ["%s\n%s\n%s", "[%s,%s,%s]"])
def test_a_row_that_is_nested_too_deeply_is_refused(shape: str) -> None:
    deep = EVENT[:-1].decode() + ',"properties":{"a":' + "[" * 5_000 + "]" * 5_000 + "}}"
    outcome = verdict((shape % (EVENT.decode(), deep, EVENT.decode())).encode())
    assert (outcome.accepted, outcome.rejected) == (2, 1)
    assert (outcome.refusals[0].row, outcome.refusals[0].message) == (2, "nested too deeply")


def test_rows_that_hold_more_bytes_than_the_policy_allows_are_refused_whole() -> None:
    body = lines(EVENT[:-1] + b',"flat":"' + b"x" * 1_000 + b'"}', 10)
    needed = 10 * (len("alias") + len('{"flat":""}') + 1_000)
    assert verdict(body, DecodePolicy(max_expanded_bytes=needed)).accepted == 10
    outcome = verdict(body, DecodePolicy(max_expanded_bytes=needed - 1))
    assert isinstance(outcome.error, BodyTooLarge)
    assert outcome.accepted == 0


def test_a_submission_over_the_limit_leaves_its_neighbours_alone() -> None:
    policy = DecodePolicy(max_rows=3, max_expanded_bytes=200)
    sent = [
        submission(body)
        for body in (lines(EVENT, 2), lines(EVENT, 4), array(EVENT, 3), b"x" * 300 + b"\n" + EVENT)
    ]
    sent.insert(1, submission(EVENT[:-1] + b',"flat":"' + b"x" * 200 + b'"}'))
    decoded = decode_json(sent, policy)
    assert [verdict.accepted for verdict in decoded.verdicts] == [2, 0, 0, 3, 1]
    assert [type(verdict.error) for verdict in decoded.verdicts[1:3]] == [BodyTooLarge, BodyTooLarge]
    assert (decoded.groups[0].owners, decoded.groups[0].counts) == ([0, 3, 4], [2, 3, 1])
    assert decoded.groups[0].rows.num_rows == 6
    assert set(decoded.groups[0].rows["payload"].to_pylist()) == {b"{}"}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("start", [b'"', b'NaN,"y":"'])
def test_strings_that_never_end_are_run_through_once(start: bytes) -> None:
    """Each escaped quotation mark could be the beginning of another one: in turn, they would take hours."""
    body = b'{"type":"track","event":"a","properties":{"x":' + start + b'"\\' * 2_000_000
    decoded = decode_json([submission(body)], DecodePolicy())
    assert (decoded.verdicts[0].accepted, decoded.verdicts[0].rejected) in ((0, 1), (0, 0))
