"""Rows that the files of a partition once had and have lost."""

from collections.abc import Iterable
from typing import NamedTuple

from app.parquet.data_file import DataFile, LsnRange


class Gap(NamedTuple):
    """LSNs from first to last whose rows are in no file, but for those that another file has: `kept`.

    path: of the file that had them.
    """

    first: int
    last: int
    kept: tuple[LsnRange, ...]
    path: str

    def __contains__(self, lsn: object) -> bool:
        if not isinstance(lsn, int) or not self.first <= lsn <= self.last:
            return False
        return not any(first <= lsn <= last for first, last in self.kept)


def gaps_of(files: Iterable[DataFile]) -> list[Gap]:
    """The lost rows of a partition's files. A frame with some of its rows in a file is not a gap, nor is one
    in a sealed file that was removed: operators remove old days."""
    known = list(files)
    there = [file for file in known if file.rows]
    kept = tuple(each for file in there for each in ((file.first_lsn, file.last_lsn), *file.recovered))
    return [Gap(file.last_lsn + 1, file.lost_through, kept, file.path) for file in known if file.lost_through]
