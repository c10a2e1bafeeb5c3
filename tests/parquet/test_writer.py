import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.disk.durable_file import SyncFailed
from app.kinds import Kind
from app.parquet.partition import Partition, Rotation
from app.parquet.quarantine import ERROR_KEY
from app.publish.intake import RowNumbers, WriterStopped
from app.publish.rotation import WriterPolicy
from app.schema import SCHEMAS
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS, never
from tests.parquet.rows import (
    DAY_MS,
    HOUR_MS,
    NOON_MS,
    all_timestamps,
    event_rows,
    published,
    snapshot_rows,
)

MIDNIGHT_MS = NOON_MS + 12 * HOUR_MS
EVENTS = Kind.EVENTS


def test_rows_are_published_when_they_are_as_old_as_the_flush_interval(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(flush_interval_ms=60_000))
    bench.put(1, event_rows(0, 10))
    bench.turn_at(NOON_MS + 59_999)
    assert published(bench.data) == {}
    assert (bench.writer.buffered_rows, bench.writer.oldest_age_s) == (10, 59.999)
    bench.turn_at(NOON_MS + 60_000)
    assert all_timestamps(bench.data) == list(range(10))
    assert (bench.writer.buffered_rows, bench.writer.oldest_age_s) == (0, 0.0)
    assert bench.writer.buffered_bytes == 0


def test_an_old_partition_may_lag_by_a_sixteenth_of_its_age_also_after_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    bench.now_ms += 8 * HOUR_MS
    bench.start()
    bench.put(2, event_rows(10, 10))
    bench.turn_at(bench.now_ms + 29 * 60_000)
    assert bench.writer.buffered_rows == 10
    bench.turn_at(bench.now_ms + 3 * 60_000)
    assert bench.writer.buffered_rows == 0


def test_a_flush_answers_with_the_files_that_hold_what_was_put_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.put(2, snapshot_rows(0, 3), Kind.SNAPSHOTS)
    bench.put(3, event_rows(0, 5, workspace_id=8))
    result = bench.flush(workspace_id=7)
    assert result.flushed_rows == 13
    assert {file.path: file.rows for file in result.files} == {
        "7/2026-01-01/events.parquet": 10,
        "7/2026-01-01/snapshots.parquet": 3,
    }
    assert bench.writer.open_partitions == 1
    assert bench.flush(workspace_id=7).flushed_rows == 0
    assert bench.flush().flushed_rows == 5


def test_a_flush_of_some_partitions_leaves_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.put(2, event_rows(0, 5, workspace_id=8))
    future = bench.writer.flush(partitions=[Partition(8, "2026-01-01", None, EVENTS)])
    bench.writer.turn()
    assert future.result(timeout=0).flushed_rows == 5
    assert bench.writer.buffered_rows == 10


def test_hourly_rotation_has_a_folder_per_hour(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(rotation=Rotation.HOURLY))
    rows = [event_rows(0, 5), event_rows(5, 5, received_ms=NOON_MS + HOUR_MS)]
    bench.put(1, pa.concat_batches(rows))
    bench.flush()
    assert published(bench.data) == {
        "7/2026-01-01/12/events.parquet": [0, 1, 2, 3, 4],
        "7/2026-01-01/13/events.parquet": [5, 6, 7, 8, 9],
    }


def test_a_passed_day_is_flushed_at_once_and_sealed_a_while_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(flush_interval_ms=10 * DAY_MS))
    bench.now_ms = MIDNIGHT_MS - 10
    bench.put(1, event_rows(0, 10))
    bench.turn_at(MIDNIGHT_MS + 500)
    assert published(bench.data) == {}
    bench.turn_at(MIDNIGHT_MS + 1_000)
    [file] = bench.manifest.files()
    assert (file.rows, file.sealed) == (10, False)
    bench.put(2, event_rows(10, 1))
    bench.turn_at(MIDNIGHT_MS + 5_000)
    bench.turn_at(MIDNIGHT_MS + 60_000)
    [file] = bench.manifest.files()
    assert (file.rows, file.sealed) == (11, True)


def test_a_sealed_file_never_changes_and_late_rows_go_to_the_next_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    bench.turn_at(MIDNIGHT_MS + 60_000)
    sealed = (bench.data / "7/2026-01-01/events.parquet").read_bytes()
    bench.put(2, event_rows(10, 2))
    bench.flush()
    assert (bench.data / "7/2026-01-01/events.parquet").read_bytes() == sealed
    assert published(bench.data)["7/2026-01-01/events-0001.parquet"] == [10, 11]
    bench.turn_at(bench.now_ms + 1_000)
    assert [file.sealed for file in bench.manifest.files()] == [True, True]


def test_files_that_a_restart_finds_unsealed_are_sealed_when_their_day_has_passed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    bench.now_ms = MIDNIGHT_MS + DAY_MS
    bench.start()
    bench.writer.turn()
    assert [file.sealed for file in bench.manifest.files()] == [False], "replay may still bring rows"
    bench.turn_at(bench.now_ms + 60_000)
    assert [file.sealed for file in bench.manifest.files()] == [True]


@pytest.mark.parametrize("payload_bytes", [40, 400, 4000])
def test_no_file_is_larger_than_the_limit(tmp_path: Path, payload_bytes: int) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_file_bytes=64 << 10, row_group_rows=500))
    for lsn in range(1, 9):
        bench.put(lsn, event_rows(lsn * 1000, 150, payload_bytes=payload_bytes))
        bench.flush()
    files = sorted(bench.manifest.files(), key=lambda file: file.number)
    sizes = [(bench.data / file.path).stat().st_size for file in files]
    assert sizes == [file.bytes for file in files]
    assert max(sizes) <= 64 << 10
    assert [file.number for file in files] == list(range(len(files)))
    assert [file.sealed for file in files[:-1]] == [True] * (len(files) - 1)
    assert all_timestamps(bench.data) == [lsn * 1000 + n for lsn in range(1, 9) for n in range(150)]


def test_one_large_flush_fills_files_to_near_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_file_bytes=1 << 20))
    bench.put(1, event_rows(0, 40_000))
    bench.flush()
    sizes = [file.bytes for file in bench.manifest.files()]
    assert len(sizes) > 2
    assert all(0.9 * (1 << 20) <= size <= 1 << 20 for size in sizes[:-1])
    assert all_timestamps(bench.data) == list(range(40_000))


def test_a_row_larger_than_any_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_file_bytes=16 << 10))
    bench.put(
        1, pa.concat_batches([event_rows(0, 1), event_rows(1, 1, payload_bytes=100_000), event_rows(2, 1)])
    )
    bench.flush()
    assert sorted(published(bench.data).values()) == [[0], [1], [2]]


def test_the_journal_is_trimmed_below_the_oldest_unpublished_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 1))
    bench.put(2, event_rows(0, 1, workspace_id=8))
    bench.put(3, event_rows(1, 1))
    bench.flush(workspace_id=7)
    assert bench.trimmed == 1
    bench.flush(workspace_id=8)
    assert bench.trimmed == 3


def test_replayed_rows_that_are_published_are_dropped_by_partition(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    both = pa.concat_batches([event_rows(0, 5), event_rows(5, 5, workspace_id=8)])
    bench.put(1, both)
    bench.flush(workspace_id=7)
    bench.start()
    bench.writer.turn()
    assert bench.writer.buffered_rows == 5
    bench.flush()
    assert all_timestamps(bench.data) == list(range(10))


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Rotation, 2)))
def test_a_changed_rotation_does_not_publish_rows_again(
    tmp_path: Path, before: Rotation, after: Rotation
) -> None:
    """The journal still holds two frames; of the second one hour is published, where that is possible."""
    bench = Bench(tmp_path, policy=WriterPolicy(rotation=before))
    later_ms = NOON_MS + HOUR_MS
    bench.put(1, event_rows(0, 5))
    bench.flush()
    bench.put(2, pa.concat_batches([event_rows(5, 5), event_rows(10, 5, received_ms=later_ms)]))
    bench.writer.flush(partitions=[Partition(7, "2026-01-01", 12, EVENTS)])
    bench.writer.turn()
    bench.put(3, event_rows(15, 5, received_ms=later_ms))
    bench.journal[1] = EVENTS, event_rows(0, 5)  # a frame goes only with its segment
    bench.policy = WriterPolicy(rotation=after)
    bench.journal = dict(sorted(bench.journal.items()))
    bench.start()
    bench.writer.turn(everything=True)
    assert all_timestamps(bench.data) == list(range(20))


def test_accounts_cover_rows_from_the_moment_they_are_put(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 5))
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(buffered=5)}
    bench.writer.turn()
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(buffered=5)}
    bench.flush()
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(published=5)}
    bench.start()
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(published=5)}


def test_many_small_batches_are_joined(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for lsn in range(1, 1001):
        bench.put(lsn, event_rows(lsn, 1))
    bench.writer.turn()
    assert bench.writer.buffered_bytes < 1000 * 400
    bench.flush()
    assert all_timestamps(bench.data) == list(range(1, 1001))
    assert bench.writer.buffered_bytes == 0


def bad_rows() -> pa.RecordBatch:
    """Ten events; the seventh has no payload, the third a name that is not UTF-8."""
    rows = event_rows(0, 10)
    payload = rows.column("payload").to_pylist()
    payload[6] = None
    names = rows.column("event_name").cast(pa.binary()).to_pylist()
    names[2] = b"\xff\xfe"
    broken = pa.array(names, pa.binary()).view(pa.string())
    schema = SCHEMAS[EVENTS]
    columns = [*rows.columns[:4], broken, *rows.columns[5:8], pa.array(payload, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_a_row_that_cannot_be_encoded_is_set_aside_and_the_others_are_published(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, bad_rows())
    bench.put(2, event_rows(10, 5))
    assert bench.flush().flushed_rows == 13
    assert all_timestamps(bench.data) == [n for n in range(15) if n not in (2, 6)]
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(published=13, quarantined=2)}
    assert bench.trimmed == 2
    kept = {}
    for record in bench.manifest.quarantined():
        table = pa.ipc.open_file(bench.paths.quarantine / record.path).read_all()
        assert table.schema.metadata[ERROR_KEY].decode() == record.error
        kept[record.error] = table["timestamp"].to_pylist()
    assert sorted(kept.values()) == [[2], [6]]
    bench.start()
    assert bench.writer.account() == {(7, EVENTS): RowNumbers(published=13, quarantined=2)}


def test_a_flush_of_nothing_but_bad_rows_comes_to_an_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, bad_rows().slice(6, 1))
    assert bench.flush().flushed_rows == 0
    assert (bench.trimmed, bench.writer.buffered_rows, published(bench.data)) == (1, 0, {})
    bench.journal = {1: (EVENTS, bad_rows().slice(6, 1))}
    bench.start()
    bench.writer.turn()
    assert bench.writer.buffered_rows == 0


def test_memory_pressure_publishes_the_largest_partitions_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_buffered_bytes=200_000, early_flush_bytes=0))
    bench.put(1, event_rows(0, 10))
    bench.put(2, event_rows(0, 700, workspace_id=8))
    bench.writer.turn()
    assert list(published(bench.data)) == ["8/2026-01-01/events.parquet"]


def test_a_long_journal_publishes_the_oldest_rows(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_journal_bytes=1000))
    for lsn in range(1, 5):
        bench.put(lsn, event_rows(0, 10, workspace_id=lsn))
    bench.writer.turn()
    assert bench.trimmed == 0
    bench.journal_bytes = 501
    bench.turn_at(NOON_MS + 10)
    assert bench.trimmed == 2


def test_a_full_disk_is_reported_and_tried_again_and_nothing_is_lost(tmp_path: Path) -> None:
    fs = MoodyFS(full=lambda call, path: path.suffix == ".staged")
    bench = Bench(tmp_path, fs)
    bench.put(1, event_rows(0, 10))
    future = bench.writer.flush()
    bench.writer.turn()
    assert not future.done()
    assert "No space left" in str(bench.writer.problem)
    assert bench.writer.buffered_rows == 10
    attempts = fs.attempts
    bench.writer.turn()
    assert fs.attempts == attempts  # the pause is not over
    bench.put(2, event_rows(10, 10))
    fs.full = never
    bench.turn_at(bench.now_ms + 10_000)
    assert future.result(timeout=0).flushed_rows == 20
    assert bench.writer.problem is None
    assert all_timestamps(bench.data) == list(range(20))
    assert bench.writer.buffered_bytes == 0


def test_an_error_between_two_renames_is_made_good_before_anything_else(tmp_path: Path) -> None:
    fs = MoodyFS(full=lambda call, path: path.name == "snapshots.parquet")
    bench = Bench(tmp_path, fs)
    bench.put(1, event_rows(0, 10))
    bench.put(2, snapshot_rows(10, 10), Kind.SNAPSHOTS)
    future = bench.writer.flush()
    bench.writer.turn()
    bench.put(3, event_rows(20, 10))
    bench.writer.turn()
    assert (bench.writer.buffered_rows, bench.trimmed, bench.manifest.files()) == (30, 0, ())
    later = bench.writer.flush()
    fs.full = never
    bench.turn_at(bench.now_ms + 10_000)
    assert future.result(timeout=0).flushed_rows == 20
    assert later.result(timeout=0).flushed_rows == 30
    assert all_timestamps(bench.data) == list(range(30))
    assert bench.trimmed == 3


def test_the_thread_publishes_and_drains_at_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.writer.start()
    bench.put(1, event_rows(0, 10))
    assert bench.writer.flush().result(timeout=30).flushed_rows == 10
    bench.put(2, event_rows(10, 10))
    assert bench.writer.close(deadline_s=30)
    assert all_timestamps(bench.data) == list(range(20))
    assert isinstance(bench.writer.flush().exception(timeout=0), WriterStopped)
    assert bench.fatal == []


def test_a_failed_sync_ends_the_writer_and_is_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MoodyFS(lost=lambda call, path: path.suffix == ".staged"))
    bench.put(1, event_rows(0, 10))
    future = bench.writer.flush()
    bench.writer.start()
    assert isinstance(future.exception(timeout=30), SyncFailed)
    assert not bench.writer.close(deadline_s=30)
    assert [type(error) for error in bench.fatal] == [SyncFailed]
    assert published(bench.data) == {}


def test_a_foreign_file_is_never_overwritten(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    foreign = bench.data / "7/2026-01-01/events.parquet"
    foreign.parent.mkdir(parents=True)
    pq.write_table(pa.table({"timestamp": [1]}), foreign)
    before = foreign.read_bytes()
    assert bench.start().files.unknown == ["7/2026-01-01/events.parquet"]
    bench.put(1, event_rows(0, 3))
    bench.flush()
    assert foreign.read_bytes() == before
    assert published(bench.data)["7/2026-01-01/events-0001.parquet"] == [0, 1, 2]
