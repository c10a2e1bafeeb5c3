"""Conditions for rows, by ids, columns and fields of the payload. Pure."""

from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc


class Condition(msgspec.Struct, frozen=True):
    """A column has this value; or, where `path` is not empty, the member of the payload's JSON that it leads
    to: a text, or what the JSON of a number or truth value reads."""

    column: str
    path: tuple[str, ...]
    value: bytes | int | str


class Wanted(msgspec.Struct, frozen=True):
    """Rows of a workspace, or of all, that meet every condition; at least one."""

    workspace_id: int | None
    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> list[str]:
        """What has to be read to tell."""
        return list(dict.fromkeys(["timestamp", *(condition.column for condition in self.conditions)]))


def matching(rows: pa.Table, wanted: Wanted) -> pa.BooleanArray:
    """Which rows are wanted, without nulls. rows: `wanted.columns` at least, as far as the file has them;
    where it lacks one, no row is."""
    mask = pa.array([True] * rows.num_rows, pa.bool_())
    for condition in sorted(wanted.conditions, key=lambda each: len(each.path)):
        if condition.column not in rows.schema.names:
            return pa.array([False] * rows.num_rows, pa.bool_())
        if condition.path:
            mask = _by_member(rows, condition, mask)
        else:
            mask = pc.and_(mask, _by_column(rows, condition))
    return mask


def _by_column(rows: pa.Table, condition: Condition) -> pa.BooleanArray:
    column = stored(rows.column(condition.column))
    if isinstance(condition.value, int) and pa.types.is_integer(column.type):
        column = column.cast(pa.int64())
    equal = pc.equal(column, pa.scalar(condition.value, column.type))
    return pc.fill_null(equal, False).combine_chunks()


def _by_member(rows: pa.Table, condition: Condition, mask: pa.BooleanArray) -> pa.BooleanArray:
    """Only rows that are wanted so far are looked into."""
    payloads = stored(rows.column(condition.column)).cast(pa.binary()).to_pylist()
    decode = _decoder(condition.path)
    found = [
        so_far and _text(decode, payload) == condition.value
        for so_far, payload in zip(mask.to_pylist(), payloads, strict=True)
    ]
    return pa.array(found, pa.bool_())


def stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without what a logical type such as UUID or JSON adds."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _decoder(path: tuple[str, ...]) -> Any:
    *outer, last = path
    type_: Any = msgspec.defstruct("Leaf", [("member", msgspec.Raw, msgspec.Raw())], rename={"member": last})
    for name in reversed(outer):
        type_ = msgspec.defstruct("Branch", [("member", type_ | None, None)], rename={"member": name})
    return msgspec.json.Decoder(type_).decode


def _text(decode: Any, payload: bytes) -> str | None:
    """The member as text; None where there is none."""
    try:
        value = decode(payload)
        while isinstance(value, msgspec.Struct):
            value = value.member  # type: ignore[attr-defined]
        raw = b"" if value is None else bytes(value)
        if raw in (b"", b"null"):
            return None
        return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
