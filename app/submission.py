"""A batch on its way in, and what became of it."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Final

import msgspec
import pyarrow as pa

from app.decode.time_range import TimeRange
from app.errors import RequestError
from app.kinds import Kind

Body = bytes | bytearray
"""A batch as it was received; nobody changes it any more."""


HEADER_BATCH_ID: Final = b"key:"
"""Before an Idempotency-Key, so that it cannot equal an id that a FlatBuffer carries."""


class WireFormat(Enum):
    FLATBUFFER = "flatbuffer"
    JSON = "json"


class RowRefusal(msgspec.Struct, frozen=True, gc=False):
    """A row that was refused alone. `row` is 1-based (for JSON Lines: the line)."""

    row: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Messages(msgspec.Struct, frozen=True, gc=False):
    """What the rows of a body were made of: messages of another protocol, numbered from 1.

    numbers: of each row of the body, its message's. ids: of each row, ID_BYTES of a hash of the client's id
    for the message, zeros where it has none; empty where no row has one. refused: what never became a row.
    """

    ID_BYTES: ClassVar[int] = 16

    numbers: Sequence[int]
    ids: bytes = b""
    refused: Sequence[RowRefusal] = ()


class Submission(msgspec.Struct, frozen=True, gc=False):
    """One batch as a client posted it, with what the HTTP layer knows about the request.

    wire_format: how `body` is to be read.
    kind: what the call says the rows are; None for a FlatBuffer, which says it itself.
    body: the batch, already decompressed.
    api_key: the 16 bytes that authenticated the request; a FlatBuffer must carry the same.
    workspace_id: the workspace of that key.
    source_ip: 16 bytes in network order, IPv4 in its IPv4-mapped form.
    received_ms: when the request came, ms since the epoch, UTC.
    trusted_forwarder: whether the sender may say in the batch what `source_ip` is.
    batch_id: the client's name for this batch (header Idempotency-Key), empty when it gave none.
    messages: what the rows were made of, where `body` was made of a document of another protocol.
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
    """What decoding made of one submission.

    kind: None only where `error` is set.
    accepted, rejected: numbers of rows.
    refusals: one per rejected row, the first DecodePolicy.max_reported_refusals of them.
    error: why the whole batch was refused (then nothing of it is accepted), or None.
    batch_id: the FlatBuffer's own batch id, else the submission's; empty when there is none.
    message_ids: of the accepted rows, in order, as app.commit.message_ids has them; empty for none.
    repaired: accepted rows of which something was repaired, by reason and field.
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

    rows: columns as in schema.SCHEMAS[kind]; the rows of one submission stand together, submissions in
        the order in which they were given.
    owners: for each submission with rows in here, in order: its index in the sequence that was decoded.
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
    max_rows: rows in one batch; more is refused whole (BodyTooLarge).
    max_expanded_bytes: sum of all strings and payloads of one batch as rows hold them; a hostile buffer
        can let a thousand rows share one payload. More is refused whole (BodyTooLarge).
    max_reported_refusals: refused rows that an answer names; the rest is only counted.
    times: which times rows may have.
    ids_from_names: make ids that are no UUIDs to name-based ones; else refuse the row (JSON).
    """

    payload_must_be_json: bool = True
    max_rows: int = 100_000
    max_expanded_bytes: int = 64_000_000
    max_reported_refusals: int = 100
    times: TimeRange = TimeRange()
    ids_from_names: bool = True


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What the client is told: its accepted rows are durable, and appear exactly once in the files.

    duplicate: the same batch was accepted before; `accepted` is what was stored then.
    """

    kind: Kind
    accepted: int
    rejected: int = 0
    refusals: Sequence[RowRefusal] = ()
    duplicate: bool = False


Answer = Receipt | RequestError


Reply = Callable[[Answer], None]


Pending = tuple[Submission, Reply]
