"""The outer table `Batch` of every body of a group: its sender, its kind, the position of its rows."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from app.decode.flatbuffer.joined_bodies import JoinedBodies, Mask, Positions, every, some
from app.decode.flatbuffer.tables import Faults, Field, Regions, Spans, Tables
from app.errors import BodyTooLarge, Forbidden, MalformedBatch, RequestError
from app.kinds import ID_BYTES, Kind
from app.submission import Submission

BATCH_ID_PREFIX: Final = b"\x00flatbuffer\x00"
"""The prefix before the 8 bytes of a FlatBuffer's own batch id. No header value can contain a NUL, so an id
from a header never equals one of these."""

_SCHEMA_NAMES: Final = ("unknown", "event", "log", "metric", "trace", "snapshot")
_KINDS: Final = {1: Kind.EVENTS, 2: Kind.LOGS, 5: Kind.SNAPSHOTS}
_CURRENT_VERSION: Final = 100
_API_KEY = Field(0, "api_key")
_SCHEMA_TYPE = Field(1, "schema_type")
_VERSION = Field(2, "version")
_BATCH_ID = Field(3, "batch_id")
_DATA = Field(4, "data")
_SOURCE_IP = Field(5, "source_ip")
_ROWS = Field(0, "events, logs or snapshots")


class Batches(NamedTuple):
    """One entry per submission; the entries of refused ones are meaningless.

    kinds: None if refused. batch_ids: empty if there is none.
    source_ips: position in the joined bodies of the 16 bytes that a trusted forwarder gave, else -1.
    lo, hi: the nested buffer `data`. rows: its vector of tables, `length` being the number of rows.
    """

    kinds: list[Kind | None]
    batch_ids: list[bytes]
    source_ips: Positions
    lo: Positions
    hi: Positions
    rows: Spans


def read_batches(
    submissions: Sequence[Submission], bodies: JoinedBodies, max_rows: int, faults: Faults
) -> Batches:
    """Read and check everything but the rows. Refusals go to `faults`."""
    owner = np.arange(len(submissions))
    regions = Regions(bodies.starts, bodies.ends, owner, None, "the body")
    outer = Tables(bodies, regions, _root(bodies, regions, faults), 6, faults)
    keys, data, source_ips = outer.vector(_API_KEY), outer.vector(_DATA), outer.vector(_SOURCE_IP)
    _check_keys(submissions, bodies, keys, faults)
    kinds = _check_kinds(submissions, outer, faults)
    _refuse(
        ~data.present, faults, lambda i: MalformedBatch("the field `data` is missing; it must hold the rows")
    )
    inner = Regions(data.start, data.start + data.length, owner, None, "`data`")
    table = Tables(bodies, inner, _root(bodies, inner, faults), 1, faults)
    rows = table.vector(_ROWS, item_bytes=4)
    _check_rows(rows, max_rows, faults)
    for refused in faults.errors:
        kinds[refused] = None
    return Batches(
        kinds,
        _batch_ids(submissions, outer),
        _source_ips(submissions, source_ips, faults),
        inner.lo,
        inner.hi,
        rows,
    )


def _refuse(wrong: Mask, faults: Faults, error: Callable[[int], RequestError]) -> None:
    if some(wrong):
        for i in np.flatnonzero(wrong).tolist():
            faults.add(i, error(i))


def _root(bodies: JoinedBodies, regions: Regions, faults: Faults) -> Positions:
    """Positions of the root tables, by the offset with which each region starts."""
    short = regions.lo + 4 > regions.hi
    if not some(short):
        return regions.lo + bodies.u4(regions.lo)
    lengths = regions.hi - regions.lo
    _refuse(
        short,
        faults,
        lambda i: MalformedBatch(
            f"{regions.name} has {lengths[i]} bytes, too few for a FlatBuffer; send a complete one"
        ),
    )
    lo: Positions = np.where(short, bodies.void, regions.lo)
    return lo + bodies.u4(lo)


def _check_keys(submissions: Sequence[Submission], bodies: JoinedBodies, keys: Spans, faults: Faults) -> None:
    expected = b"".join([submission.api_key for submission in submissions])
    if every(keys.length == ID_BYTES) and bodies.ids(keys.start).tobytes() == expected:
        return
    for i, submission in enumerate(submissions):
        start, length = int(keys.start[i]), int(keys.length[i])
        if not keys.present[i]:
            faults.add(
                i, MalformedBatch("the field `api_key` is missing; put the request's 16-byte key there")
            )
        elif length != ID_BYTES or bodies.data[start : start + length] != submission.api_key:
            message = (
                "`api_key` in the batch is not the key that authenticates the request; send the same key in "
                "both"
            )
            faults.add(i, Forbidden(message, code="key_mismatch"))


def _check_kinds(submissions: Sequence[Submission], outer: Tables, faults: Faults) -> list[Kind | None]:
    versions = outer.u1(_VERSION)
    _refuse(
        (versions != _CURRENT_VERSION) & (versions != 0),
        faults,
        lambda i: MalformedBatch(f"unknown version {versions[i]}; send {_CURRENT_VERSION} (v1.0)"),
    )
    numbers = outer.u1(_SCHEMA_TYPE).tolist()
    kinds = list(map(_KINDS.get, numbers))
    for i, (kind, submission) in enumerate(zip(kinds, submissions, strict=True)):
        if kind is None:
            name = f" ({_SCHEMA_NAMES[numbers[i]]})" if numbers[i] < len(_SCHEMA_NAMES) else ""
            faults.add(
                i,
                MalformedBatch(
                    f"schema_type {numbers[i]}{name} is not supported; send 1 (event), 2 (log) or 5 "
                    "(snapshot)"
                ),
            )
        elif submission.kind is not None and submission.kind is not kind:
            faults.add(i, MalformedBatch(f"this call takes {submission.kind}, but the batch contains {kind}"))
    return kinds


def _check_rows(rows: Spans, max_rows: int, faults: Faults) -> None:
    _refuse(
        ~rows.present,
        faults,
        lambda i: MalformedBatch(
            "`data` has no vector of events, logs or snapshots; send one, empty if need be"
        ),
    )
    _refuse(
        rows.length > max_rows,
        faults,
        lambda i: BodyTooLarge(
            f"{rows.length[i]} rows in one batch, at most {max_rows} are allowed; send smaller batches"
        ),
    )


def _batch_ids(submissions: Sequence[Submission], outer: Tables) -> list[bytes]:
    numbers = outer.u8(_BATCH_ID)
    ids = [submission.batch_id for submission in submissions]
    given = np.flatnonzero(numbers)
    for i, number in zip(given.tolist(), numbers[given].tolist(), strict=True):
        ids[i] = BATCH_ID_PREFIX + number.to_bytes(8, "big")
    return ids


def _source_ips(submissions: Sequence[Submission], given: Spans, faults: Faults) -> Positions:
    nowhere = np.full(len(submissions), -1)
    given_at_all = given.length > 0
    if not some(given_at_all):
        return nowhere
    trusted = np.fromiter((submission.trusted_forwarder for submission in submissions), np.bool_)
    honoured = given_at_all & trusted
    _refuse(
        honoured & (given.length != ID_BYTES),
        faults,
        lambda i: MalformedBatch(
            f"`source_ip` has {given.length[i]} bytes; it must have 16, with IPv4 addresses as ::ffff:a.b.c.d"
        ),
    )
    return np.where(honoured, given.start, nowhere)
