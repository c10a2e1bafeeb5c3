"""When a data file is full, and how many rows still fit."""

from typing import Final

import msgspec

from app.parquet.layout import Layout
from app.parquet.location import Folders

LEFTOVER_SHARE: Final = 10
"""A file with less room than this fraction of the maximum size is full."""


class FilePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one data file.

    layout: what the files look like.
    max_file_bytes: no file is larger, unless a single row is.
    row_group_rows: rows in one row group at most.
    row_group_bytes: about how many encoded bytes one row group has at most.
    row_groups_max: a file with as many row groups is full. Every flush leaves the footer before it in the
        file, so their sum grows with the square of this number.
    writer_version: stands in each file's metadata.
    journal: the identity of the journal that rows come from; stands in each file's metadata.
    node: stands in the names of files, where several nodes write the same partitions.
    folders: how those of new files are named; a file that grows stays where it is.
    """

    layout: Layout = Layout()
    max_file_bytes: int = 128_000_000
    row_group_rows: int = 1_000_000
    row_group_bytes: int = 8_000_000
    row_groups_max: int = 300
    writer_version: str = "parquet-sink"
    journal: str = ""
    node: str | None = None
    folders: Folders = Folders.PLAIN


def rows_that_fit(rows: int, row_bytes: float, file_bytes: int, policy: FilePolicy) -> int:
    """How many of `rows` rows of about `row_bytes` encoded bytes make the next row group of a file.

    0 means that none fits. A file that has nothing in it yet takes at least one row.
    """
    room = min(policy.max_file_bytes - file_bytes, policy.row_group_bytes)
    fitting = int(room / max(row_bytes, 1.0))
    if not file_bytes:
        fitting = max(fitting, 1)
    return max(min(rows, fitting, policy.row_group_rows), 0)


def is_full(file_bytes: int, row_groups: int, policy: FilePolicy) -> bool:
    """Whether a file of this length and with as many row groups takes no other one."""
    left = policy.max_file_bytes - file_bytes
    return left < policy.max_file_bytes // LEFTOVER_SHARE or row_groups >= policy.row_groups_max
