from pathlib import Path

import msgspec
import pytest

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.encode import rfc3339
from app.parquet.file_policy import is_full, rows_that_fit
from app.parquet.partition import Partition
from app.publish.ages import Ages
from app.publish.manifest import Manifest, Publication
from app.publish.rotation import (
    Buffered,
    Due,
    WriterPolicy,
    due,
    is_final,
    lag_ms,
    relieve_journal,
    relieve_memory,
)

POLICY = WriterPolicy(
    flush_interval_ms=60_000,
    max_file_bytes=1000,
    row_group_rows=100,
    row_group_bytes=120,
    row_groups_max=9,
    max_buffered_bytes=800,
    early_flush_bytes=0,
    max_journal_bytes=1000,
)
FRESH = Buffered(opened_ms=0, oldest_ms=0, end_ms=86_400_000, rows=1, bytes=10, first_lsn=1)


@pytest.mark.parametrize(
    ("change", "now_ms", "expected"),
    [
        ({}, 59_999, None),
        ({}, 60_000, Due.AGE),
        ({"rows": 0}, 90_000_000, None),
        ({"rows": 99}, 0, None),
        ({"rows": 100}, 0, Due.ROWS),
        ({"bytes": 999}, 0, None),
        ({"bytes": 1000}, 0, Due.BYTES),
        # 4 hours old: a sixteenth of that is 15 minutes
        ({"oldest_ms": 14_400_000 - 899_000}, 14_400_000, None),
        ({"oldest_ms": 14_400_000 - 900_000}, 14_400_000, Due.AGE),
        # its day has passed; what came in this second may have company
        ({"oldest_ms": 86_399_999}, 86_400_999, None),
        ({"oldest_ms": 86_399_999}, 86_401_000, Due.TIME_PASSED),
        ({"oldest_ms": 86_500_000}, 86_500_500, None),
        ({"oldest_ms": 86_500_000}, 86_501_000, Due.TIME_PASSED),
        # a clock that was set back makes nothing due
        ({"oldest_ms": 5_000_000, "opened_ms": 5_000_000}, 0, None),
    ],
)
def test_when_a_partition_is_due(change: dict[str, int], now_ms: int, expected: Due | None) -> None:
    assert due(msgspec.structs.replace(FRESH, **change), POLICY, now_ms, now_ms) is expected


def test_a_file_is_copied_at_most_about_sixteen_times_over() -> None:
    """Rows come evenly for a day; every flush copies what was there."""
    now_ms, written_ms, copied, flushes = 0, 0, 0, 0
    while now_ms < 86_400_000:
        now_ms += lag_ms(0, POLICY, now_ms + lag_ms(0, POLICY, now_ms))
        copied += written_ms
        written_ms = now_ms
        flushes += 1
    assert copied / written_ms < 17
    assert 50 < flushes < 150


@pytest.mark.parametrize(
    ("rows", "row_bytes", "file_bytes", "expected"),
    [
        (5, 10, 0, 5),
        (500, 1, 0, 100),  # a row group's limit in rows
        (500, 50, 0, 2),
        (500, 5000, 0, 1),  # a row that is too large for any file has one of its own
        (500, 10, 960, 4),  # what is left of a file
        (500, 2, 400, 60),  # a row group's limit in bytes
        (500, 500, 600, 0),
        (500, 10, 2000, 0),
    ],
)
def test_how_many_rows_fit(rows: int, row_bytes: float, file_bytes: int, expected: int) -> None:
    assert rows_that_fit(rows, row_bytes, file_bytes, POLICY) == expected


def test_a_file_is_full_when_less_than_a_tenth_is_left() -> None:
    full = [is_full(size, 1, POLICY) for size in (0, 900, 901, 1000, 2000)]
    assert full == [False, False, True, True, True]


def test_a_file_is_full_when_it_has_the_most_row_groups_allowed() -> None:
    """Every footer that was ever written stays in the file, so their number must have an end."""
    assert [is_full(500, row_groups, POLICY) for row_groups in (0, 8, 9, 10)] == [False, False, True, True]
    assert WriterPolicy().row_groups_max > 200  # 200 batches, each flushed, make one file


def test_files_are_final_only_some_time_after_their_day() -> None:
    assert not is_final(86_400_000, POLICY, 86_400_000 + 59_999)
    assert is_final(86_400_000, POLICY, 86_400_000 + 60_000)


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([(100, 0), (300, 1)], 400, []),
        ([(101, 0), (300, 1)], 401, [1]),
        ([(100, 0), (100, 1), (250, 2)], 450, [2]),
        ([(150, 0), (160, 1), (170, 2)], 480, [2, 1]),
        ([(10, 0)], 900, [0]),  # most of it still on its way in
    ],
)
def test_too_much_memory_flushes_the_largest(
    sizes: list[tuple[int, int]], total: int, expected: list[int]
) -> None:
    assert relieve_memory(sizes, total, POLICY) == expected


@pytest.mark.parametrize(
    ("oldest", "last_lsn", "journal_bytes", "expected"),
    [
        ([(1, 0), (90, 1)], 100, 500, []),
        ([(1, 0), (50, 1), (51, 2), (90, 3)], 100, 501, [0, 1]),
        ([(100, 0)], 100, 501, [0]),
        ([], 100, 501, []),
    ],
)
def test_a_long_journal_flushes_those_that_hold_its_older_half(
    oldest: list[tuple[int, int]], last_lsn: int, journal_bytes: int, expected: list[int]
) -> None:
    assert relieve_journal(oldest, last_lsn, journal_bytes, POLICY) == expected


def test_a_partition_is_no_older_for_a_clock_that_was_set(tmp_path: Path) -> None:
    """However it is set while the process runs; of one that is older than it, the wall clock knows."""
    now = {"wall": 10_000_000, "timer": 500}
    path = tmp_path / "manifest"
    manifest = Manifest.open(DurableFS(), path)
    ages = Ages(manifest, lambda: now["wall"], lambda: now["timer"])
    old, new = (Partition(number, "1970-01-01", None, Kind.EVENTS) for number in (1, 2))
    manifest.append(Publication(id=1, files=[opened(old, 9_400_000)]))
    assert ages.opened_ms(new, 500) == 500
    now["wall"] += 3_600_000
    manifest.append(Publication(id=2, files=[opened(new, now["wall"])]))
    now["timer"] = 700
    assert ages.opened_ms(new, 700) == 500
    assert ages.opened_ms(old, 700) == 500 - 600_000
    manifest.close()


def opened(partition: Partition, since_epoch_ms: int) -> DataFile:
    return DataFile(
        path=f"{partition.workspace_id}/{partition.date}/events.parquet",
        workspace_id=partition.workspace_id,
        date=partition.date,
        hour=None,
        kind=partition.kind,
        number=0,
        rows=1,
        bytes=1,
        min_timestamp=0,
        max_timestamp=0,
        compression="snappy",
        created_at=rfc3339(since_epoch_ms),
        sealed=False,
        first_lsn=1,
        last_lsn=1,
    )
