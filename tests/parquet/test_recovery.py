import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.publish.intent import read_intent
from app.publish.interrupted import recover
from app.publish.manifest import HEADER, Manifest, ManifestDamaged, Publication
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import JOURNALS, Bench
from tests.parquet.moody_fs import MoodyFS
from tests.parquet.rows import all_timestamps, event_rows, published, snapshot_rows
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk
from tests.support.simulated_store import SimulatedStore


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


def overflowing(tmp_path: Path, call: str, name: str) -> Bench:
    """A flush that fills the old file and begins a new one, and dies before the named call."""
    fs = MoodyFS()
    bench = Bench(tmp_path, fs, WriterPolicy(max_file_bytes=24 << 10))
    bench.put(1, event_rows(0, 30))
    bench.flush()
    bench.put(2, event_rows(30, 200))
    fs.dies = lambda made, path: (made, path.name) == (call, name)
    with pytest.raises(Crash):
        bench.flush()
    bench.fs = DurableFS()
    return bench


def test_the_old_file_is_replaced_last(tmp_path: Path) -> None:
    """Where it says through which frame the partition is published, all files of that flush are there."""
    bench = overflowing(tmp_path, "rename", "events.parquet")
    assert set(published(bench.data)) == {FILE, FILE.replace("events", "events-0001")}
    assert published(bench.data)[FILE] == list(range(30))
    for path in bench.paths.staging(bench.fs).iterdir():
        path.unlink()
    assert bench.start().undone == 1
    assert published(bench.data) == {FILE: list(range(30))}
    bench.flush()
    assert all_timestamps(bench.data) == list(range(230))


def test_a_new_file_of_a_publish_that_nobody_knows_of_any_more_is_taken_away(tmp_path: Path) -> None:
    """Intent and manifest are gone, and of two files of one flush only the second has its name."""
    bench = overflowing(tmp_path, "rename", "events.parquet")
    bench.paths.intent.write_bytes(b"damaged")
    bench.paths.manifest.unlink()

    assert bench.start().files.incomplete == [FILE.replace("events", "events-0001")]
    bench.flush()
    assert all_timestamps(bench.data) == list(range(230))


def test_a_grown_file_of_an_undone_partition_is_cut_back_to_its_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(manifest: Manifest, commit: Publication) -> None:
        if commit.id > 1:
            raise Crash("before the manifest")

    append = Manifest.append
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "append", lambda *given: dies(*given) or append(*given))
        bench = overflowing(tmp_path, "never", "")
    assert published(bench.data)[FILE] != list(range(30)), "the old file must have been replaced already"
    (bench.data / FILE.replace("events", "events-0001")).unlink()
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
    assert bench.start().files.unknown == ["notes.txt"]
    assert (bench.data / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("harm", ["missing", "short", "long", "older"])
def test_a_start_goes_on_without_a_file_that_is_not_as_it_was(tmp_path: Path, harm: str) -> None:
    """What the journal has no more is recorded as lost, and the partition goes on in the next number."""
    bench = Bench(tmp_path)
    path = bench.data / FILE
    bench.put(1, event_rows(0, 10))
    bench.flush()
    older = path.read_bytes()
    bench.put(2, event_rows(10, 10))
    bench.flush()
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": whole[:-1], "long": whole + b"x", "older": older}[harm])
    left = tree(bench.data)

    report = bench.start()
    [broken] = report.files.broken
    kept = 10 if harm == "older" else 0
    assert (broken.path, broken.lost_rows, broken.rows) == (FILE, 20 - kept, kept)
    assert bench.manifest.rows_published().total() == 20
    assert bench.start().files.broken == [], "a second start finds nothing new"
    bench.put(3, event_rows(20, 10))
    bench.flush()
    assert {path: bytes_ for path, bytes_ in tree(bench.data).items() if path in left} == left
    new = {
        path.name: sorted(pq.read_table(path)["timestamp"].to_pylist())
        for path in bench.data.rglob("events-*.parquet")
    }
    assert new == {"events-0001.parquet": list(range(20, 30))}


@pytest.mark.parametrize("harm", ["missing", "short", "older"])
def test_rows_that_the_journal_still_has_are_published_again_where_no_file_has_them(
    tmp_path: Path, harm: str
) -> None:
    bench = Bench(tmp_path)
    path = bench.data / FILE
    bench.put(1, event_rows(0, 10))
    bench.flush()
    older = path.read_bytes()
    bench.put(2, event_rows(10, 10))
    bench.flush()
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] if harm == "short" else older)
    bench.journal = {1: (Kind.EVENTS, event_rows(0, 10)), 2: (Kind.EVENTS, event_rows(10, 10))}

    bench.start()
    bench.flush()
    readable = older if harm == "older" else b""
    rows = pq.read_table(bench.data / "7/2026-01-01/events-0001.parquet")["timestamp"].to_pylist()
    assert sorted(rows) == list(range(10 if readable else 0, 20))
    assert bench.manifest.rows_published().total() == 20
    assert bench.manifest.lost() == []
    bench.journal = {2: (Kind.EVENTS, event_rows(10, 10))}
    bench.start()
    bench.writer.turn()
    assert bench.writer.buffered_rows == 0, "published once more is enough"


@pytest.mark.parametrize("older_by", [1, 2, 3])
def test_an_older_manifest_publishes_nothing_twice_where_files_are_not_listed(older_by: int) -> None:
    """Objects: the last intent, which stays, says how many commits there were."""
    disk = SimulatedDisk()
    fs = disk.mount()
    objects: dict[str, bytes] = {}
    bench = Bench(Path("/node"), fs, store=SimulatedStore(objects, fs))
    journal = {lsn: (Kind.EVENTS, event_rows(10 * lsn, 10)) for lsn in range(1, 5)}
    manifests = [fs.read(bench.paths.manifest)]
    for lsn, (kind, rows) in journal.items():
        bench.put(lsn, rows, kind)
        bench.flush()
        manifests.append(fs.read(bench.paths.manifest))
    bench.start()
    disk.overwrite(bench.paths.manifest, manifests[-1 - older_by])
    bench.journal = dict(journal)

    bench.start()
    bench.put(5, event_rows(50, 10))
    bench.flush()
    tables = [pq.read_table(pa.BufferReader(content)) for content in objects.values()]
    assert sorted(pa.concat_tables(tables)["timestamp"].to_pylist()) == list(range(10, 60))
    assert bench.manifest.rows_published().total() == 50


def test_a_record_of_files_that_were_found_can_be_lost_as_any_other_where_they_are_not_listed() -> None:
    disk = SimulatedDisk()
    fs = disk.mount()
    objects: dict[str, bytes] = {}
    bench = Bench(Path("/node"), fs, store=SimulatedStore(objects, fs))
    manifest = bench.paths.manifest
    older = []
    for lsn in range(1, 4):
        bench.put(lsn, event_rows(10 * lsn, 10))
        bench.flush()
        older.append(fs.read(manifest))
    disk.overwrite(manifest, older[0])
    bench.start()
    assert len(bench.manifest.files()) == 3
    bench.put(4, event_rows(40, 10))
    bench.flush()
    whole, intent = fs.read(manifest), fs.read(bench.paths.intent)
    for end in [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")][1:]:
        disk.overwrite(manifest, whole[:end])
        disk.overwrite(bench.paths.intent, intent)
        bench.start()
        assert len(bench.manifest.files()) == 4, whole[:end]


def test_a_rewritten_manifest_that_is_cut_is_known_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.publish.manifest.FILES_PER_RECORD", 1)
    bench = Bench(tmp_path)
    for lsn, kind in ((1, Kind.EVENTS), (2, Kind.SNAPSHOTS)):
        bench.put(lsn, event_rows(0, 10) if kind is Kind.EVENTS else snapshot_rows(10, 10), kind)
        bench.flush()
    whole = bench.manifest.dump()
    for end in [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]:
        bench.paths.manifest.write_bytes(whole[:end])
        bench.start()
        assert len(bench.manifest.files()) == 2, whole[:end]
        assert bench.manifest.last_commit == 2


def test_an_older_manifest_beside_an_intent_publishes_nothing_twice(tmp_path: Path) -> None:
    """A kill has left the intent; between it and the manifest a commit is missing, which files have."""
    fs = MoodyFS()
    bench = Bench(tmp_path, fs)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    older = bench.paths.manifest.read_bytes()
    bench.put(2, event_rows(10, 10))
    bench.flush()
    bench.put(3, snapshot_rows(20, 10), Kind.SNAPSHOTS)
    fs.dies = lambda made, path: (made, path.name) == ("rename", "snapshots.parquet")
    with pytest.raises(Crash):
        bench.flush()
    bench.fs = DurableFS()
    bench.paths.manifest.write_bytes(older)
    bench.journal = {
        1: (Kind.EVENTS, event_rows(0, 10)),
        2: (Kind.EVENTS, event_rows(10, 10)),
        3: (Kind.SNAPSHOTS, snapshot_rows(20, 10)),
    }

    bench.start()
    bench.flush()
    assert all_timestamps(bench.data) == list(range(30))


def lost_while_it_ran(tmp_path: Path, harm: Callable[[Path], object]) -> Bench:
    """The first file was harmed, and the second one begun since it could not grow: LSN 1, and LSN 2."""
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    harm(bench.data / FILE)
    bench.put(2, event_rows(10, 5))
    bench.flush()
    return bench


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_file_that_cannot_grow_since_it_is_gone_or_shorter_is_recorded_as_lost(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    bench = lost_while_it_ran(tmp_path, harm)
    [lost] = bench.manifest.lost()
    assert (lost.path, lost.lost_rows, lost.rows, lost.lost_through) == (FILE, 10, 0, 1)
    assert bench.manifest.rows_published().total() == 15
    assert bench.start().files.broken == [], "it is known"


def test_recovered_rows_that_join_a_file_with_later_ones_are_published_once(tmp_path: Path) -> None:
    """Whatever then happens to the manifest: the file itself says which older frames it has."""
    bench = lost_while_it_ran(tmp_path, Path.unlink)
    older = bench.paths.manifest.read_bytes()
    journal = {1: (Kind.EVENTS, event_rows(0, 10)), 2: (Kind.EVENTS, event_rows(10, 5))}
    bench.journal = dict(journal)
    bench.start()
    bench.flush()
    assert list(published(bench.data)) == [FILE.replace("events", "events-0001")]
    assert all_timestamps(bench.data) == list(range(15))
    assert bench.manifest.lost() == []
    for harm in ("none", "rewritten", "removed", "older"):
        if harm == "rewritten":
            bench.paths.manifest.write_bytes(bench.manifest.dump())
        elif harm == "removed":
            bench.paths.manifest.unlink()
        elif harm == "older":
            bench.paths.manifest.write_bytes(older)
        bench.journal = dict(journal)
        bench.start()
        bench.flush()
        assert all_timestamps(bench.data) == list(range(15)), harm


def test_of_two_lost_files_that_one_is_whole_again_whose_rows_the_journal_has(tmp_path: Path) -> None:
    bench = lost_while_it_ran(tmp_path, Path.unlink)
    (bench.data / FILE.replace("events", "events-0001")).unlink()
    bench.journal = {2: (Kind.EVENTS, event_rows(10, 5))}
    bench.start()
    bench.flush()
    assert all_timestamps(bench.data) == list(range(10, 15))
    assert [(file.path, file.lost_rows) for file in bench.manifest.lost()] == [(FILE, 10)]


def test_a_changed_intent_is_set_aside_and_its_files_are_taken_at_their_word(tmp_path: Path) -> None:
    """The first file had its name already, the other one had not."""
    bench = interrupted(tmp_path, "rename", "snapshots.parquet")
    intent = bench.paths.intent
    intent.write_bytes(intent.read_bytes().replace(b"snapshots", b"snapshotz", 1))

    report = bench.start()
    assert [path.name for path in report.set_aside] == ["publish-intent.damaged-1"]
    bench.flush()
    assert all_timestamps(bench.data) == list(range(30))


@pytest.mark.parametrize("harm", ["removed", "header", "older", "damaged"])
def test_a_manifest_that_is_not_what_it_was_is_read_from_the_files(tmp_path: Path, harm: str) -> None:
    bench = Bench(tmp_path)
    manifest = bench.paths.manifest
    bench.put(1, event_rows(0, 10))
    bench.flush()
    older = manifest.read_bytes()
    bench.put(2, event_rows(10, 10))
    bench.put(3, snapshot_rows(20, 10), Kind.SNAPSHOTS)
    bench.flush()
    whole = manifest.read_bytes()
    if harm == "removed":
        manifest.unlink()
    else:
        flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
        manifest.write_bytes({"header": HEADER, "older": older, "damaged": flipped}[harm])
    bench.journal = {
        1: (Kind.EVENTS, event_rows(0, 10)),
        2: (Kind.EVENTS, event_rows(10, 10)),
        3: (Kind.SNAPSHOTS, snapshot_rows(20, 10)),
    }

    report = bench.start()
    assert report.files.adopted
    bench.writer.turn()
    assert bench.writer.buffered_rows == 0, "a file has them all"
    assert bench.manifest.rows_published().total() == 30
    bench.put(4, event_rows(30, 10))
    bench.flush()
    assert all_timestamps(bench.data) == list(range(40))


def test_a_file_of_another_journal_is_left_alone(tmp_path: Path) -> None:
    """Somebody has copied it here; what it says of frames is about other frames."""
    bench = Bench(tmp_path / "own")
    bench.put(1, event_rows(0, 10))
    bench.flush()
    other = Bench(tmp_path / "other", policy=WriterPolicy())
    other.writer._publisher._stager._policy = msgspec.structs.replace(other.policy, journal="another")
    for lsn in range(1, 6):
        other.put(lsn, event_rows(100 + lsn, 1))
        other.flush()
    copied = FILE.replace("events", "events-0007")
    (bench.data / copied).write_bytes((other.data / FILE).read_bytes())

    assert bench.start().files.unknown == [copied]
    bench.put(2, event_rows(10, 10))
    bench.flush()
    assert published(bench.data)[FILE] == list(range(20))


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


def test_every_flipped_bit_of_a_durable_last_record_is_made_up_for_by_the_files() -> None:
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
        manifest, _ = recover(bench.fs, bench.paths, journals=JOURNALS)
        assert [(file.rows, file.last_lsn) for file in manifest.files()] == [(20, 2)]
        manifest.close()


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
    assert (report.completed, report.files.unknown) == (0, [])


def test_a_long_log_is_rewritten_and_says_the_same() -> None:
    bench = Bench(Path("/node"), SimulatedDisk().mount())
    bench.put(1, event_rows(0, 10))
    [file] = bench.flush().files
    manifest = bench.manifest
    lengths = []
    for number in range(6000):
        grown = msgspec.structs.replace(file, rows=10 + number)
        manifest.append(Publication(id=2 + number, files=[grown]))
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
