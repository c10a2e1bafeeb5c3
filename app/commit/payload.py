"""The contents of one journal payload: the rows of one kind that one group commit accepted.

    bytes   field
    4       length of the header, unsigned, little-endian
    n       header: RowsHeader as MessagePack
    rest    the rows: an Arrow IPC stream with its schema, one record batch

The journal itself does not interpret this; any Arrow tool can read the stream after the header.
"""

import struct
from collections.abc import Sequence

import msgspec
import pyarrow as pa

from app.commit.message_ids import MessageReceipt
from app.kinds import Kind
from app.parquet.partition import Origin

_LENGTH = struct.Struct("<I")


class BatchReceipt(msgspec.Struct, frozen=True, array_like=True):
    """A receipt for an accepted batch with an id, with which a second one with this id is compared.

    digest: of the body as decoded. rows: how many of its rows were accepted.
    """

    workspace_id: int
    batch_id: bytes
    digest: bytes
    rows: int


class KindHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kind of the rows, and receipts for those of their batches that carry an id."""

    kind: Kind
    receipts: Sequence[BatchReceipt] = ()


class RowsHeader(KindHeader, frozen=True, omit_defaults=True, kw_only=True):
    """messages: receipts for rows that have ids of their own.

    origin: of rows carried over from an older frame; they are valid here only if the manifest says so.
    """

    messages: Sequence[MessageReceipt] = ()
    origin: Origin | None = None


class _Kind(msgspec.Struct):
    """The only part of a header that is decoded."""

    kind: Kind


class _Origin(msgspec.Struct):
    origin: Origin | None = None


class RowsFrame(msgspec.Struct, frozen=True):
    header: RowsHeader
    rows: pa.RecordBatch


class RowsFrameCodec:
    """Turns rows into a journal payload and back. Holds prebuilt encoders: use one instance per thread."""

    def __init__(self) -> None:
        self._options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        self._headers = msgspec.msgpack.Encoder()
        self._header_decoder = msgspec.msgpack.Decoder(RowsHeader)
        self._kind_decoder = msgspec.msgpack.Decoder(_Kind)
        self._origin_decoder = msgspec.msgpack.Decoder(_Origin)

    def encode(self, header: RowsHeader, rows: pa.RecordBatch) -> list[bytes | pa.Buffer]:
        """The payload as buffers that must be written one after the other."""
        packed = self._headers.encode(header)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=self._options) as stream:
            stream.write_batch(rows)
        return [_LENGTH.pack(len(packed)) + packed, sink.getvalue()]

    def decode(self, payload: bytes | memoryview) -> RowsFrame:
        """The bytes are never damaged: the journal has checked the payload's CRC."""
        header, rows = self._parts(payload)
        with pa.ipc.open_stream(pa.py_buffer(rows)) as stream:
            return RowsFrame(self._header_decoder.decode(header), stream.read_next_batch())

    def kind(self, payload: bytes | memoryview) -> Kind:
        """The kind of the rows, without decoding them."""
        return self._kind_decoder.decode(self._parts(payload)[0]).kind

    def origin(self, payload: bytes | memoryview) -> Origin | None:
        """The frames that its rows were carried over from, if any."""
        return self._origin_decoder.decode(self._parts(payload)[0]).origin

    def _parts(self, payload: bytes | memoryview) -> tuple[memoryview, memoryview]:
        view = memoryview(payload)
        (length,) = _LENGTH.unpack_from(view)
        rows = _LENGTH.size + length
        return view[_LENGTH.size : rows], view[rows:]
