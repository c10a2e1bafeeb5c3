"""Files of rows, recognised by their first bytes: JSON Lines, JSON, CSV, Parquet, Arrow; also compressed with
gzip and zstd."""

import csv
import glob
import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from app.load.policy import CannotLoad

HEAD_BYTES: Final = 64 << 10

DOCUMENT_BYTES_MAX: Final = 2 << 30
"""Limit for a JSON array, which is read as a whole; JSON Lines files may have any length."""

CSV_FIELD_BYTES_MAX: Final = 16 << 20
ARROW_ROWS: Final = 16_384

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class LoadSource:
    """One file. label: its name for people. identity: distinguishes it from other files, the same in the next
    run.

    size: bytes, 0 if not known. read_bytes: how many of them were read so far.
    """

    def __init__(self, name: str) -> None:
        self.label = name
        self.is_standard_input = name == "-"
        self.identity = "-" if self.is_standard_input else str(Path(name).resolve())
        self.size = 0 if self.is_standard_input else Path(name).stat().st_size
        self._raw: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """The file name without extensions: flights for data/flights.csv.gz."""
        return "stdin" if self.is_standard_input else Path(self.label).name.split(".")[0] or "rows"

    @property
    def read_bytes(self) -> int:
        return self._raw.tell() if self._raw is not None and not self.is_standard_input else 0

    def open(self) -> "OpenedSource":
        """Raises CannotLoad."""
        try:
            if self.is_standard_input:
                self._raw = sys.stdin.buffer
            else:
                self._raw = Path(self.label).open("rb", buffering=HEAD_BYTES)  # noqa: SIM115
            return _opened(self._raw, self)
        except (OSError, EOFError, zlib.error) as error:
            raise CannotLoad(f"{self.label}: {error}") from None


class OpenedSource(msgspec.Struct, frozen=True):
    """format: ndjson, json, csv, parquet or arrow. head: its first bytes, decompressed; they are read
    again."""

    format: str
    head: bytes
    stream: Any


def find_sources(names: Sequence[str]) -> list[LoadSource]:
    """The sources named by files, patterns and `-`, in order, each once. Raises CannotLoad."""
    found: dict[str, None] = {}
    for name in names:
        matches = [name] if name == "-" or os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        if not matches:
            raise CannotLoad(f"{name}: file not found")
        found.update(dict.fromkeys(match for match in matches if match == "-" or not os.path.isdir(match)))
    if not found:
        raise CannotLoad(f"{', '.join(names)}: a directory; name the files in it, such as 'data/*.parquet'")
    return [LoadSource(name) for name in found]


class Peekable(io.RawIOBase):
    """A stream whose first bytes have been inspected."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.head = self._rest = read_exactly(stream, HEAD_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._rest:
            data = self._rest[: len(buffer)]
            self._rest = self._rest[len(buffer) :]
        else:
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_exactly(stream: Any, size: int) -> bytes:
    """This many bytes, fewer only at the end: batch boundaries must not depend on how data arrives."""
    parts, left = [], size
    while left and (part := stream.read(left)):
        parts.append(bytes(part))
        left -= len(part)
    return b"".join(parts)


def _opened(raw: IO[bytes], source: LoadSource) -> OpenedSource:
    stream = Peekable(raw)
    packed = stream.head[:4]
    while packed[:2] == _GZIP or packed == _ZSTD:
        inner: Any = io.BufferedReader(stream, HEAD_BYTES)
        if packed == _ZSTD:
            import pyarrow as pa

            inner = pa.CompressedInputStream(pa.PythonFile(inner, "r"), "zstd")
        else:
            inner = gzip.GzipFile(fileobj=inner)
        stream = Peekable(inner)
        packed = stream.head[:4]
    kind = _format(stream.head)
    if kind in ("parquet", "arrow-file"):
        direct = not source.is_standard_input and raw.seekable() and _format(_first(raw)) == kind
        return OpenedSource(kind, b"", source.label if direct else _spooled(stream))
    return OpenedSource(kind, stream.head, io.BufferedReader(stream, HEAD_BYTES))


def _first(raw: IO[bytes]) -> bytes:
    place = raw.tell()
    raw.seek(0)
    head = raw.read(8)
    raw.seek(place)
    return head


def _spooled(stream: Peekable) -> IO[bytes]:
    """These formats are read from their end."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    while data := stream.read(HEAD_BYTES):
        file.write(data)
    file.seek(0)
    return file


def _format(head: bytes) -> str:
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1":
        return "arrow-file"
    if head[:4] == b"\xff\xff\xff\xff":
        return "arrow-stream"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"[":
        return "json"
    if text[:1] == b"{":
        return "ndjson" if _is_whole(text.split(b"\n", 1)[0], b"\n" in text) else "json"
    return "csv"


def _is_whole(line: bytes, ended: bool) -> bool:
    """Whether a line, or the beginning of one, can be JSON by itself."""
    if not ended:
        return True
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.DecodeError:
        return line.rstrip() not in (b"{", b"[") and not line.rstrip().endswith((b",", b"{", b"["))
    return True


def document_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The elements of a JSON array, or concatenated objects, each as one line. Raises CannotLoad."""
    text = read_exactly(stream, DOCUMENT_BYTES_MAX + 1).removeprefix(b"\xef\xbb\xbf")
    if len(text) > DOCUMENT_BYTES_MAX:
        raise CannotLoad(
            f"a JSON array may have at most {DOCUMENT_BYTES_MAX >> 30} GiB; convert it to JSON Lines (jq -c "
            "'.[]')"
        )
    try:
        if text.lstrip()[:1] == b"[":
            elements = [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])]
        else:
            elements = list(_one_after_the_other(text.decode("utf-8")))
    except (msgspec.DecodeError, ValueError) as error:
        raise CannotLoad(f"this is not valid JSON: {error}") from None
    for element in elements:
        yield element.replace(b"\n", b" ").replace(b"\r", b" ")


def _one_after_the_other(text: str) -> Iterator[bytes]:
    import json

    decoder, place = json.JSONDecoder(), 0
    while (place := len(text) - len(text[place:].lstrip())) < len(text):
        _, end = decoder.raw_decode(text, place)
        yield text[place:end].encode()
        place = end


def csv_rows(
    stream: IO[bytes], head: bytes, delimiter: str | None, encoding: str
) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and the records after them. Raises CannotLoad."""
    csv.field_size_limit(CSV_FIELD_BYTES_MAX)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
    first = head.split(b"\n", 1)[0].decode("latin-1")
    records = csv.reader(text, delimiter=delimiter or max(",;\t|", key=first.count))
    try:
        names = [name.strip() for name in next(records, [])]
    except csv.Error as error:
        raise CannotLoad(str(error)) from None
    if not names:
        raise CannotLoad("the file is empty")
    if len(set(names)) < len(names) or "" in names:
        raise CannotLoad("the first line of a CSV file must name its columns, each with a different name")
    return names, records


def arrow_batches(opened: OpenedSource) -> tuple[list[str], int, Iterator[Any]]:
    """The names of the columns, the number of rows (0: not known), and record batches. Raises CannotLoad."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if opened.format == "parquet":
            file = pq.ParquetFile(opened.stream)
            return file.schema_arrow.names, file.metadata.num_rows, file.iter_batches(ARROW_ROWS)
        if opened.format == "arrow-file":
            reader = pa.ipc.open_file(opened.stream)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
            return reader.schema.names, 0, batches
        stream = pa.ipc.open_stream(opened.stream)
        return stream.schema.names, 0, iter(stream)
    except (pa.ArrowException, OSError) as error:
        raise CannotLoad(str(error)) from None


def arrow_rows(batch: Any) -> Iterator[Mapping[str, Any]]:
    """Rows of a record batch as Python objects."""
    import pyarrow as pa

    for number, column in enumerate(batch.columns):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            # Python's times have microseconds.
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            batch = batch.set_column(number, batch.schema.names[number], column)
    yield from batch.to_pylist()
