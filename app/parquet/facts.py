"""The key-value metadata in a data file's footer, written with every version."""

from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.kinds import Kind
from app.parquet.data_file import FinalForm, LsnRange
from app.parquet.draft import KEY_PREFIX
from app.parquet.layout import CODECS


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """journal: the identity of the journal that its rows came from; empty in files of earlier versions.
    commit: which one published this version. first_lsn, last_lsn: of its rows' frames.

    flush_offset: how many rows of that commit stand in earlier files of the partition.
    recovered: frames that it has the rows of beside those, as another file has lost them.
    rows_commit: which one brought its last rows; another one may have laid them again.
    min_timestamp, max_timestamp: ms since the epoch. codec: a name of CODECS.
    final: how it was compacted, if it was; the file does not record whether its old bytes were freed.
    """

    journal: str
    kind: Kind
    commit: int
    first_lsn: int
    last_lsn: int
    flush_offset: int
    rows: int
    min_timestamp: int
    max_timestamp: int
    codec: str
    row_groups: int
    rows_commit: int
    recovered: tuple[LsnRange, ...] = ()
    final: FinalForm | None = None


def facts_of(metadata: pq.FileMetaData) -> FileFacts | None:
    """None for a file that this service has not written."""
    said = _said(metadata.metadata or {})
    try:
        kind, commit = Kind(said["kind"]), int(said["commit"])
        first_lsn, last_lsn = int(said["first_lsn"]), int(said["last_lsn"])
        flush_offset = int(said.get("flush_offset", "0"))
        rows_commit = int(said.get("rows_commit", commit))
        final = _final_form(said)
        recovered = _ranges(said.get("recovered", ""))
    except (KeyError, ValueError):
        return None
    lowest, highest = _timestamps(metadata)
    return FileFacts(
        journal=said.get("journal", ""),
        kind=kind,
        commit=commit,
        first_lsn=first_lsn,
        last_lsn=last_lsn,
        flush_offset=flush_offset,
        rows=metadata.num_rows,
        min_timestamp=lowest,
        max_timestamp=highest,
        codec=_codec(metadata),
        row_groups=metadata.num_row_groups,
        rows_commit=rows_commit,
        recovered=recovered,
        final=final,
    )


def said_of(final: FinalForm) -> dict[str, str]:
    """A final form as key-value metadata."""
    return {"laid_ms": str(final.laid_ms), "dead": _in_words(final.dead)} | (
        {"erases": "1"} if final.erases else {}
    )


def _final_form(said: Mapping[str, str]) -> FinalForm | None:
    if "dead" not in said:
        return None
    laid_ms = int(said.get("laid_ms", "0"))
    return FinalForm(laid_ms=laid_ms, dead=_ranges(said["dead"]), erases="erases" in said)


def recovered_in_words(ranges: Sequence[LsnRange]) -> dict[str, str]:
    """Recovered frames as key-value metadata; nothing for none."""
    return {"recovered": _in_words(ranges)} if ranges else {}


def _in_words(ranges: Sequence[tuple[int, int]]) -> str:
    return ",".join(f"{first}-{second}" for first, second in ranges)


def _ranges(words: str) -> tuple[tuple[int, int], ...]:
    """Raises ValueError."""
    pairs = [each.partition("-") for each in words.split(",") if each]
    return tuple((int(first), int(second)) for first, _, second in pairs)


def read_facts(file: pa.NativeFile) -> FileFacts | None:
    """None for a file without a readable footer, and for one that this service has not written."""
    try:
        return facts_of(pq.read_metadata(file))
    except (pa.ArrowException, OSError):
        return None


def _said(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    prefix = KEY_PREFIX.encode()
    return {
        key.removeprefix(prefix).decode(): value.decode("utf-8", "replace")
        for key, value in metadata.items()
        if key.startswith(prefix)
    }


def _timestamps(metadata: pq.FileMetaData) -> tuple[int, int]:
    """From the row groups' statistics, which the service always writes."""
    lowest, highest = [], []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in range(group.num_columns):
            if group.column(column).path_in_schema == "timestamp":
                statistics = group.column(column).statistics
                if statistics is not None and statistics.has_min_max:
                    lowest.append(int(statistics.min_raw))
                    highest.append(int(statistics.max_raw))
    return min(lowest, default=0), max(highest, default=0)


def _codec(metadata: pq.FileMetaData) -> str:
    if not metadata.num_row_groups:
        return "uncompressed"
    used = metadata.row_group(0).column(0).compression.lower()
    return next((name for name in CODECS if used.startswith(name)), "uncompressed")
