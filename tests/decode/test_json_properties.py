"""The decoder against the reference, on generated bodies: same rows, same refusals, same errors."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.decode.json.decode import decode_json
from app.errors import MalformedBatch
from app.kinds import Kind
from app.schema import SCHEMAS
from app.submission import Decoded, DecodePolicy, Submission
from tests.decode.json_bodies import RECEIVED_MS, bodies, mutated, submission
from tests.decode.json_reference import Unreadable, read_body, read_payload, same

ANY_KIND = st.sampled_from(list(Kind))
SUBMISSIONS = st.lists(
    ANY_KIND.flatmap(
        lambda kind: st.tuples(bodies(kind) | mutated(kind), st.just(kind), st.integers(0, 2**32 - 1))
    ).map(lambda drawn: submission(drawn[0], drawn[1], workspace_id=drawn[2])),
    max_size=4,
)


def rows_by_submission(decoded: Decoded) -> dict[int, list[dict[str, Any]]]:
    """The accepted rows of each submission that has any; checks what holds of every group."""
    found = {}
    assert len({group.kind for group in decoded.groups}) == len(decoded.groups)
    for group in decoded.groups:
        group.rows.validate(full=True)
        assert group.rows.schema.equals(SCHEMAS[group.kind])
        assert sum(group.counts) == group.rows.num_rows > 0
        assert group.owners == sorted(set(group.owners))
        rows = iter(group.rows.to_pylist())
        for owner, count in zip(group.owners, group.counts, strict=True):
            assert count > 0
            found[owner] = [next(rows) for _ in range(count)]
    return found


def without_echoes(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload without shadowed members that equal the kept one, and were only written differently."""
    name = list(payload)[-1] if payload else ""
    if not re.fullmatch("_+shadowed", name) or not isinstance(payload[name], dict) or not payload[name]:
        return payload  # none, or the client's own
    places = {
        place: {key: value for key, value in members.items() if not same(payload.get(key), value)}
        for place, members in payload[name].items()
        if isinstance(members, dict) and not place.endswith(".repeated")
    }
    left = {place: members for place, members in places.items() if members}
    kept = {key: value for key, value in payload.items() if key != name}
    # What is left may end with the client's own: on the other side that may be all there is.
    return {**kept, name: left} if left else without_echoes(kept)


def check(submissions: list[Submission]) -> None:
    decoded = decode_json(submissions, DecodePolicy())
    found = rows_by_submission(decoded)
    for index, (sent, verdict) in enumerate(zip(submissions, decoded.verdicts, strict=True)):
        assert sent.kind is not None
        try:
            expected = read_body(sent.body, sent.kind, RECEIVED_MS)
        except Unreadable:
            assert verdict.error is None or isinstance(verdict.error, MalformedBatch), (verdict, sent.body)
            assert len(found.pop(index, [])) == verdict.accepted
            continue
        assert (expected is None) == isinstance(verdict.error, MalformedBatch), (verdict, sent.body)
        accepted = [row for row in expected or [] if row.columns is not None]
        refused = [row for row in expected or [] if row.columns is None]
        assert verdict.kind is sent.kind
        assert (verdict.accepted, verdict.rejected) == (len(accepted), len(refused)), (verdict, sent.body)
        assert [refusal.row for refusal in verdict.refusals] == [row.number for row in refused]
        for refusal, row in zip(verdict.refusals, refused, strict=True):
            assert refusal.field in row.faults
            assert refusal.message
        rows = found.pop(index, [])
        assert len(rows) == len(accepted)
        for stored, row in zip(rows, accepted, strict=True):
            payload = without_echoes(read_payload(stored.pop("payload")))
            columns = dict(row.columns or {})
            assert same(payload, without_echoes(columns.pop("payload"))), sent.body
            columns |= {
                "batch_timestamp": sent.received_ms,
                "workspace_id": sent.workspace_id,
                "source_ip": sent.source_ip,
            }
            assert stored == columns
    assert not found


@given(SUBMISSIONS)
@settings(max_examples=200, deadline=None, print_blob=True)
def test_a_group_of_any_bodies_gives_the_rows_of_the_reference(submissions: list[Submission]) -> None:
    check(submissions)


@given(st.data(), ANY_KIND)
@settings(max_examples=200, deadline=None, print_blob=True)
def test_one_body_gives_the_rows_of_the_reference(data: st.DataObject, kind: Kind) -> None:
    check([submission(data.draw(bodies(kind)), kind)])


@given(st.data(), ANY_KIND)
@settings(max_examples=200, deadline=None, print_blob=True)
def test_a_damaged_body_leaves_its_neighbours_alone(data: st.DataObject, kind: Kind) -> None:
    neighbour = submission(data.draw(bodies(kind)), kind, workspace_id=1)
    damaged = submission(data.draw(mutated(kind)), kind, workspace_id=2)
    alone = decode_json([neighbour], DecodePolicy())
    beside = decode_json([damaged, neighbour], DecodePolicy())
    assert rows_by_submission(beside).get(1) == rows_by_submission(alone).get(0)
    assert repr(beside.verdicts[1]) == repr(alone.verdicts[0])


@given(st.binary(max_size=60), ANY_KIND)
@settings(max_examples=200, deadline=None, print_blob=True)
def test_any_bytes_give_the_rows_of_the_reference(body: bytes, kind: Kind) -> None:
    check([submission(body, kind)])
