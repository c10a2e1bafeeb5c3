"""Rows that a file had and has lost, and that wait to be published again: the journal still has them."""

from collections.abc import Iterable, Sequence

import msgspec

from app.parquet.data_file import DataFile, LsnRange


class _OfFile(msgspec.Struct):
    """So many rows, of the frames from the first to the last."""

    rows: int
    first_lsn: int
    last_lsn: int


class RecoveredRows(msgspec.Struct):
    """Those of one partition, by the path of the file that has lost them."""

    _files: dict[str, _OfFile] = {}

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self._files.values())

    def add(self, path: str, lsn: int, rows: int) -> None:
        self._merge(path, _OfFile(rows, lsn, lsn))

    def append(self, later: "RecoveredRows") -> None:
        """Take over what came later for the same partition."""
        for path, each in later._files.items():
            self._merge(path, each)

    def give_up_front(self, read: "RecoveredRows", through: int) -> None:
        """Those of the frames up to this one are in `read` now."""
        for path, each in read._files.items():
            left = self._files.get(path)
            if left is None:
                continue
            left.rows -= each.rows
            left.first_lsn = through + 1
            if left.rows <= 0:
                del self._files[path]

    def ranges(self) -> tuple[LsnRange, ...]:
        """The frames that the rows came with: of each file those between had no other rows of the
        partition."""
        return tuple(sorted((each.first_lsn, each.last_lsn) for each in self._files.values()))

    def settled(self, lost: Iterable[DataFile]) -> list[DataFile]:
        """The records of files that have lost rows, less these, which are published again. lost: those of
        the partition.

        Two files may have had rows of one frame: what is more than one of them has lost is the other's.
        """
        broken = [file for file in lost if file.lost_rows]
        counts = {file.path: min(self._rows_of(file.path), file.lost_rows) for file in broken}
        rest = self.rows - sum(counts.values())
        for file in broken:
            more = min(rest, file.lost_rows - counts[file.path])
            counts[file.path] += more
            rest -= more
        return [
            msgspec.structs.replace(file, lost_rows=file.lost_rows - counts[file.path])
            for file in broken
            if counts[file.path]
        ]

    def _rows_of(self, path: str) -> int:
        each = self._files.get(path)
        return each.rows if each is not None else 0

    def _merge(self, path: str, more: _OfFile) -> None:
        known = self._files.setdefault(path, _OfFile(0, more.first_lsn, more.last_lsn))
        known.rows += more.rows
        known.first_lsn = min(known.first_lsn, more.first_lsn)
        known.last_lsn = max(known.last_lsn, more.last_lsn)


def joined(ranges: Sequence[LsnRange], more: Sequence[LsnRange]) -> tuple[LsnRange, ...]:
    """Without those that lie within others."""
    found: list[LsnRange] = []
    for first, last in sorted((*ranges, *more)):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)
