"""The real file operations, and that the simulated disk does the same where nothing fails."""

import contextlib
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.disk.data_directory_lock import DataDirectoryInUse, lock_data_directory
from app.disk.durable_file import WRITEV_BUFFERS_MAX, DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.disk.file_lock import LockHeld
from tests.support.payloads import event
from tests.support.service import running_service
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk


@pytest.fixture(params=["real", "simulated"])
def fs(request: pytest.FixtureRequest) -> DurableFS:
    return DurableFS() if request.param == "real" else SimulatedDisk().mount()


@pytest.fixture
def directory(fs: DurableFS, tmp_path: Path) -> Path:
    fs.make_directory(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def test_a_file_grows_is_cut_and_grows_again(fs: DurableFS, directory: Path) -> None:
    file = fs.create(directory / "x")
    assert file.write([b"ab", b"", bytearray(b"cd"), memoryview(b"ef"), pa.py_buffer(b"gh")]) == 8
    file.truncate(3)
    file.write([b"!"])
    file.datasync()
    file.close()
    assert fs.read(directory / "x") == b"abc!"
    again = fs.open_append(directory / "x")
    assert again.size == 4
    again.write([b"?"])
    again.sync()
    again.close()
    again.close()
    assert fs.read(directory / "x", 2, 10) == b"c!?"
    assert fs.stat(directory / "x").size == 5


def test_more_buffers_than_one_call_takes_are_written_in_order(fs: DurableFS, directory: Path) -> None:
    pieces = [b"%d," % number for number in range(3 * WRITEV_BUFFERS_MAX + 5)]
    fs.create(directory / "x").write(pieces)
    assert fs.read(directory / "x") == b"".join(pieces)


def test_short_writes_are_continued_where_they_stopped(directory: Path) -> None:
    class Stingy(DurableFile):
        def _writev(self, buffers: object) -> int:
            data = b"".join(memoryview(buffer).cast("B") for buffer in buffers)  # type: ignore[attr-defined]
            return os.write(self._fd, data[: rng.randint(1, 5)])

    rng = random.Random(3)
    path = directory / "x"
    directory.mkdir(parents=True, exist_ok=True)
    DurableFS().create(path).close()
    file = Stingy(os.open(path, os.O_WRONLY | os.O_APPEND), path, 0)
    assert file.write([b"abc", b"", b"defghij", memoryview(b"klm")] * 20) == 13 * 20
    file.close()
    assert path.read_bytes() == b"abcdefghijklm" * 20


def test_creating_never_overwrites(fs: DurableFS, directory: Path) -> None:
    fs.create(directory / "x").close()
    with pytest.raises(FileExistsError):
        fs.create(directory / "x")
    with pytest.raises(FileExistsError):
        fs.clone(directory / "x", directory / "x", 0)


@pytest.mark.parametrize("call", ["open_append", "unlink", "stat", "read", "sync_file"])
def test_a_missing_file_is_an_error(fs: DurableFS, directory: Path, call: str) -> None:
    with pytest.raises(FileNotFoundError):
        getattr(fs, call)(directory / "none")


def test_a_staged_parquet_file_is_written_renamed_and_read(fs: DurableFS, directory: Path) -> None:
    table = pa.table({"a": range(1000)})
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    file = fs.create(directory / "staged")
    file.write([memoryview(content.getvalue())])
    file.sync()
    file.close()
    fs.rename(directory / "staged", directory / "final")
    fs.sync_directory(directory)
    with fs.open_for_read(directory / "final") as source:
        assert pq.read_table(source).equals(table)
    assert fs.list_directory(directory) == ["final"]


def test_a_clone_has_the_first_bytes_and_can_be_continued(fs: DurableFS, directory: Path) -> None:
    fs.write_atomically(directory / "old", bytes(range(256)) * 100)
    fs.clone(directory / "old", directory / "new", 20_001)
    file = fs.open_append(directory / "new")
    file.write([b"more"])
    file.close()
    assert fs.read(directory / "new") == fs.read(directory / "old")[:20_001] + b"more"
    with pytest.raises(OSError, match=r"short|ends"):
        fs.clone(directory / "old", directory / "newer", 1 << 20)


def test_an_atomic_write_replaces_the_whole(fs: DurableFS, directory: Path) -> None:
    fs.write_atomically(directory / "x", b"a longer text")
    fs.write_atomically(directory / "x", b"short")
    assert fs.read(directory / "x") == b"short"
    assert fs.list_directory(directory) == ["x"]


def test_an_atomic_write_leaves_the_old_or_the_new_whatever_happens() -> None:
    path = Path("/data/x")
    seen = set()
    calls = 0
    while True:
        disk = SimulatedDisk()
        fs = disk.mount()
        fs.make_directory(path.parent)
        fs.write_atomically(path, b"old" * 500)
        dying = disk.mount(Fault(calls, "crash_before"))
        with contextlib.suppress(Crash):
            dying.write_atomically(path, b"new" * 700)
        if not dying.dead:
            break
        for seed in range(20):
            seen.add(disk.after_power_loss(random.Random(seed)).mount().read(path))
        calls += 1
    assert seen == {b"old" * 500, b"new" * 700}


def test_making_a_directory_again_is_harmless(fs: DurableFS, directory: Path) -> None:
    fs.make_directory(directory)
    assert fs.stat(directory).is_directory
    assert fs.list_directory(directory) == []


def test_many_directories_are_made_with_their_parents(fs: DurableFS, directory: Path) -> None:
    paths = [directory / f"{n % 7}" / f"{n}" for n in range(50)]
    fs.make_directories([*paths, directory, directory / "3"])
    fs.make_directories(paths)
    assert fs.list_directory(directory) == [f"{n}" for n in range(7)]
    assert all(fs.stat(path).is_directory for path in paths)


@pytest.mark.parametrize("seed", range(20))
def test_directories_that_were_made_survive_a_power_cut(seed: int) -> None:
    disk = SimulatedDisk()
    paths = [Path(f"/a/{n % 2}/{n}") for n in range(4)]
    disk.mount().make_directories(paths)
    left = disk.after_power_loss(random.Random(seed)).mount()
    assert all(left.stat(path).is_directory for path in paths)


def test_directories_of_a_killed_process_are_made_durable_by_the_next_one() -> None:
    """Wherever the first one was killed: what it made exists, and may yet be lost."""
    paths = [Path(f"/a/{n % 2}/{n}") for n in range(4)]
    for at in itertools.count():
        disk = SimulatedDisk()
        killed = disk.mount(Fault(at, "crash_before"))
        with contextlib.suppress(Crash):
            killed.make_directories(paths)
        disk.mount().make_directories(paths)
        for seed in range(5):
            left = disk.after_power_loss(random.Random(seed)).mount()
            assert all(left.stat(path).is_directory for path in paths), (at, seed)
        if not killed.dead:
            break


def _many_files(fs: DurableFS, directory: Path, count: int) -> list[DurableFile]:
    files = [fs.create(directory / f"{n}") for n in range(count)]
    for n, file in enumerate(files):
        file.write([b"%d" % n])
    return files


def test_files_and_names_that_are_synced_together_survive_a_power_cut() -> None:
    disk = SimulatedDisk()
    fs = disk.mount()
    directories = [Path("/a"), Path("/b"), Path("/c")]
    fs.make_directories(directories)
    fs.sync_files(file for directory in directories for file in _many_files(fs, directory, 5))
    fs.sync_directories(directories)
    for seed in range(20):
        left = disk.after_power_loss(random.Random(seed)).mount()
        assert [left.read(directory / "4") for directory in directories] == [b"4"] * 3


@pytest.mark.parametrize("bad", [0, 17, 39])
def test_one_failed_sync_among_many_is_raised(tmp_path: Path, bad: int) -> None:
    files = _many_files(DurableFS(), tmp_path, 40)
    read_end, write_end = os.pipe()
    files[bad : bad + 1] = [DurableFile(write_end, tmp_path / "pipe", 0)]
    with pytest.raises(SyncFailed, match="pipe"):
        DurableFS().sync_files(files)
    os.close(read_end)
    for file in files:
        file.close()


def test_a_failed_sync_is_raised_rather_than_a_directory_that_cannot_be_opened() -> None:
    disk = SimulatedDisk()
    disk.mount().make_directory(Path("/a"))
    paths = [Path("/missing"), Path("/a")]
    with pytest.raises(FileNotFoundError):
        disk.mount().sync_directories(paths)
    with pytest.raises(SyncFailed, match="/a"):
        disk.mount(Fault(1, "EIO")).sync_directories(paths)


def test_real_directories_that_cannot_be_opened_are_named(fs: DurableFS, directory: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fs.sync_directories([directory, directory / "nowhere", directory.parent])


def test_failed_syncs_are_no_oserror() -> None:
    disk = SimulatedDisk()
    disk.mount().make_directory(Path("/data"))
    fs = disk.mount(Fault(2, "EIO"))
    file = fs.create(Path("/data/x"))
    file.write([b"x"])
    with pytest.raises(SyncFailed, match=r"fdatasync of /data/x failed"):
        file.datasync()
    assert not issubclass(SyncFailed, OSError)


def test_a_real_failed_sync_is_reported(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    file = DurableFile(write_end, tmp_path / "pipe", 0)
    for sync in (file.datasync, file.sync):
        with pytest.raises(SyncFailed, match="pipe"):
            sync()
    os.close(write_end)
    with pytest.raises(SyncFailed, match="close"):
        file.close()


def test_space_is_that_of_the_file_system(fs: DurableFS, directory: Path) -> None:
    space = fs.space(directory)
    assert 0 < space.free_bytes <= space.total_bytes
    assert fs.same_file_system(directory, directory.parent)


@pytest.fixture
def bind_mounts(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two directories of one file system, each mounted by itself, as volumes of a container are."""
    mounted = []
    try:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            done = subprocess.run(["mount", "--bind", tmp_path / name, tmp_path / name], capture_output=True)
            if done.returncode:
                pytest.skip(f"bind mounts are not allowed here: {done.stderr.decode().strip()}")
            mounted.append(tmp_path / name)
        yield tmp_path / "a", tmp_path / "b"
    finally:
        for path in mounted:
            subprocess.run(["umount", "-l", path], check=True)


def test_two_mounts_of_one_file_system_are_two(bind_mounts: tuple[Path, Path]) -> None:
    a, b = bind_mounts
    (a / "x").touch()
    with pytest.raises(OSError, match="cross-device"):
        DurableFS().rename(a / "x", b / "x")
    assert a.stat().st_dev == b.stat().st_dev
    assert not DurableFS().same_file_system(a, b)
    (a / "inner").mkdir()
    assert DurableFS().same_file_system(a, a / "inner")


def test_files_are_published_across_two_mounts_of_one_file_system(
    bind_mounts: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = bind_mounts
    config = {"journal": {"path": str(a / "journal")}, "sinks.parquet": {"path": str(b)}}
    with running_service(tmp_path, config) as service:
        service.post_json("events", [event(1)], wait="file")
        assert [path.name for path in b.rglob("*") if path.is_file()] == ["events.parquet"]
        assert service.status()["problem"] is None


def test_a_lock_is_held_until_it_is_released(fs: DurableFS, directory: Path) -> None:
    lock = fs.lock(directory / "lock", "the first")
    with pytest.raises(LockHeld):
        fs.lock(directory / "lock", "the second")
    lock.release()
    fs.lock(directory / "lock", "the second").release()


HOLDER = """
import sys
from pathlib import Path
from app.disk.data_directory_lock import lock_data_directory
from app.disk.durable_fs import DurableFS
lock = lock_data_directory(DurableFS(), Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_which_one_works_here(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DataDirectoryInUse, match=rf"in use by process {holder.pid}; stop that one"):
            lock_data_directory(DurableFS(), tmp_path)
        holder.kill()
    lock_data_directory(DurableFS(), tmp_path).release()
