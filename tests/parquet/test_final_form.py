"""A day that is over is laid again, once: sorted, in few row groups, and no reader notices."""

import errno
import os
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.annotation import Annotation
from app.parquet.laid_again import LayingPolicy
from app.parquet.layout import Layout
from app.publish.final_policy import FinalPolicy
from app.publish.retention_rules import RetentionPolicy, RetentionRule
from app.publish.rotation import WriterPolicy
from app.run.snapshot import take_snapshot
from app.schema import SCHEMAS
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS
from tests.parquet.rows import (
    DAY_MS,
    NOON_MS,
    all_timestamps,
    event_rows,
    log_rows,
    published,
    snapshot_rows,
)
from tests.support.simulated_disk import Crash

PATH = "7/2026-01-01/events.parquet"
GRACE_MS = 3_600_000
OVER_MS = NOON_MS + DAY_MS
ROWS = 300
FLUSHES = 10


PLAIN = Layout()
ANNOTATED = Layout(annotations=frozenset(Annotation))


def policy(layout: Layout = PLAIN, final: Layout | None = None, **changes: Any) -> WriterPolicy:
    laying = LayingPolicy(layout=final or layout, sort=("timestamp", "device_id"))
    final_policy = FinalPolicy(laying=laying, interval_ms=0, free_bytes_min=0)
    rules = WriterPolicy(layout=layout, final=final_policy, grace_ms=GRACE_MS)
    return msgspec.structs.replace(rules, **changes)


def policy_with(rules: WriterPolicy, laying: LayingPolicy) -> WriterPolicy:
    assert rules.final is not None
    return msgspec.structs.replace(rules, final=msgspec.structs.replace(rules.final, laying=laying))


def a_day(tmp_path: Path, fs: DurableFS | None = None, rules: WriterPolicy | None = None) -> Bench:
    """A file of many row groups, whose rows come in the wrong order."""
    bench = Bench(tmp_path, fs, rules or policy())
    for flush in range(FLUSHES):
        bench.put(flush + 1, event_rows(ROWS * (FLUSHES - flush - 1), ROWS))
        bench.flush()
    return bench


def over(bench: Bench) -> None:
    """The day has passed, its files are sealed, and one of them is laid again."""
    bench.turn_at(OVER_MS)


def four_graces(bench: Bench, begin_ms: int) -> None:
    for turn in range(4):
        bench.turn_at(begin_ms + turn * GRACE_MS)


def footer_of(path: Path) -> pq.FileMetaData:
    return pq.read_metadata(path)


def read_with(footer: pq.FileMetaData, path: Path) -> list[int]:
    """As a query does that has the footer since before, and opens the path again."""
    file = pq.ParquetFile(path, metadata=footer, page_checksum_verification=True)
    return sorted(file.read()["timestamp"].to_pylist())


def test_a_day_that_is_over_is_sorted_in_few_row_groups(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    before = bench.data.joinpath(PATH).read_bytes()
    over(bench)
    after = bench.data.joinpath(PATH).read_bytes()
    assert after.startswith(before), "bytes never move"
    assert published(bench.data) == {PATH: list(range(ROWS * FLUSHES))}
    footer = footer_of(bench.data / PATH)
    assert footer.num_row_groups == 1
    assert [column.column_index for column in footer.row_group(0).sorting_columns] == [0, 5]
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert (file.rows, file.bytes, file.row_groups, file.sealed) == (3000, len(after), 1, True)
    assert file.final.dead == ((4, len(before)),)


def test_the_old_bytes_stay_for_the_grace_and_go_after_it(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    path = bench.data / PATH
    old = footer_of(path)
    old_bytes = path.stat().st_size
    over(bench)
    laid_ms = bench.now_ms
    size = path.stat().st_size
    bench.turn_at(laid_ms + GRACE_MS - 1_000)
    assert read_with(old, path) == list(range(ROWS * FLUSHES)), "a query that began before goes on"
    blocks = path.stat().st_blocks
    bench.turn_at(laid_ms + GRACE_MS)
    data = path.read_bytes()
    assert data[:4] == b"PAR1"
    assert not any(data[4:old_bytes])
    assert len(data) == size
    assert path.stat().st_blocks < blocks
    assert published(bench.data) == {PATH: list(range(ROWS * FLUSHES))}
    (file,) = bench.manifest.files()
    assert (file.bytes, file.disk_bytes) == (size, size - old_bytes + 4)
    with pytest.raises((OSError, pa.ArrowException)):
        read_with(old, path)


def test_a_restart_knows_what_is_still_to_be_given_back(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    over(bench)
    laid_ms = bench.now_ms
    report = bench.start()
    assert (report.files.changed, report.files.unknown) == ([], [])
    bench.turn_at(laid_ms + GRACE_MS - 1_000)
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert not file.final.given_back
    bench.turn_at(laid_ms + GRACE_MS)
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert file.final.given_back
    before = bench.data.joinpath(PATH).stat()
    bench.start()
    bench.turn_at(laid_ms + 3 * GRACE_MS)
    after = bench.data.joinpath(PATH).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "once is enough"


def test_a_clock_that_is_set_ahead_does_not_shorten_the_grace(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    over(bench)
    timer_ms = bench.now_ms
    bench.writer._passed._giving_back._timer = lambda: timer_ms  # type: ignore[union-attr]
    bench.turn_at(bench.now_ms + 30 * DAY_MS)
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert not file.final.given_back


@pytest.mark.parametrize("lost", ["manifest", "intent and record"])
def test_what_was_laid_again_is_known_by_its_footer(tmp_path: Path, lost: str) -> None:
    bench = a_day(tmp_path, rules=policy(max_file_bytes=40_000))
    manifest = bench.paths.manifest.read_bytes()
    files = len(bench.manifest.files())
    assert files > 1, "one that begins within a commit is among them"
    for turn in range(files + 2):
        bench.turn_at(OVER_MS + turn)
    laid = [file.path for file in bench.manifest.files() if file.final is not None]
    assert laid
    if lost == "manifest":
        bench.paths.manifest.unlink()
    else:
        bench.paths.manifest.write_bytes(manifest)
    report = bench.start()
    assert (report.files.unknown, report.files.incomplete, report.files.broken) == ([], [], [])
    again = [file for file in bench.manifest.files() if file.final is not None]
    assert [file.path for file in again] == laid
    assert all(file.sealed for file in again)
    assert sorted(t for rows in published(bench.data).values() for t in rows) == list(range(ROWS * FLUSHES))
    bench.turn_at(bench.now_ms + GRACE_MS + 1)
    assert all(file.final is None or file.final.given_back for file in bench.manifest.files())
    assert sorted(t for rows in published(bench.data).values() for t in rows) == list(range(ROWS * FLUSHES))


def test_a_file_that_begins_within_a_commit_is_known_by_its_footer(tmp_path: Path) -> None:
    """The manifest is older than the last files that were laid again, and not than the commit before."""
    bench = Bench(tmp_path, policy=policy(max_file_bytes=40_000, row_group_rows=20))
    bench.put(1, event_rows(0, 900))
    bench.flush()
    bench = Bench(tmp_path, policy=policy(max_file_bytes=40_000), journal=bench.journal)
    over(bench)
    manifest = bench.paths.manifest.read_bytes()
    for turn in range(len(bench.manifest.files())):
        bench.turn_at(OVER_MS + turn)
    files = bench.manifest.files()
    assert len(files) > 2
    assert all(file.final is not None for file in files)
    bench.paths.manifest.write_bytes(manifest)
    report = bench.start()
    assert (report.files.unknown, report.files.incomplete, report.files.broken) == ([], [], [])
    assert all(file.final is not None for file in bench.manifest.files())
    assert all_timestamps(bench.data) == list(range(900))


def test_late_rows_go_to_the_next_number(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    over(bench)
    bench.put(50, event_rows(9_000, 5))
    bench.flush()
    assert set(published(bench.data)) == {PATH, PATH.replace("events", "events-0001")}


def test_a_file_of_few_row_groups_stays_as_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=policy())
    for flush in range(3):
        bench.put(flush + 1, event_rows(ROWS * flush, ROWS))
        bench.flush()
    over(bench)
    (file,) = bench.manifest.files()
    assert file.sealed
    assert file.final is None


def test_memory_is_bounded_by_sections_each_of_them_sorted(tmp_path: Path) -> None:
    rules = policy(row_group_bytes=30_000)
    assert rules.final is not None
    laying = msgspec.structs.replace(rules.final.laying, section_bytes=150_000)
    bench = Bench(tmp_path, policy=policy_with(rules, laying))
    for flush in range(40):
        bench.put(flush + 1, event_rows(50 * (40 - flush - 1), 50))
        bench.flush()
    over(bench)
    footer = footer_of(bench.data / PATH)
    assert 1 < footer.num_row_groups < 20
    file = pq.ParquetFile(bench.data / PATH)
    groups = [file.read_row_group(n)["timestamp"].to_pylist() for n in range(footer.num_row_groups)]
    assert all(group == sorted(group) for group in groups)
    assert sorted(chain.from_iterable(groups)) == list(range(2000))


@pytest.mark.parametrize(
    ("layout", "final_layout"),
    [
        (Layout(), Layout(codec="zstd", level=9)),
        (ANNOTATED, ANNOTATED),
        (Layout(ids_as_binary=True), Layout(ids_as_binary=True)),
    ],
    ids=["another codec", "annotated", "ids as binary"],
)
def test_the_rows_are_the_same_in_every_column(tmp_path: Path, layout: Layout, final_layout: Layout) -> None:
    bench = a_day(tmp_path, rules=policy(layout, final_layout))
    before = pq.read_table(bench.data / PATH).sort_by("timestamp")
    over(bench)
    after = pq.read_table(bench.data / PATH)
    assert after.equals(before)
    (file,) = bench.manifest.files()
    assert file.compression == final_layout.codec
    used = footer_of(bench.data / PATH).row_group(0).column(0).compression
    assert used.lower() == final_layout.codec


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_left_as_it_is(tmp_path: Path, at: float, caplog: pytest.LogCaptureFixture) -> None:
    bench = a_day(tmp_path)
    path = bench.data / PATH
    data = bytearray(path.read_bytes())
    first = footer_of(path).row_group(int(at * 10)).column(8)
    data[first.data_page_offset + first.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    over(bench)
    bench.turn_at(bench.now_ms + 2 * GRACE_MS)
    assert path.read_bytes() == data
    assert "stays as it is" in caplog.text
    assert os.listdir(bench.paths.staging(bench.fs)) == []


def test_files_of_another_configuration_keep_their_columns(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    bench = Bench(tmp_path, policy=policy(ANNOTATED), journal=bench.journal)
    over(bench)
    over(bench)
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert published(bench.data) == {PATH: list(range(ROWS * FLUSHES))}
    assert "JSON" not in str(footer_of(bench.data / PATH).schema)


def test_a_file_that_is_replaced_by_somebody_is_not_punched(tmp_path: Path) -> None:
    bench = a_day(tmp_path)
    over(bench)
    path = bench.data / PATH
    somebodys = b"x" * path.stat().st_size
    path.write_bytes(somebodys)
    bench.turn_at(bench.now_ms + 2 * GRACE_MS)
    assert path.read_bytes() == somebodys


def test_where_a_file_system_has_no_holes_the_old_bytes_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Solid(DurableFS):
        def punch(self, path: Path, start: int, stop: int) -> None:
            raise OSError(95, "not supported", str(path))

    bench = a_day(tmp_path, Solid())
    caplog.set_level("INFO")
    over(bench)
    for turn in range(3):
        bench.turn_at(bench.now_ms + 2 * GRACE_MS + turn)
    assert caplog.text.count("cannot free part of a file") == 1
    (file,) = bench.manifest.files()
    assert file.disk_bytes == file.bytes
    assert published(bench.data) == {PATH: list(range(ROWS * FLUSHES))}


class OtherDisk(DurableFS):
    """No link leads to it."""

    def link(self, source: Path, destination: Path) -> None:
        raise OSError(errno.EXDEV, "is on another disk", str(destination))


@pytest.mark.parametrize("given_back", [False, True])
def test_a_copy_has_the_final_form_without_the_old_bytes(tmp_path: Path, given_back: bool) -> None:
    bench = a_day(tmp_path)
    over(bench)
    if given_back:
        bench.turn_at(bench.now_ms + GRACE_MS)
    copied = take_snapshot(OtherDisk(), bench.paths, tmp_path / "copy")
    assert (copied.copied, copied.rows) == (1, ROWS * FLUSHES)
    copy = tmp_path / "copy/parquet" / PATH
    (file,) = bench.manifest.files()
    assert copy.stat().st_size == file.bytes
    assert file.final is not None
    assert copy.stat().st_blocks * 512 <= file.bytes - file.final.dead_bytes + 4 * 4096
    assert published(tmp_path / "copy/parquet") == {PATH: list(range(ROWS * FLUSHES))}


def test_a_file_that_is_too_old_goes_while_it_is_laid_again(tmp_path: Path) -> None:
    rule = RetentionRule(None, None, 2 * DAY_MS)
    bench = a_day(tmp_path, rules=policy(retention=RetentionPolicy((rule,), interval_ms=0)))
    beside = bench.writer._passed._final._beside  # type: ignore[union-attr]
    begun: list[Any] = []
    beside.begin = begun.append  # type: ignore[method-assign]
    over(bench)
    beside._outcomes.put((begun[0](lambda seconds: None), None))
    bench.turn_at(NOON_MS + 4 * DAY_MS)
    assert published(bench.data) == {}
    assert bench.manifest.files() == ()
    assert os.listdir(bench.paths.staging(bench.fs)) == []
    line = bench.writer.account()[7, Kind.EVENTS]
    assert (line.published, line.removed) == (0, ROWS * FLUSHES)
    bench.start()
    assert bench.report.files.unknown == []


def test_a_file_that_was_laid_again_is_removed_when_it_is_too_old(tmp_path: Path) -> None:
    rule = RetentionRule(None, None, 2 * DAY_MS)
    bench = a_day(tmp_path, rules=policy(retention=RetentionPolicy((rule,), interval_ms=0)))
    over(bench)
    bench.turn_at(NOON_MS + 4 * DAY_MS)
    assert not bench.data.joinpath(PATH).exists()
    assert bench.manifest.files() == ()


@pytest.mark.parametrize("kind", list(Kind))
def test_files_can_be_sorted_by_every_column_but_the_payload(kind: Kind, tmp_path: Path) -> None:
    make = {Kind.EVENTS: event_rows, Kind.SNAPSHOTS: snapshot_rows, Kind.LOGS: log_rows}[kind]
    rules = policy()
    assert rules.final is not None
    names = tuple(name for name in SCHEMAS[kind].names if name != "payload")
    laying = msgspec.structs.replace(rules.final.laying, sort=(names[-1], *names[:-1]))
    bench = Bench(tmp_path, policy=policy_with(rules, laying))
    for flush in range(5):
        bench.put(flush + 1, make(10 * flush, 10), kind)
        bench.flush()
    over(bench)
    (file,) = bench.manifest.files()
    assert file.final is not None
    assert all_timestamps(bench.data) == list(range(50))


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
def test_killed_in_between_a_start_goes_on(tmp_path: Path, call: str, name: str) -> None:
    fs = MoodyFS()
    bench = a_day(tmp_path, fs)
    died = False

    def dies(made: str, path: Path) -> bool:
        nonlocal died
        sealed = all(file.sealed for file in bench.manifest.files())
        hit = sealed and (made, path.name) == (call, name)
        died = died or hit
        return hit

    fs.dies = dies
    with pytest.raises(Crash):
        four_graces(bench, OVER_MS)
    assert died
    again = Bench(tmp_path, policy=policy())
    assert again.report.files.unknown == []
    four_graces(again, OVER_MS + 4 * GRACE_MS)
    assert published(again.data) == {PATH: list(range(ROWS * FLUSHES))}
    (file,) = again.manifest.files()
    assert file.final is not None
    assert file.final.given_back
    assert again.writer.account()[7, Kind.EVENTS].published == ROWS * FLUSHES
