"""Files that are too old are removed whole, once; what they held neither comes back nor counts as lost."""

from pathlib import Path

import msgspec
import pytest

from app.kinds import Kind
from app.publish.manifest import Manifest
from app.publish.retention_rules import RetentionPolicy, RetentionRule
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS, never
from tests.parquet.rows import DAY_MS, NOON_MS, all_timestamps, event_rows, published, snapshot_rows
from tests.support.simulated_disk import Crash

OLD = "8/2026-01-01/events.parquet"
KEPT = "7/2026-01-01/events.parquet"
EXPIRED_MS = NOON_MS + 4 * DAY_MS
POLICY = WriterPolicy(
    retention=RetentionPolicy((RetentionRule(8, None, 2 * DAY_MS),), interval_ms=1_000, files_per_turn=2)
)


def two_workspaces(tmp_path: Path, fs: MoodyFS | None = None) -> Bench:
    bench = Bench(tmp_path, fs, POLICY)
    bench.put(1, event_rows(0, 10))
    bench.put(2, event_rows(10, 10, workspace_id=8))
    bench.flush()
    return bench


def expire(bench: Bench) -> None:
    for turn in range(3):
        bench.turn_at(EXPIRED_MS + turn * 1_000)


def account(bench: Bench, workspace_id: int = 8) -> tuple[int, int, int]:
    """Rows that are accepted, published and removed."""
    line = bench.writer.account()[workspace_id, Kind.EVENTS]
    return line.accepted, line.published, line.removed


def test_a_file_goes_when_its_day_ended_so_long_ago(tmp_path: Path) -> None:
    bench = two_workspaces(tmp_path)
    bench.turn_at(NOON_MS + DAY_MS // 2 + 2 * DAY_MS - 1)
    assert set(published(bench.data)) == {KEPT, OLD}
    bench.turn_at(NOON_MS + DAY_MS // 2 + 2 * DAY_MS + 1_000)
    assert list(published(bench.data)) == [KEPT]
    assert not (bench.data / "8").exists(), "nor do empty directories stay"
    assert bench.manifest.find(OLD) is None
    assert account(bench) == (10, 0, 10)
    assert account(bench, 7) == (10, 10, 0)


def test_a_restart_knows_what_was_removed(tmp_path: Path) -> None:
    bench = two_workspaces(tmp_path)
    expire(bench)
    report = bench.start()
    assert (report.files.removed, report.files.unknown, bench.manifest.lost()) == ([], [], [])
    assert account(bench) == (10, 0, 10)


def test_rows_that_the_journal_still_has_do_not_come_back(tmp_path: Path) -> None:
    """Segments go whole: frames that are published stay readable for a while."""
    bench = Bench(tmp_path, policy=POLICY)
    bench.put(2, event_rows(10, 10, workspace_id=8))
    frames = dict(bench.journal)
    bench.flush()
    bench.journal.update(frames)
    expire(bench)
    bench.journal.update(frames)
    bench.start()
    expire(bench)
    assert account(bench) == (10, 0, 10)
    assert not published(bench.data)


def test_late_rows_of_a_removed_day_have_a_file_of_their_own_and_go_as_well(tmp_path: Path) -> None:
    bench = two_workspaces(tmp_path)
    bench.journal[2] = Kind.EVENTS, event_rows(10, 10, workspace_id=8)  # so its record stays
    bench.turn_at(EXPIRED_MS)
    bench.put(3, event_rows(20, 5, workspace_id=8))
    bench.flush()
    assert account(bench) == (15, 5, 10)
    assert set(published(bench.data)) == {KEPT, OLD.replace("events", "events-0001")}
    bench.journal.clear()
    expire(bench)
    expire(bench)
    assert account(bench) == (15, 0, 15)
    assert bench.manifest.removed() == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("create", "publish-intent.tmp"),
        ("rename", "publish-intent"),
        ("unlink", "publish-intent"),
        ("unlink", "events.parquet"),
        ("sync_directory", "2026-01-01"),
        ("remove_directory", "2026-01-01"),
        ("remove_directory", "8"),
    ],
)
def test_killed_in_between_a_start_goes_on(tmp_path: Path, call: str, name: str) -> None:
    fs = MoodyFS()
    bench = two_workspaces(tmp_path, fs)
    died = False

    def dies(made: str, path: Path) -> bool:
        nonlocal died
        hit = (made, path.name) == (call, name)
        died = died or hit
        return hit

    fs.dies = dies
    with pytest.raises(Crash):
        expire(bench)
    assert died
    bench = Bench(tmp_path, policy=POLICY)
    assert bench.report.files.unknown == []
    expire(bench)
    assert list(published(bench.data)) == [KEPT]
    assert account(bench) == (10, 0, 10)
    assert bench.manifest.leaving() == set()
    before = bench.paths.manifest.read_bytes()
    bench = Bench(tmp_path, policy=POLICY)
    expire(bench)
    assert bench.paths.manifest.read_bytes() == before


def test_files_of_others_and_changed_ones_are_left(tmp_path: Path) -> None:
    bench = two_workspaces(tmp_path)
    (bench.data / OLD).write_bytes(b"somebody's")
    (bench.data / "8/2026-01-01/notes.txt").write_text("mine")
    expire(bench)
    assert (bench.data / OLD).read_bytes() == b"somebody's"
    assert (bench.data / "8/2026-01-01/notes.txt").read_text() == "mine"
    assert bench.manifest.leaving() == set()


def test_what_an_operator_removed_before_counts_as_removed(tmp_path: Path) -> None:
    bench = two_workspaces(tmp_path)
    bench.turn_at(NOON_MS + DAY_MS)
    bench.turn_at(NOON_MS + DAY_MS + POLICY.seal_after_ms)
    (bench.data / OLD).unlink()
    bench.start()
    expire(bench)
    assert account(bench) == (10, 0, 10)
    assert bench.manifest.find(OLD) is None


def test_rows_that_wait_keep_their_partition(tmp_path: Path) -> None:
    fs = MoodyFS()
    bench = two_workspaces(tmp_path, fs)
    bench.put(3, event_rows(20, 5, workspace_id=8))
    fs.full = lambda made, path: made == "rename" and path.name == "events.parquet"
    bench.turn_at(EXPIRED_MS)
    assert account(bench) == (15, 10, 0)
    fs.full = never
    expire(bench)
    expire(bench)
    assert account(bench) == (15, 0, 15)


def test_the_newest_rule_that_fits_closest_counts() -> None:
    policy = RetentionPolicy(
        (
            RetentionRule(None, None, 4),
            RetentionRule(None, Kind.LOGS, 3),
            RetentionRule(7, None, 2),
            RetentionRule(7, Kind.LOGS, 1),
        )
    )
    ages = [policy.age_ms(workspace, kind) for workspace in (7, 8) for kind in (Kind.LOGS, Kind.EVENTS)]
    assert ages == [1, 2, 3, 4]
    assert RetentionPolicy((RetentionRule(7, None, 1),)).age_ms(8, Kind.EVENTS) is None


def test_the_manifest_does_not_grow_with_what_is_gone(tmp_path: Path) -> None:
    """A file a day for a year, of which a month is kept: a log that is rewritten holds that month."""
    policy = msgspec.structs.replace(
        POLICY, retention=RetentionPolicy((RetentionRule(None, None, 30 * DAY_MS),), interval_ms=0)
    )
    bench = Bench(tmp_path, policy=policy)
    for day in range(365):
        now_ms = NOON_MS + day * DAY_MS
        bench.put(2 * day + 1, snapshot_rows(day, 1, received_ms=now_ms), Kind.SNAPSHOTS)
        bench.now_ms = now_ms
        bench.flush()
    bench.turn_at(bench.now_ms + 1)
    assert len(bench.manifest.files()) <= 32
    assert len(all_timestamps(bench.data)) == len(bench.manifest.files())
    assert bench.manifest.removed() == []
    line = bench.writer.account()[7, Kind.SNAPSHOTS]
    assert (line.accepted, line.removed) == (365, 365 - line.published)
    again = Manifest.open(bench.fs, bench.paths.manifest)
    assert again.rows_removed() == bench.manifest.rows_removed()
    again.close()


def test_a_log_that_is_rewritten_remembers_what_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = two_workspaces(tmp_path)
    bench.journal[2] = Kind.EVENTS, event_rows(10, 10, workspace_id=8)
    bench.turn_at(EXPIRED_MS)
    monkeypatch.setattr("app.publish.manifest.COMPACT_BYTES_MIN", 0)
    monkeypatch.setattr("app.publish.manifest.COMPACT_RATIO", 0)
    bench.put(3, event_rows(30, 5))
    bench.flush()
    (removed,) = bench.manifest.removed()
    monkeypatch.undo()
    bench.start()
    assert bench.manifest.removed() == [removed]
    assert account(bench) == (10, 0, 10)
    assert bench.manifest.is_published(removed.partition, 2)
    assert bench.manifest.last_lsn == 3
