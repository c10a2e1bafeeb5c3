"""Decodes bodies in a test, and takes a group's rows apart again."""

from collections.abc import Sequence
from typing import Any

from app.decode.flatbuffer.decode import decode_flatbuffers
from app.submission import Decoded, DecodePolicy, RowRefusal, Submission, Verdict, WireFormat

KEY = bytes(range(16))
SOURCE_IP = bytes(10) + b"\xff\xff\x01\x02\x03\x04"
RECEIVED_MS = 1_750_000_000_000
WORKSPACE = 7
POLICY = DecodePolicy()
BINARY = DecodePolicy(payload_must_be_json=False)


def submission(body: bytes, **fields: Any) -> Submission:
    known: dict[str, Any] = {
        "wire_format": WireFormat.FLATBUFFER,
        "kind": None,
        "body": body,
        "api_key": KEY,
        "workspace_id": WORKSPACE,
        "source_ip": SOURCE_IP,
        "received_ms": RECEIVED_MS,
    }
    return Submission(**(known | fields))


def decode(bodies: Sequence[bytes], policy: DecodePolicy = POLICY) -> Decoded:
    return checked(decode_flatbuffers([submission(body) for body in bodies], policy))


def checked(decoded: Decoded) -> Decoded:
    """The same, after a look at what must hold for every result."""
    for group in decoded.groups:
        group.rows.validate(full=True)
        assert sum(group.counts) == group.rows.num_rows
        assert [decoded.verdicts[owner].accepted for owner in group.owners] == group.counts
        assert group.owners == sorted(group.owners)
    for verdict in decoded.verdicts:
        assert (verdict.kind is None) == (verdict.error is not None)
        assert verdict.error is None or (verdict.accepted, verdict.rejected) == (0, 0)
    return decoded


def rows_of(decoded: Decoded, index: int) -> list[dict[str, Any]]:
    """The accepted rows of one submission."""
    for group in decoded.groups:
        if index in group.owners:
            at = group.owners.index(index)
            found: list[dict[str, Any]] = group.rows.slice(
                sum(group.counts[:at]), group.counts[at]
            ).to_pylist()
            return found
    return []


def decode_one(
    body: bytes, policy: DecodePolicy = POLICY, **fields: Any
) -> tuple[Verdict, list[dict[str, Any]]]:
    decoded = checked(decode_flatbuffers([submission(body, **fields)], policy))
    return decoded.verdicts[0], rows_of(decoded, 0)


def refusal(verdict: Verdict) -> RowRefusal:
    """The only one."""
    assert (verdict.rejected, len(verdict.refusals)) == (1, 1)
    return verdict.refusals[0]
