"""What one Kafka record holds: rows that one group accepted, of workspaces of one partition.

The value is the payload of `rows_frame.py` with one more member in its header, `starts`: where among the rows
the batch of each receipt begins. A record with the header `type: flush` asks the writer to publish.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import pyarrow as pa

from app.commit.payload import RowsFrameCodec, RowsHeader
from app.schema import SCHEMAS

TYPE_HEADER: Final = "type"
FLUSH: Final = b"flush"

_LENGTH = struct.Struct("<I")

REASON_CHARACTERS_MAX: Final = 200

UNREADABLE: Final = (
    struct.error,
    ValueError,
    TypeError,
    msgspec.DecodeError,
    pa.ArrowException,
    OSError,
    StopIteration,
)
"""What reading arbitrary bytes as a record may raise."""


class RecordHeader(RowsHeader, frozen=True):
    """starts: the first row of each receipt's batch, aligned with `receipts`."""

    starts: Sequence[int] = ()


HEADERS: Final = msgspec.msgpack.Decoder(RecordHeader)
"""Made at import, not by the first of several threads: see `entry.py`."""


class NotOurs(Exception):
    """A record that this service cannot have written; the message says what is wrong with it."""


class RowsRecord(msgspec.Struct, frozen=True):
    header: RecordHeader
    rows: pa.RecordBatch


class Record(msgspec.Struct, frozen=True):
    """A record as it was read. value: None for one that asks to publish."""

    offset: int
    value: bytes | None


class RecordCodec:
    """One instance a thread."""

    def __init__(self) -> None:
        self._codec = RowsFrameCodec()

    def encode(self, header: RecordHeader, rows: pa.RecordBatch) -> bytes:
        return b"".join(memoryview(piece).cast("B") for piece in self._codec.encode(header, rows))

    def decode(self, value: bytes) -> RowsRecord:
        """Never meets damaged bytes, since the client library has checked Kafka's CRC; but anybody who may
        write to the topic may have written it. Raises NotOurs."""
        try:
            view = memoryview(value)
            (length,) = _LENGTH.unpack_from(view)
            start = _LENGTH.size
            header = HEADERS.decode(view[start : start + length])
            with pa.ipc.open_stream(pa.py_buffer(view[start + length :])) as stream:
                rows = stream.read_next_batch()
            rows.validate(full=True)
            if rows.schema != SCHEMAS[header.kind]:
                rows = rows.cast(SCHEMAS[header.kind])
        except UNREADABLE as error:
            raise NotOurs(str(error).partition("\n")[0][:REASON_CHARACTERS_MAX]) from None
        ends = [start + receipt.rows for start, receipt in zip(header.starts, header.receipts, strict=False)]
        if len(header.starts) != len(header.receipts) or any(
            start < before or end > rows.num_rows
            for before, start, end in zip([0, *ends], header.starts, ends, strict=False)
        ):
            raise NotOurs("its receipts do not match its rows")
        return RowsRecord(header, rows)
