"""Rows that memory has no room for wait in the journal, and are published once and in order."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kinds import Kind
from app.publish.intake import NotPublished, RowNumbers
from app.publish.reading_back import RowsMissing
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS, never
from tests.parquet.rows import all_timestamps, event_rows, published, snapshot_rows

MEMORY = 40_000
POLICY = WriterPolicy(max_buffered_bytes=MEMORY, early_flush_bytes=1 << 30, flush_interval_ms=60_000)
"""Nothing is published before the time for the sake of memory."""


def filled(root: Path, frames: int, fs: MoodyFS | None = None) -> Bench:
    bench = Bench(root, fs, policy=POLICY)
    for lsn in range(1, frames + 1):
        bench.put(lsn, event_rows(lsn * 10, 10, workspace_id=lsn % 3))
        if lsn % 7 == 0:
            bench.writer.turn()
        assert bench.writer.buffered_bytes <= MEMORY
    return bench


def publish_all(bench: Bench) -> None:
    for _ in range(300):
        bench.turn_at(bench.now_ms + 11_000)
        if bench.writer.buffered_rows == 0:
            break


def expected(frames: int) -> list[int]:
    return list(range(10, frames * 10 + 10))


def test_what_waits_is_more_than_memory_holds_and_is_published_once(tmp_path: Path) -> None:
    bench = filled(tmp_path, 500)
    assert (published(bench.data), bench.trimmed) == ({}, 0)
    assert bench.writer.buffered_rows == 5_000
    assert bench.writer.account() == {
        (workspace, Kind.EVENTS): RowNumbers(buffered=rows)
        for workspace, rows in ((0, 1660), (1, 1670), (2, 1670))
    }
    future = bench.writer.flush()
    turns = 0
    while not future.done():
        bench.writer.turn()
        turns += 1
        assert bench.writer.buffered_bytes <= 2 * MEMORY
    assert future.result(timeout=0).flushed_rows == 5_000
    assert turns > 10, "in one piece they would have needed more memory"
    assert all_timestamps(bench.data) == expected(500)
    assert all(rows == sorted(rows) for rows in published(bench.data).values())
    assert (bench.writer.buffered_rows, bench.writer.buffered_bytes, bench.trimmed) == (0, 0, 500)


def test_one_pass_over_the_journal_serves_as_many_partitions_as_memory_has_room_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=msgspec.structs.replace(POLICY, max_buffered_bytes=1_000_000))
    frames, workspaces = 60, 50
    for lsn in range(1, frames + 1):
        batches = [event_rows(lsn * 1000 + each, 1, workspace_id=each) for each in range(workspaces)]
        bench.put(lsn, pa.concat_batches(batches))
        bench.writer.turn()
    future = bench.writer.flush()
    while not future.done():
        bench.writer.turn()
    rows = frames * workspaces
    assert 0 < bench.rows_read_back < 5 * rows, "for each partition by itself it would be 50 times"
    assert len(all_timestamps(bench.data)) == rows


def test_an_outage_fills_the_journal_and_not_the_memory(tmp_path: Path) -> None:
    fs = MoodyFS(full=lambda call, path: path.suffix == ".staged")
    bench = filled(tmp_path, 200, fs)
    future = bench.writer.flush()
    for _ in range(50):
        bench.now_ms += 20_000
        bench.writer.turn()
        assert bench.writer.buffered_bytes <= 2 * MEMORY
    assert bench.writer.problem is not None
    assert bench.writer.buffered_rows == 2_000
    fs.full = never
    bench.now_ms += 20_000
    for _ in range(200):
        bench.writer.turn()
    assert future.result(timeout=0).flushed_rows == 2_000
    assert all_timestamps(bench.data) == expected(200)


def test_a_start_leaves_to_the_journal_what_it_finds_there(tmp_path: Path) -> None:
    bench = filled(tmp_path, 300)
    bench.start()
    bench.writer.turn()
    assert bench.writer.buffered_bytes <= MEMORY
    assert bench.writer.buffered_rows == 3_000
    future = bench.writer.flush()
    while not future.done():
        bench.writer.turn()
    assert all_timestamps(bench.data) == expected(300)


def test_a_kill_between_two_passes_publishes_the_rest_once(tmp_path: Path) -> None:
    bench = filled(tmp_path, 300)
    bench.writer.flush()
    bench.writer.turn()
    first = len(all_timestamps(bench.data))
    assert 0 < first < 3_000
    bench.start()
    future = bench.writer.flush()
    while not future.done():
        bench.writer.turn()
    assert all_timestamps(bench.data) == expected(300)


def test_rows_that_the_journal_does_not_give_back_end_the_writer(tmp_path: Path) -> None:
    bench = filled(tmp_path, 100)
    del bench.journal[50]
    bench.writer.flush()
    with pytest.raises(RowsMissing, match="waits with"):
        publish_all(bench)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.integers(1, 60),
            st.integers(0, 4),
            st.sampled_from([Kind.EVENTS, Kind.SNAPSHOTS]),
        ),
        st.tuples(st.just("turn"), st.integers(0, 70_000)),
        st.tuples(st.just("flush"), st.one_of(st.none(), st.integers(0, 4))),
        st.tuples(st.just("break"), st.sampled_from([".staged", "events.parquet", "1"])),
        st.tuples(st.just("mend")),
        st.tuples(st.just("start")),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, memory=st.sampled_from([1, 2_000, 10_000, 1 << 20]))
def test_whatever_comes_each_row_is_published_once(steps: list[Any], memory: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        fs = MoodyFS(full=never)
        policy = WriterPolicy(
            max_buffered_bytes=memory, early_flush_bytes=3_000, max_partitions_per_publication=2
        )
        bench = Bench(Path(directory), fs, policy=policy)
        lsn, put = 0, Counter[int]()
        for step in steps:
            match step:
                case ("put", rows, workspace, kind):
                    lsn += 1
                    make = event_rows if kind is Kind.EVENTS else snapshot_rows
                    bench.put(lsn, make(lsn * 1000, rows, workspace_id=workspace), kind)
                    put[workspace] += rows
                case ("turn", after):
                    bench.turn_at(bench.now_ms + after)
                case ("flush", workspace):
                    bench.writer.flush(workspace)
                case ("break", what):
                    fs.full = lambda call, path, what=what: what in (path.suffix, path.name, path.parent.name)
                case ("mend",):
                    fs.full = never
                case ("start",):
                    bench.start()
            assert sum(line.buffered + line.published for line in bench.writer.account().values()) >= sum(
                put.values()
            )
        fs.full = never
        future = bench.writer.flush()
        publish_all(bench)
        try:
            future.result(timeout=0)
        except NotPublished:
            assert bench.writer.buffered_rows == 0, "what failed when it was asked for was tried again"
        assert sorted(Counter(all_timestamps(bench.data)).values()) == [1] * sum(put.values())
        assert bench.writer.buffered_bytes == 0
