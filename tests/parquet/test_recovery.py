import json
from pathlib import Path

import msgspec
import pytest

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.publish.intent import IntentDamaged, read_intent
from app.publish.interrupted import FilesDiffer, recover
from app.publish.manifest import HEADER, Commit, Manifest, ManifestDamaged
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.moody_fs import MoodyFS
from tests.parquet.rows import all_timestamps, event_rows, published, snapshot_rows
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk


def tree(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


FILE = "7/2026-01-01/events.parquet"


def interrupted(tmp_path: Path, call: str, name: str) -> Bench:
    """Two partitions, one of them with an old file, whose second flush dies before the named call."""
    fs = MoodyFS()
    bench = Bench(tmp_path, fs)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    bench.put(2, event_rows(10, 10))
    bench.put(3, snapshot_rows(20, 10), Kind.SNAPSHOTS)
    fs.dies = lambda made, path: (made, path.name) == (call, name)
    with pytest.raises(Crash):
        bench.flush()
    bench.fs = DurableFS()
    return bench


def test_a_publish_with_an_intent_is_completed(tmp_path: Path) -> None:
    bench = interrupted(tmp_path, "rename", "snapshots.parquet")
    report = bench.start()
    assert (report.completed, report.undone) == (2, 0)
    assert all_timestamps(bench.data) == list(range(30))
    bench.writer.turn()
    assert (bench.writer.buffered_rows, bench.trimmed) == (0, 3)


def test_a_partition_with_a_lost_staged_file_is_undone_alone_and_replayed(tmp_path: Path) -> None:
    bench = interrupted(tmp_path, "rename", "snapshots.parquet")
    intent = read_intent(bench.fs, bench.paths)
    assert intent is not None
    [lost] = [p for p in intent.placements if p.path.endswith("snapshots.parquet")]
    (bench.paths.staging(bench.fs) / lost.staged).unlink()
    report = bench.start()
    assert (report.completed, report.undone) == (1, 1)
    assert list(published(bench.data)) == [FILE]
    bench.writer.turn()
    assert bench.writer.buffered_rows == 10
    bench.flush()
    assert all_timestamps(bench.data) == list(range(30))


def test_a_grown_file_of_an_undone_partition_is_cut_back_to_its_old_version(tmp_path: Path) -> None:
    """The flush fills the old file and begins a new one; the new one is lost after the old was replaced."""

    fs = MoodyFS()
    bench = Bench(tmp_path, fs, WriterPolicy(max_file_bytes=24 << 10))
    bench.put(1, event_rows(0, 30))
    bench.flush()
    bench.put(2, event_rows(30, 200))
    fs.dies = lambda call, path: path.name == "events-0001.parquet"
    with pytest.raises(Crash):
        bench.flush()
    assert published(bench.data)[FILE] != list(range(30)), "the old file must have been replaced already"
    bench.fs = DurableFS()
    for path in bench.paths.staging(bench.fs).iterdir():
        path.unlink()
    assert bench.start().undone == 1
    assert published(bench.data) == {FILE: list(range(30))}
    bench.flush()
    assert all_timestamps(bench.data) == list(range(230))


def test_staging_without_an_intent_is_removed(tmp_path: Path) -> None:
    bench = interrupted(tmp_path, "create", "publish-intent.tmp")
    assert bench.start().staging_removed == 2
    assert all_timestamps(bench.data) == list(range(10))
    bench.flush()
    assert all_timestamps(bench.data) == list(range(30))


def test_unknown_files_are_reported_and_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.data / "notes.txt").write_text("mine")
    (bench.data / ".staging").mkdir()
    assert bench.start().unknown_files == ["notes.txt"]
    assert (bench.data / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("harm", ["missing", "short", "long"])
def test_a_published_file_that_is_not_as_it_was_refuses_the_start(tmp_path: Path, harm: str) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    path = bench.data / FILE
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] if harm == "short" else whole + b"x")
    before = tree(tmp_path)
    with pytest.raises(FilesDiffer, match=FILE):
        recover(bench.fs, bench.paths)
    assert tree(tmp_path) == before
    path.write_bytes(whole)
    recover(bench.fs, bench.paths)[0].close()


def test_a_changed_intent_refuses_the_start(tmp_path: Path) -> None:
    bench = interrupted(tmp_path, "rename", "snapshots.parquet")
    intent = bench.paths.intent
    intent.write_bytes(intent.read_bytes().replace(b"snapshots", b"snapshotz", 1))
    with pytest.raises(IntentDamaged, match="publish-intent"):
        recover(bench.fs, bench.paths)


def test_a_torn_last_record_is_cut_at_every_length(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    first = bench.paths.manifest.read_bytes()
    bench.put(2, event_rows(10, 10))
    bench.flush()
    both = bench.paths.manifest.read_bytes()
    path = tmp_path / "manifest"
    for length in range(len(first), len(both)):
        path.write_bytes(both[:length])
        manifest = Manifest.open(DurableFS(), path)
        assert [file.rows for file in manifest.files()] == [10]
        manifest.cut_torn_tail()
        manifest.close()
        assert path.read_bytes() == first


def test_every_flipped_bit_before_the_last_record_refuses_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for lsn in (1, 2):
        bench.put(lsn, event_rows(lsn * 10, 10))
        bench.flush()
    good = bench.paths.manifest.read_bytes()
    end = good.rindex(b"\n", 0, -1) + 1
    path = tmp_path / "manifest"
    for position in range(end):
        flipped = bytearray(good)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(ManifestDamaged, match="manifest"):
            Manifest.open(DurableFS(), path)


def test_every_flipped_bit_of_a_durable_last_record_refuses_the_start() -> None:
    disk = SimulatedDisk()
    bench = Bench(Path("/node"), disk.mount())
    for lsn in (1, 2):
        bench.put(lsn, event_rows(lsn * 10, 10))
        bench.flush()
    good = bench.fs.read(bench.paths.manifest)
    for position in range(good.rindex(b"\n", 0, -1) + 1, len(good)):
        flipped = bytearray(good)
        flipped[position] ^= 1 << (position % 8)
        disk.overwrite(bench.paths.manifest, bytes(flipped))
        with pytest.raises(ManifestDamaged, match="manifest"):
            recover(bench.fs, bench.paths)
        assert bench.fs.read(bench.paths.manifest) == flipped


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "short"])
def test_a_record_that_could_not_be_written_is_cut_before_it_is_written_again(kind: str) -> None:
    probe = Bench(Path("/node"), SimulatedDisk().mount())
    probe.put(1, event_rows(0, 10))
    probe.flush()
    calls = probe.fs.calls
    record = max(n for n, call in enumerate(calls) if call == "datasync") - 1
    assert calls[record] == "write"
    disk = SimulatedDisk()
    bench = Bench(Path("/node"), disk.mount(Fault(record, kind)))
    bench.put(1, event_rows(0, 10))
    done = bench.writer.flush()
    bench.writer.turn()
    bench.turn_at(bench.now_ms + 10_000)
    assert done.result(timeout=0).flushed_rows == 10
    manifest, report = recover(disk.mount(), bench.paths)
    assert [file.rows for file in manifest.files()] == [10]
    assert (report.completed, report.unknown_files) == (0, [])


def test_a_long_log_is_rewritten_and_says_the_same() -> None:
    bench = Bench(Path("/node"), SimulatedDisk().mount())
    bench.put(1, event_rows(0, 10))
    [file] = bench.flush().files
    manifest = bench.manifest
    lengths = []
    for number in range(6000):
        grown = msgspec.structs.replace(file, rows=10 + number)
        manifest.append(Commit(id=2 + number, files=[grown]))
        lengths.append(bench.fs.stat(bench.paths.manifest).size)
    assert max(lengths) < (1 << 20) + 1000
    assert lengths[-1] < max(lengths)
    manifest.close()
    again = Manifest.open(bench.fs, bench.paths.manifest)
    assert again.files() == (grown,)
    assert (again.last_commit, again.rows_published().total()) == (6001, 6009)
    again.close()


def test_the_manifest_can_be_read_with_a_json_reader(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    header, line = bench.paths.manifest.read_bytes().splitlines(keepends=True)
    assert header == HEADER
    assert json.loads(line[9:])["files"][0]["path"] == FILE
