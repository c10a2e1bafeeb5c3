"""Decoded rows equal those that the official accessors give, for both encoders and all layouts."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, note, settings

from app.kinds import Kind
from app.submission import DecodePolicy
from tests.decode.decoding import (
    BINARY,
    KEY,
    POLICY,
    RECEIVED_MS,
    SOURCE_IP,
    WORKSPACE,
    decode,
    rows_of,
)
from tests.support import flatbuffer_oracle as oracle
from tests.support.flatbuffer_batches import hand_laid, official

ids = st.one_of(st.none(), st.binary(min_size=16, max_size=16), st.sampled_from([b"", b"x" * 15, b"x" * 17]))
texts = st.one_of(
    st.none(),
    st.text(max_size=20).map(str.encode),
    st.sampled_from(
        [b"", b"web", b"\xff", b"\xed\xa0\x80", b"twelve bytes", b"thirteen byte", b'q"\\\n\x01\x7f']
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "service", "b\\"]) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
payloads = st.one_of(
    st.none(),
    st.tuples(json_values, st.booleans(), st.sampled_from([None, 2])).map(
        lambda t: oracle.json.dumps(t[0], ensure_ascii=t[1], indent=t[2]).encode("utf-8", "surrogatepass")
    ),
    st.sampled_from(
        [
            b"",
            b"{}",
            b" { } ",
            b'{"a":1}\n',
            b'\t{"service":"mine"}',
            b'{"\\u0073ervice":1}',
            b'{"a":{"service":1}}',
            b'{"a":"\\"service\\""}',
            b'{"a":"}',
            b'{"a":1,"}',
            b"1,2",
            b"[1",
            b"2]",
            b"NaN",
            b'"\xff"',
            b'"\\ud800"',
            b"not json at all",
        ]
    ),
    st.binary(max_size=12),
)
timestamps = st.sampled_from(
    [
        None,
        0,
        1,
        1_700_000_000_123,
        2**63 - 1,
        RECEIVED_MS + 366 * 86_400_000,
        1_700_000_000_123_456,
        2**63,
        2**64 - 1,
    ]
)


def rows(kind: Kind) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields: dict[Kind, dict[str, st.SearchStrategy[Any]]] = {
        Kind.EVENTS: {
            "layout": st.sampled_from(["plain", "service"]),
            "event_type": st.sampled_from([None, 0, *range(1, 7), 1, 2, 7, 255]),
            "service": texts,
            "device_id": ids,
            "session_id": ids,
            "event_name": texts,
        },
        Kind.LOGS: {
            "event_type": st.sampled_from([None, 0, 1, 2, 3]),
            "level": st.sampled_from([None, *range(9), 9, 255]),
            "session_id": ids,
            "source": texts,
            "service": texts,
        },
        Kind.SNAPSHOTS: {"source": texts, "entity": texts},
    }
    return st.lists(
        st.fixed_dictionaries({"timestamp": timestamps, "payload": payloads, **fields[kind]}), max_size=8
    )


batches = st.sampled_from(list(Kind)).flatmap(lambda kind: st.tuples(st.just(kind), rows(kind)))
policies = st.sampled_from([POLICY, BINARY])


def assert_as_the_oracle_says(bodies: list[bytes], policy: DecodePolicy) -> None:
    decoded = decode(bodies, policy)
    for i, body in enumerate(bodies):
        kind, wanted = oracle.rows_of(body, RECEIVED_MS, json_required=policy.payload_must_be_json)
        verdict = decoded.verdicts[i]
        assert (verdict.kind, verdict.error) == (kind, None)
        request = {"batch_timestamp": RECEIVED_MS, "workspace_id": WORKSPACE, "source_ip": SOURCE_IP}
        assert rows_of(decoded, i) == [request | row for row in wanted if isinstance(row, dict)]
        wrong = {number: row for number, row in enumerate(wanted, 1) if isinstance(row, set)}
        assert verdict.rejected == len(wrong)
        assert [refusal.row for refusal in verdict.refusals] == list(wrong)
        for refusal in verdict.refusals:
            note(str(refusal))
            assert refusal.field in wrong[refusal.row]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(batches, st.integers(0, 7)), min_size=1, max_size=4), policies)
def test_hand_laid_batches_give_the_rows_of_the_official_accessors(
    group: list[tuple[tuple[Kind, list[dict[str, Any]]], int]], policy: DecodePolicy
) -> None:
    bodies = [hand_laid(kind, rows, KEY, shift=shift) for (kind, rows), shift in group]
    assert_as_the_oracle_says(bodies, policy)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(batches, min_size=1, max_size=4), st.sampled_from(["plain", "service"]), policies)
def test_official_batches_give_the_same_rows_as_hand_laid_ones(
    group: list[tuple[Kind, list[dict[str, Any]]]], layout: Any, policy: DecodePolicy
) -> None:
    bodies = []
    for kind, rows in group:
        for row in rows:
            row["layout"] = layout
            if layout == "service" and row["payload"] is None:
                row["payload"] = b"{}"
        bodies.append(official(kind, rows, KEY, layout=layout))
        bodies.append(hand_laid(kind, rows, KEY))
    assert_as_the_oracle_says(bodies, policy)
    decoded = decode(bodies, policy)
    for i in range(0, len(bodies), 2):
        assert rows_of(decoded, i) == rows_of(decoded, i + 1)
