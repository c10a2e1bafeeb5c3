"""A batch on its way in, and its outcome."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Final

import msgspec
import pyarrow as pa

from app.decode.time_range import TimeRange
from app.errors import RequestError
from app.kinds import Kind

Body = bytes | bytearray
"""A batch as it was received; it is not changed any more."""


HEADER_BATCH_ID: Final = b"key:"
"""The prefix of an Idempotency-Key, so that it cannot equal an id from a FlatBuffer."""


class WireFormat(Enum):
    FLATBUFFER = "flatbuffer"
    JSON = "json"


class RowRefusal(msgspec.Struct, frozen=True, gc=False):
    """A single refused row. `row` is 1-based (for JSON Lines: the line)."""

    row: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Messages(msgspec.Struct, frozen=True, gc=False):
    """The messages of another protocol, numbered from 1, that the rows of a body were made from.

    numbers: for each row of the body, the number of its message. ids: for each row, ID_BYTES of a hash of the
    client's id for the message, zeros if it has none; empty if no row has one. refused: messages that never
    became rows.
    """

    ID_BYTES: ClassVar[int] = 16

    numbers: Sequence[int]
    ids: bytes = b""
    refused: Sequence[RowRefusal] = ()


class Submission(msgspec.Struct, frozen=True, gc=False):
    """One batch as a client posted it, with what the HTTP layer knows about the request.

    wire_format: the format of `body`.
    kind: the kind of the rows according to the call; None for a FlatBuffer, which itself names it.
    body: the batch, already decompressed.
    api_key: the 16 bytes that authenticated the request; a FlatBuffer must carry the same.
    workspace_id: the workspace of that key.
    source_ip: 16 bytes in network order, IPv4 in its IPv4-mapped form.
    received_ms: when the request arrived, ms since the epoch, UTC.
    trusted_forwarder: whether the sender may set `source_ip` in the batch.
    batch_id: the client's id for this batch (header Idempotency-Key), empty if there is none.
    messages: the messages that the rows were made from, if `body` was made from a document of another
        protocol.
    """

    wire_format: WireFormat
    kind: Kind | None
    body: Body
    api_key: bytes
    workspace_id: int
    source_ip: bytes
    received_ms: int
    trusted_forwarder: bool = False
    batch_id: bytes = b""
    messages: Messages | None = None


class Verdict(msgspec.Struct):
    """The result of decoding one submission.

    kind: None only where `error` is set.
    accepted, rejected: numbers of rows.
    refusals: one per rejected row, the first DecodePolicy.max_reported_refusals of them.
    error: why the whole batch was refused (then no row of it is accepted), or None.
    batch_id: the FlatBuffer's own batch id, else the submission's; empty if there is none.
    message_ids: of the accepted rows, in order, in the form of app.commit.message_ids; empty for none.
    repaired: accepted rows with repaired values, by reason and field.
    """

    kind: Kind | None = None
    accepted: int = 0
    rejected: int = 0
    refusals: list[RowRefusal] = []
    error: RequestError | None = None
    batch_id: bytes = b""
    message_ids: bytes = b""
    repaired: dict[tuple[str, str], int] = {}


class DecodedRows(msgspec.Struct):
    """The accepted rows of several submissions of one kind.

    rows: columns as in schema.SCHEMAS[kind]; the rows of one submission are adjacent, submissions are in the
        given order.
    owners: for each submission with rows here, in order: its index in the decoded sequence.
    counts: the number of rows of each owner, aligned with `owners`; they add up to rows.num_rows.
    """

    kind: Kind
    rows: pa.RecordBatch
    owners: list[int]
    counts: list[int]


class Decoded(msgspec.Struct):
    """verdicts: one per submission, in order. groups: at most one per kind."""

    verdicts: list[Verdict]
    groups: list[DecodedRows]


class DecodePolicy(msgspec.Struct, frozen=True):
    """Limits and rules of decoding.

    payload_must_be_json: refuse rows whose payload is not valid JSON (`data_format = "json"`).
    max_rows: rows in one batch; a larger one is refused (BodyTooLarge).
    max_expanded_bytes: sum of all strings and payloads of one batch as rows hold them; a hostile buffer can
        let a thousand rows share one payload. A larger one is refused (BodyTooLarge).
    max_reported_refusals: refused rows that an answer names; the others are only counted.
    times: which times rows may have.
    ids_from_names: derive name-based ids from ids that are not UUIDs; else refuse the row (JSON).
    """

    payload_must_be_json: bool = True
    max_rows: int = 100_000
    max_expanded_bytes: int = 64_000_000
    max_reported_refusals: int = 100
    times: TimeRange = TimeRange()
    ids_from_names: bool = True


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The receipt for the client: its accepted rows are durable, and appear exactly once in the files.

    duplicate: the same batch was accepted before; `accepted` is the number of rows stored then.
    """

    kind: Kind
    accepted: int
    rejected: int = 0
    refusals: Sequence[RowRefusal] = ()
    duplicate: bool = False


Answer = Receipt | RequestError


Reply = Callable[[Answer], None]


Pending = tuple[Submission, Reply]
