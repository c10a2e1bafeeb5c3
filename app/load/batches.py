"""Batches of a source: their boundaries depend only on the content, so a second run makes the same ones."""

import csv
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import IO, Any, Final

import orjson

from app.kinds import Kind
from app.load.mapping import RowMapping, csv_value, row_mapping
from app.load.policy import Batch, CannotLoad, LoadPolicy, RefusedRow
from app.load.sources import (
    LoadSource,
    OpenedSource,
    arrow_batches,
    arrow_rows,
    csv_rows,
    document_lines,
    read_exactly,
)

SAMPLE_LINES: Final = 100
"""Elements of a JSON array that are inspected to find its keys; for JSON Lines, the first bytes."""

LINE_BYTES_MAX: Final = 64 << 20

Rejected = Callable[[RefusedRow], None]


class Wishes:
    """The options of the command line for the rows of all sources."""

    def __init__(
        self,
        kind: Kind,
        renamed: Mapping[str, str],
        constants: Mapping[str, str],
        delimiter: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self.kind = kind
        self.renamed = renamed
        self.constants = constants
        self.delimiter = delimiter
        self.encoding = encoding


def batches(source: LoadSource, wishes: Wishes, policy: LoadPolicy, rejected: Rejected) -> Iterator[Batch]:
    """The batches, in the order of the source. rejected: called with rows that cannot even be sent. Raises
    CannotLoad."""
    opened = source.open()
    try:
        if opened.format == "ndjson":
            yield from _of_json_lines(opened, source, wishes, policy, rejected)
            return
        under_way = _BatchUnderWay(source, policy)
        for number, line in enumerate(_lines(opened, source, wishes, rejected), start=1):
            if (batch := under_way.add(number, line)) is not None:
                yield batch
        if (batch := under_way.rest()) is not None:
            yield batch
    except UnicodeDecodeError as error:
        raise CannotLoad(
            f"{source.label}: not {wishes.encoding} ({error.reason}); name the encoding, for example with "
            "--encoding latin-1"
        ) from None
    except (csv.Error, zlib.error, EOFError, OSError, ValueError, CannotLoad) as error:
        text = str(error)
        raise CannotLoad(text if text.startswith(source.label) else f"{source.label}: {text}") from None


class _BatchUnderWay:
    """Collects lines into a batch. An empty line stands for a row that is not sent."""

    def __init__(self, source: LoadSource, policy: LoadPolicy) -> None:
        self._source = source
        self._policy = policy
        self._lines: list[bytes] = []
        self._first = 1
        self._bytes = 0
        self._read = 0

    def add(self, number: int, line: bytes) -> Batch | None:
        """The batch of the previous lines, if this line does not fit any more."""
        full = None
        beyond = self._bytes + len(line) > self._policy.batch_bytes
        if self._lines and (beyond or len(self._lines) >= self._policy.batch_rows):
            full = self.rest()
        if not self._lines:
            self._first = number
        self._lines.append(line)
        self._bytes += len(line) + 1
        return full

    def rest(self) -> Batch | None:
        lines, self._lines, self._bytes = self._lines, [], 0
        if not any(lines):
            return None
        read, self._read = self._read, self._source.read_bytes
        return Batch(
            self._source.label,
            self._source.identity,
            self._first,
            len(lines),
            b"\n".join(lines) + b"\n",
            max(self._read - read, 0),
        )


def _lines(opened: OpenedSource, source: LoadSource, wishes: Wishes, rejected: Rejected) -> Iterator[bytes]:
    """One for each row; empty for those that cannot be sent."""
    if opened.format == "json":
        elements = document_lines(opened.stream)
        sample = list(islice(elements, SAMPLE_LINES))
        mapping = _mapping(wishes, source, _keys(sample), is_table=False)
        for number, line in enumerate(chain(sample, elements), start=1):
            yield _changed(line, mapping, source, number, rejected)
    elif opened.format == "csv":
        yield from _of_csv(opened, source, wishes, rejected)
    else:
        names, _, record_batches = arrow_batches(opened)
        mapping = _mapping(wishes, source, names, is_table=True)
        number = 0
        for record_batch in record_batches:
            for row in arrow_rows(record_batch):
                number += 1
                yield _written(mapping, row, source, number, rejected)


def _of_csv(opened: OpenedSource, source: LoadSource, wishes: Wishes, rejected: Rejected) -> Iterator[bytes]:
    names, records = csv_rows(opened.stream, opened.head, wishes.delimiter, wishes.encoding)
    mapping = _mapping(wishes, source, names, is_table=True)
    for number, record in enumerate(records, start=1):
        if len(record) == len(names):
            fields = zip(names, map(csv_value, record), strict=True)
            row = {name: value for name, value in fields if value is not None}
            yield _written(mapping, row, source, number, rejected)
        elif record:
            reason = f"it has {len(record)} fields, but the first line names {len(names)} columns"
            rejected(RefusedRow(source.label, number, reason, ",".join(record).encode()))
            yield b""
        else:
            yield b""


def _of_json_lines(
    opened: OpenedSource, source: LoadSource, wishes: Wishes, policy: LoadPolicy, rejected: Rejected
) -> Iterator[Batch]:
    """The lines as they are in the file, if nothing needs to be changed."""
    sample = opened.head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    mapping = _mapping(wishes, source, _keys(sample), is_table=False)
    first, read = 1, 0
    for body, lines in _blocks(opened.stream, policy):
        if not mapping.changes_nothing:
            changed = [
                _changed(line, mapping, source, first + number, rejected)
                for number, line in enumerate(body.split(b"\n")[:lines])
            ]
            body = b"\n".join(changed) + b"\n"
        if not body.isspace():
            before, read = read, source.read_bytes
            yield Batch(source.label, source.identity, first, lines, body, max(read - before, 0))
        first += lines


def _blocks(stream: IO[bytes], policy: LoadPolicy) -> Iterator[tuple[bytes, int]]:
    """Complete lines, each block within the limits unless a single line is longer; and their number."""
    rest = b""
    while True:
        missing = policy.batch_bytes - len(rest)
        more = read_exactly(stream, missing if missing > 0 else policy.batch_bytes)
        if not more:
            yield from _within_rows(rest + b"\n" if rest else rest, policy.batch_rows)
            return
        data = rest + more if rest else more.removeprefix(b"\xef\xbb\xbf")
        end = data.rfind(b"\n") + 1
        block, rest = data[:end], data[end:]
        if len(rest) > LINE_BYTES_MAX:
            raise CannotLoad(f"a line is longer than {LINE_BYTES_MAX >> 20} MiB; is this JSON Lines?")
        yield from _within_rows(block, policy.batch_rows)


def _within_rows(block: bytes, rows_max: int) -> Iterator[tuple[bytes, int]]:
    count = block.count(b"\n")
    if count <= rows_max:
        if count:
            yield block, count
        return
    lines = block.split(b"\n")[:-1]
    for start in range(0, count, rows_max):
        some = lines[start : start + rows_max]
        yield b"\n".join(some) + b"\n", len(some)


def _keys(lines: Sequence[bytes]) -> list[str]:
    keys: dict[str, None] = {}
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            keys.update(dict.fromkeys(row))
    return list(keys)


def _mapping(wishes: Wishes, source: LoadSource, columns: Sequence[str], *, is_table: bool) -> RowMapping:
    try:
        return row_mapping(
            wishes.kind, wishes.renamed, wishes.constants, columns, source.name, is_table=is_table
        )
    except ValueError as error:
        raise CannotLoad(f"--map: {error}") from None


def _changed(line: bytes, mapping: RowMapping, source: LoadSource, number: int, rejected: Rejected) -> bytes:
    """A line of JSON with renamed keys. Lines that are not objects are sent unchanged: the service reports
    the error."""
    if mapping.changes_nothing or not line.strip():
        return line
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    return _written(mapping, row, source, number, rejected) if isinstance(row, dict) else line


def _written(
    mapping: RowMapping, row: Mapping[str, Any], source: LoadSource, number: int, rejected: Rejected
) -> bytes:
    try:
        return mapping.line(row)
    except (ValueError, TypeError) as error:
        rejected(RefusedRow(source.label, number, str(error), str(row).encode("utf-8", "replace")))
        return b""
