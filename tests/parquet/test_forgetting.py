"""Rows of one device, user or condition are taken out of published files, and of every byte below them."""

import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.api.wanted_rows import wanted_of
from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.annotation import Annotation
from app.parquet.layout import Arranger, Layout
from app.parquet.wanted import Wanted, matching
from app.publish.forgetting import ForgetCommand, Forgotten
from app.publish.intake import WriterStopped
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS
from tests.parquet.rows import DAY_MS, NOON_MS, all_timestamps, event_rows, published
from tests.parquet.test_final_form import GRACE_MS, policy
from tests.support.simulated_disk import Crash

PATH = "7/2026-01-01/events.parquet"
DEVICE = uuid.UUID("9f86d081-884c-4d63-a8a1-8c5b2f3e4d5c")
SECRET = b"somebody's secret"
WANTED = wanted_of(None, str(DEVICE), None, {})


def with_device(rows: pa.RecordBatch, every: int, column: str = "device_id") -> pa.RecordBatch:
    """Every so many rows are the device's, and say a secret."""
    table = {name: rows.column(name) for name in rows.schema.names}
    ours = [number % every == 0 for number in range(rows.num_rows)]
    table[column] = pa.array(
        [DEVICE.bytes if our else kept for our, kept in zip(ours, table[column].to_pylist(), strict=True)],
        pa.binary(16),
    )
    secret = b'{"user_id":"u-1","note":"%s"}' % SECRET
    payloads = zip(ours, table["payload"].to_pylist(), strict=True)
    table["payload"] = pa.array([secret if our else kept for our, kept in payloads], pa.binary())
    return pa.record_batch(list(table.values()), schema=rows.schema)


def two_days(tmp_path: Path, rules: WriterPolicy | None = None, fs: DurableFS | None = None) -> Bench:
    """A file of a day that is over and one that grows; 3 of 30 rows of each flush are the device's."""
    bench = Bench(tmp_path, fs, rules or policy())
    for flush in range(5):
        bench.put(flush + 1, with_device(event_rows(30 * flush, 30), 10))
        bench.flush()
    bench.now_ms = NOON_MS + DAY_MS
    for flush in range(5, 8):
        rows = with_device(event_rows(30 * flush, 30, received_ms=bench.now_ms), 10)
        bench.put(flush + 1, rows)
        bench.flush()
    return bench


KEPT = [number for number in range(240) if number % 30 % 10]


def forget(bench: Bench, wanted: Wanted = WANTED, *, now: bool = False) -> Forgotten:
    future: Future[Forgotten] = Future()
    bench.writer.forget(ForgetCommand(wanted, now, future))
    bench.writer.turn()
    return future.result(timeout=0)


def traces(directory: Path) -> list[Path]:
    """Files with a byte of it, whatever they are."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if any(what in path.read_bytes() for what in (DEVICE.bytes, SECRET))]


def test_now_nothing_is_left_of_the_rows(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    assert traces(tmp_path)
    done = forget(bench, now=True)
    assert (done.rows, done.left, done.looked_at) == (24, [], 2)
    assert all(file.are_zeros for file in done.files)
    assert all_timestamps(bench.data) == KEPT
    assert traces(tmp_path) == []
    assert forget(bench, now=True).files == [], "a second time there is nothing"
    line = bench.writer.account()[7, Kind.EVENTS]
    assert (line.accepted, line.published, line.removed) == (240, 216, 24)


def test_else_the_old_bytes_go_after_the_grace(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    path = bench.data / PATH
    old = pq.read_metadata(path)
    done = forget(bench)
    assert [file.are_zeros for file in done.files] == [False, False]
    assert all_timestamps(bench.data) == KEPT
    before = pq.ParquetFile(path, metadata=old).read()
    assert before.num_rows == 150, "a query that began before goes on"
    bench.turn_at(bench.now_ms + GRACE_MS)
    assert traces(tmp_path) == []
    assert all_timestamps(bench.data) == KEPT


def test_rows_that_come_later_stand_in_the_next_file(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    forget(bench, now=True)
    bench.put(50, event_rows(300, 5, received_ms=bench.now_ms))
    bench.flush()
    assert set(published(bench.data)) == {
        PATH,
        PATH.replace("01-01/", "01-02/"),
        PATH.replace("01-01/events", "01-02/events-0001"),
    }
    assert all_timestamps(bench.data) == [*KEPT, *range(300, 305)]


def test_a_file_in_its_final_form_is_laid_again_once_more(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    bench.turn_at(bench.now_ms + DAY_MS)
    bench.turn_at(bench.now_ms + GRACE_MS)
    (final, *_) = [file for file in bench.manifest.files() if file.final is not None]
    assert final.final is not None
    assert final.final.given_back
    done = forget(bench, now=True)
    assert done.rows == 24
    assert traces(tmp_path) == []
    assert all_timestamps(bench.data) == KEPT


def test_a_restart_knows_what_was_forgotten(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    forget(bench)
    for _ in range(2):
        report = bench.start()
        assert (report.files.unknown, report.files.changed) == ([], [])
        line = bench.writer.account()[7, Kind.EVENTS]
        assert (line.accepted, line.published, line.removed) == (240, 216, 24)
    bench.turn_at(bench.now_ms + 2 * GRACE_MS)
    assert traces(tmp_path) == []


def test_a_file_of_which_nothing_is_left_is_an_empty_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=policy())
    bench.put(1, with_device(event_rows(0, 30), 1))
    bench.flush()
    assert forget(bench, now=True).rows == 30
    assert pq.read_table(bench.data / PATH).num_rows == 0
    assert traces(tmp_path) == []
    bench.start()
    assert bench.report.files.changed == []


def test_where_the_file_system_has_no_holes_the_bytes_are_overwritten(tmp_path: Path) -> None:
    class Solid(DurableFS):
        def punch(self, path: Path, start: int, stop: int) -> None:
            raise OSError(95, "not supported", str(path))

    bench = two_days(tmp_path, fs=Solid())
    done = forget(bench, now=True)
    assert all(file.are_zeros for file in done.files)
    assert traces(tmp_path) == []
    assert all_timestamps(bench.data) == KEPT


def test_a_file_that_grows_meanwhile_keeps_its_new_rows(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=policy())
    bench.put(1, with_device(event_rows(0, 30), 10))
    bench.flush()
    beside = bench.writer._passed._forgetting._beside  # type: ignore[union-attr]
    begun: list[Any] = []
    beside.begin = lambda task: (begun.append(task), setattr(beside, "is_busy", True))  # type: ignore[method-assign, assignment]
    future: Future[Forgotten] = Future()
    bench.writer.forget(ForgetCommand(WANTED, True, future))
    bench.writer.turn()
    beside._outcomes.put((begun.pop()(lambda seconds: None), None))
    bench.writer.turn()
    laid = begun.pop()(lambda seconds: None)
    bench.put(2, event_rows(30, 5))
    bench.flush()
    beside._outcomes.put((laid, None))
    bench.writer.turn()
    beside._outcomes.put((begun.pop()(lambda seconds: None), None))
    bench.writer.turn()
    assert future.result(timeout=0).rows == 3
    assert all_timestamps(bench.data) == [number for number in range(35) if number >= 30 or number % 10]
    assert traces(tmp_path) == []


def test_whoever_asks_after_the_end_is_told_so(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    bench.writer.start()
    assert bench.writer.close(deadline_s=30)
    future: Future[Forgotten] = Future()
    bench.writer.forget(ForgetCommand(WANTED, True, future))
    assert isinstance(future.exception(timeout=0), WriterStopped)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bench = two_days(tmp_path)
    path = bench.data / PATH
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(8)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    done = forget(bench, now=True)
    assert [left.path for left in done.left] == [PATH]
    assert done.rows == 9, "the other file is done"
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("rename", "publish-intent"),
        ("rename", "events.parquet"),
        ("sync_directory", "2026-01-01"),
        ("unlink", "publish-intent"),
        ("punch", "events.parquet"),
    ],
)
def test_killed_in_between_the_same_request_finds_the_rest(tmp_path: Path, call: str, name: str) -> None:
    fs = MoodyFS()
    bench = two_days(tmp_path, fs=fs)
    fs.dies = lambda made, path: (made, path.name) == (call, name)
    with pytest.raises(Crash):
        forget(bench, now=True)
    again = Bench(tmp_path, policy=policy())
    again.now_ms = bench.now_ms
    assert again.report.files.unknown == []
    assert forget(again, now=True).left == []
    again.turn_at(again.now_ms + 2 * GRACE_MS)
    assert traces(tmp_path) == []
    assert all_timestamps(again.data) == KEPT
    line = again.writer.account()[7, Kind.EVENTS]
    assert (line.accepted, line.published, line.removed) == (240, 216, 24)


@pytest.mark.parametrize(
    "layout",
    [Layout(), Layout(annotations=frozenset(Annotation)), Layout(ids_as_binary=True)],
    ids=["plain", "annotated", "ids as binary"],
)
def test_who_is_meant(layout: Layout) -> None:
    rows = pa.Table.from_batches([with_device(event_rows(0, 30), 10)])
    rows, _ = Arranger(layout).arrange(rows, Kind.EVENTS)

    def count(wanted: Wanted) -> int:
        return int(matching(rows, wanted).true_count)

    assert count(WANTED) == 3
    assert count(wanted_of(None, DEVICE.hex, None, {})) == 3
    assert count(wanted_of(None, None, "u-1", {})) == 3
    assert count(wanted_of(None, None, "u-2", {})) == 0
    assert count(wanted_of(None, str(DEVICE), "u-2", {})) == 0, "all conditions hold"
    assert count(wanted_of(None, None, None, {"timestamp": "7"})) == 1
    assert count(wanted_of(None, None, None, {"$.n": "7"})) == 1
    assert count(wanted_of(None, None, None, {"$.note": SECRET.decode()})) == 3
    assert count(wanted_of(None, None, None, {"workspace_id": "7", "event_name": "name 1"})) == 1
    assert count(wanted_of(None, None, None, {"source_ip": "1.2.3.4"})) == 30
    assert count(wanted_of(None, None, None, {"level": "info"})) == 0, "events have no such column"


@pytest.mark.parametrize(
    ("device", "user", "where", "message"),
    [
        (None, None, {}, "name the rows by"),
        ("", None, {}, "an id is empty"),
        (None, None, {"payload": "x"}, '"payload" must be one of'),
        (None, None, {"colour": "x"}, '"colour" must be one of'),
        (None, None, {"timestamp": "noon"}, "must be a number"),
        (None, None, {"source_ip": "home"}, "is not an IP address"),
        (None, None, {"$plan": "x"}, "is not a path"),
    ],
)
def test_what_cannot_be_meant_is_said(
    device: str | None, user: str | None, where: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wanted_of(None, device, user, where)
