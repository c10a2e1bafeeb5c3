"""Answers as bytes. DuckDB itself writes values as text, so that each type looks the same everywhere."""

import csv
import io
import json
import math
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

BATCH_ROWS: Final = 8192

MEDIA_TYPES: Final = MappingProxyType(
    {
        "json": "application/json",
        "ndjson": "application/x-ndjson",
        "csv": "text/csv; charset=utf-8",
        "arrow": "application/vnd.apache.arrow.stream",
    }
)
"""By the name of an output format."""

_AS_JSON: Final = "CAST(to_json(_answer) AS VARCHAR)"
_AS_TEXT: Final = "CAST(COLUMNS(*) AS VARCHAR)"


class AnswerTooLarge(Exception):
    """The message says what to do."""


class Answer:
    """Parts of one answer, counted. Raises AnswerTooLarge as soon as it has too many rows or bytes."""

    def __init__(self, rows_max: int | None, bytes_max: int | None) -> None:
        self.parts: list[bytes] = []
        self.rows = self.bytes = 0
        self._rows_max = rows_max
        self._bytes_max = bytes_max

    def add(self, part: bytes, rows: int = 0) -> None:
        self.parts.append(part)
        self.rows += rows
        self.bytes += len(part)
        if self._rows_max is not None and self.rows > self._rows_max:
            raise AnswerTooLarge(
                f"The answer has more than {self._rows_max} rows; add a LIMIT, or select less."
            )
        if self._bytes_max is not None and self.bytes > self._bytes_max:
            raise AnswerTooLarge(
                f"The answer has more than {self._bytes_max} bytes; select fewer columns, or add a LIMIT."
            )


def encode(
    relation: "DuckDBPyRelation", form: str, rows_max: int | None = None, bytes_max: int | None = None
) -> Answer:
    """The answer in one of MEDIA_TYPES. Raises AnswerTooLarge; what DuckDB raises."""
    answer = Answer(rows_max, bytes_max)
    if rows_max is not None:
        relation = relation.limit(rows_max + 1)
    if form == "arrow":
        _encode_arrow(relation, answer)
    elif form == "csv":
        _encode_csv(relation, answer)
    else:
        _encode_json(relation, answer, is_array=form == "json")
    return answer


def _encode_arrow(relation: "DuckDBPyRelation", answer: Answer) -> None:
    reader = relation.to_arrow_reader(BATCH_ROWS)
    sink = _Sink(answer)
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), reader.schema) as stream:
        for batch in reader:
            stream.write_batch(batch)
            answer.add(b"", batch.num_rows)


class _Sink(io.RawIOBase):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._answer.add(bytes(data))
        return len(data)


def _encode_csv(relation: "DuckDBPyRelation", answer: Answer) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(relation.columns)
    rows = 0
    for batch in relation.project(_AS_TEXT).to_arrow_reader(BATCH_ROWS):
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        answer.add(out.getvalue().encode("utf-8", "replace"), batch.num_rows)
        out.seek(0)
        out.truncate()
        rows += batch.num_rows
    if out.tell():
        answer.add(out.getvalue().encode("utf-8", "replace"))


def _encode_json(relation: "DuckDBPyRelation", answer: Answer, *, is_array: bool) -> None:
    between = b",\n " if is_array else b"\n"
    answer.add(b"[" if is_array else b"")
    first = True
    for batch in relation.set_alias("_answer").project(_AS_JSON).to_arrow_reader(BATCH_ROWS):
        lines = list(_json_lines(batch))
        if lines:
            answer.add(between.join(lines if first else [b"", *lines]), len(lines))
            first = False
    answer.add(b"]\n" if is_array else b"" if first else b"\n")


def _json_lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    for text in batch.column(0).to_pylist():
        # JSON has no words for these two; DuckDB writes them all the same.
        yield (_plain(text) if "NaN" in text or "Infinity" in text else text).encode("utf-8", "replace")


def _plain(text: str) -> str:
    return json.dumps(_without_infinities(json.loads(text)), ensure_ascii=False)


def _without_infinities(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_infinities(each) for key, each in value.items()}
    return [_without_infinities(each) for each in value] if isinstance(value, list) else value
