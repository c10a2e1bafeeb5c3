"""Accepted rows and bytes of each workspace by day, for billing. Equals the rows in the files.

Each frame of the journal is counted once: when it is durable, or when a start reads it again. Before frames
are trimmed, days with changes are saved, each with the LSN up to which it is counted; a start loads them and
counts later frames of the journal. So after a kill at any moment nothing is counted twice or missed, and rows
that retention removes later stay counted.
"""

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.kinds import Kind

DAY_MS: Final = 86_400_000

COUNTED: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.EVENTS: ("event_name", "payload"),
        Kind.LOGS: ("source", "service", "payload"),
        Kind.SNAPSHOTS: ("source", "entity", "payload"),
    }
)
"""The columns whose bytes are counted: what a client has written, before compression."""

_EPOCH: Final = date(1970, 1, 1)
_CRC_DIGITS: Final = 8


class Amount(msgspec.Struct, array_like=True):
    """bytes: of the texts and payloads of these rows, see COUNTED."""

    rows: int = 0
    bytes: int = 0


UsageByDay = Mapping[str, Mapping[tuple[int, Kind], Amount]]
"""By day, then by workspace and kind."""


class DayUsage(msgspec.Struct):
    """A UTC day. through: frames up to this LSN must not be counted again. amounts: by workspace and kind."""

    through: int = 0
    amounts: dict[tuple[int, Kind], Amount] = {}

    def add(self, workspace_id: int, kind: Kind, rows: int, size: int) -> None:
        amount = self.amounts.setdefault((workspace_id, kind), Amount())
        amount.rows += rows
        amount.bytes += size


class UsageDamaged(ValueError):
    """A saved day cannot be read."""


class _Saved(msgspec.Struct):
    through: int
    rows: list[tuple[int, Kind, int, int]]


def dump_day(day: DayUsage) -> bytes:
    """CRC-32 of the rest (8 hex digits), a space, JSON, a line feed."""
    rows = [(workspace, kind, each.rows, each.bytes) for (workspace, kind), each in day.amounts.items()]
    body = msgspec.json.encode(_Saved(day.through, rows))
    return b"%08x %s\n" % (zlib.crc32(body), body)


def load_day(data: bytes) -> DayUsage:
    """Raises UsageDamaged."""
    body = data[_CRC_DIGITS + 1 : -1]
    if data[:_CRC_DIGITS] != b"%08x" % zlib.crc32(body):
        raise UsageDamaged("its checksum is wrong")
    saved = msgspec.json.decode(body, type=_Saved)
    amounts = {(workspace, kind): Amount(rows, size) for workspace, kind, rows, size in saved.rows}
    return DayUsage(saved.through, amounts)


def day_of(received_ms: int) -> str:
    """The UTC day as YYYY-MM-DD."""
    return _day_named(received_ms // DAY_MS)


@lru_cache(maxsize=16)
def _day_named(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


class Usage:
    """The usage of all days. Any thread; frames are added in the order of their LSNs.

    stored: reads a saved day, an empty one if there is none; raises OSError. While a day cannot be read, new
    rows are counted separately, and the day is not saved. on_counted(workspace, rows, bytes): called for new
    rows, not for those that a start reads again.
    """

    def __init__(
        self,
        stored: Callable[[str], DayUsage],
        on_counted: Callable[[int, int, int], None] = lambda workspace_id, rows, size: None,
    ) -> None:
        self._stored = stored
        self._on_counted = on_counted
        self._lock = threading.Lock()
        self._days: dict[str, DayUsage] = {}
        self._changed: set[str] = set()
        self._unread: set[str] = set()
        self._through = 0

    def add(self, lsn: int, kind: Kind, rows: pa.RecordBatch, counts: Sequence[int] | None = None) -> None:
        """Count a frame that is durable now. counts: see `parts`."""
        counted = list(parts(kind, rows, counts))
        with self._lock:
            self._through = lsn
            for day, workspace_id, count, size in counted:
                self._day(day).add(workspace_id, kind, count, size)
                self._changed.add(day)
        for _, workspace_id, count, size in counted:
            self._on_counted(workspace_id, count, size)

    def add_again(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        """Count a frame that a start reads, unless it is already counted. Raises OSError."""
        with self._lock:
            self._through = lsn
            for day, workspace_id, count, size in parts(kind, rows):
                known = self._whole_day(day)
                if lsn > known.through:
                    known.add(workspace_id, kind, count, size)
                    self._changed.add(day)

    def add_published(self, day: str, workspace_id: int, kind: Kind, rows: int) -> None:
        """Count rows of files that were written before usage was counted; their bytes are not known."""
        with self._lock:
            self._day(day).add(workspace_id, kind, rows, 0)
            self._changed.add(day)

    def end_replay(self, last_lsn: int, days: Iterable[str]) -> None:
        """The journal has been read. days: checked for counted frames that the journal has lost.

        Their LSNs will be used again, so they must not be saved as counted.
        """
        with self._lock:
            self._through = last_lsn
            for day in days:
                known = self._whole_day(day)
                if known.through > last_lsn:
                    known.through = last_lsn
                    self._changed.add(day)

    def save(self, write: Callable[[str, bytes], None]) -> None:
        """Write days with changes, with `write`; past days are then dropped from memory. Raises OSError."""
        with self._lock:
            days = sorted(self._changed)
        for day in days:
            with self._lock:
                self._whole_day(day).through = self._through
                data = dump_day(self._days[day])
                self._changed.discard(day)
            try:
                write(day, data)
            except BaseException:
                with self._lock:
                    self._changed.add(day)
                raise
        with self._lock:
            newest = max(self._days, default="")
            for day in [day for day in self._days if day < newest and day not in self._changed]:
                self._unread.discard(day)
                del self._days[day]

    def day(self, day: str) -> Mapping[tuple[int, Kind], Amount]:
        """Reads the disk for a day that is past. Raises OSError."""
        with self._lock:
            known = self._whole_day(day) if day in self._unread else self._days.get(day)
            if known is not None:
                return {key: Amount(each.rows, each.bytes) for key, each in known.amounts.items()}
        return self._stored(day).amounts

    def bytes_of(self, workspace_id: int, day: str) -> int:
        """Accepted rows and bytes of one workspace on a day, of all kinds."""
        with self._lock:
            amounts = self._day(day).amounts
            return sum(each.bytes for kind in Kind if (each := amounts.get((workspace_id, kind))))

    def _day(self, day: str) -> DayUsage:
        """The current usage of a day."""
        try:
            return self._whole_day(day)
        except OSError:
            return self._days[day]

    def _whole_day(self, day: str) -> DayUsage:
        """Including the saved part. Raises OSError."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = DayUsage()
            self._unread.add(day)
        if day in self._unread:
            stored = self._stored(day)
            known.through = max(known.through, stored.through)
            for (workspace_id, kind), amount in stored.amounts.items():
                known.add(workspace_id, kind, amount.rows, amount.bytes)
            self._unread.discard(day)
        return known


def parts(
    kind: Kind, rows: pa.RecordBatch, counts: Sequence[int] | None = None
) -> Iterator[tuple[str, int, int, int]]:
    """Day, workspace, rows and bytes of the runs of a frame; no statement runs per row.

    counts: rows by batch, where that is known; those of a batch have one workspace and one time of receipt.
    """
    if not rows.num_rows:
        return
    workspaces = _view(_column(rows, "workspace_id"), "Q")
    times = _view(_column(rows, "batch_timestamp"), "q")
    if counts is None:
        workspace_ids, times_ms = np.asarray(workspaces[: len(rows)]), np.asarray(times[: len(rows)])
        changes = (workspace_ids[1:] != workspace_ids[:-1]) | (times_ms[1:] != times_ms[:-1])
        starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    else:
        starts = list(accumulate(counts[:-1], initial=0))
    # A frame has few batches, and an array operation costs more than a statement for each of them.
    runs: list[tuple[int, int]] = []
    bounds: list[int] = []
    for start in starts:
        run = (workspaces[start], times[start] // DAY_MS)
        if not runs or run != runs[-1]:
            runs.append(run)
            bounds.append(start)
    bounds.append(rows.num_rows)
    sizes = [_sizes(_column(rows, name), bounds) for name in COUNTED[kind]]
    for index, ((workspace_id, day), (start, end)) in enumerate(zip(runs, pairwise(bounds), strict=True)):
        yield _day_named(day), workspace_id, end - start, sum(size[index] for size in sizes)


def _sizes(column: pa.BinaryArray, bounds: Sequence[int]) -> Sequence[int]:
    """Bytes of the values between two bounds each; of nulls none."""
    if column.null_count == len(column):
        return [0] * (len(bounds) - 1)
    if column.null_count:
        # The offsets of a null may span bytes that are not a value.
        lengths = np.asarray(pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False))
        return list(np.add.reduceat(lengths.astype(np.int64), bounds[:-1]).tolist())
    offsets = _view(column, "i")
    return [offsets[end] - offsets[start] for start, end in pairwise(bounds)]


def _column(rows: pa.RecordBatch, name: str) -> pa.Array:
    return rows.column(rows.schema.get_field_index(name))


def _view(column: pa.Array, item: Literal["Q", "q", "i"]) -> memoryview:
    """The integers of a column without nulls, or the offsets of one of texts, without a copy; what follows
    them in the buffer, too."""
    return memoryview(column.buffers()[1]).cast(item)[column.offset :]
