"""The current columns of a sink's files, for the text that `parquet-sink sql` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from app.kinds import COLUMNS, Kind
from app.parquet.annotation import Annotation
from app.parquet.columns import IDS, PAYLOAD, TIMES
from app.query.alike import Alike, alike


class Look(msgspec.Struct, frozen=True):
    """Files of one kind with columns of the same types. place: a pattern for all of them, or one by one.

    promoted: the columns after the payload. schema: all columns, if the files can be inspected.
    """

    place: str | list[str]
    annotations: frozenset[Annotation]
    promoted: tuple[str, ...] = ()
    schema: pa.Schema | None = None


Looks = Mapping[Kind, Sequence[Look]]


def as_configured(place: str, annotations: frozenset[Annotation]) -> Looks:
    """The assumed columns of files that cannot be inspected from here."""
    return {kind: [Look(pattern(place, kind), annotations)] for kind in Kind}


def on_disk(directory: Path) -> Looks:
    """The columns of existing files, from their footers. Kinds without files are left out.

    Raises OSError, pa.ArrowException.
    """
    found = {}
    for kind in Kind:
        names = sorted(str(path) for path in directory.glob(f"**/{kind.value}*.parquet"))
        groups = alike(names)
        place = pattern(str(directory), kind)
        if groups:
            found[kind] = [_look(kind, each, place if len(groups) == 1 else each.names) for each in groups]
    return found


def _look(kind: Kind, group: Alike, place: str | list[str]) -> Look:
    schema = group.schema.to_arrow_schema()
    types = {field.name: field.type for field in schema}
    logical = {
        column.path: str(column.logical_type) for column in map(group.schema.column, range(len(types)))
    }
    annotations = set()
    if pa.types.is_timestamp(types[TIMES[0]]):
        annotations.add(Annotation.TIMESTAMPS)
    if any(logical.get(name) == "UUID" for name in IDS):
        annotations.add(Annotation.IDS)
    if logical.get(PAYLOAD) == "JSON":
        annotations.add(Annotation.PAYLOAD)
    promoted = tuple(name for name in types if name not in COLUMNS[kind])
    return Look(place, frozenset(annotations), promoted, schema)


def pattern(place: str, kind: Kind) -> str:
    """A pattern for all files of a kind below a place."""
    return f"{place.rstrip('/')}/**/{kind.value}*.parquet"
