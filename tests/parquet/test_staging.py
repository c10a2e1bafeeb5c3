"""Staged files on a real disk: what is in them, and when they are synced on the way."""

from pathlib import Path

import pytest

from app.disk.durable_file import DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.publish.paths import SinkPaths
from app.publish.staging_directory import PIECE_BYTES, Staging


class Counted(DurableFile):
    """A real file that fails a sync when told to. syncs: lengths at which it was synced."""

    fails = False
    syncs: list[int]

    def datasync(self) -> None:
        self.syncs.append(self.size)
        if self.fails:
            raise SyncFailed("fdatasync", self.path, OSError(5, "Input/output error"))
        super().datasync()


class CountingFS(DurableFS):
    """A real disk whose new files are `Counted`."""

    def __init__(self) -> None:
        self.syncs: list[int] = []
        self.fails = False

    def create(self, path: Path) -> DurableFile:
        file = super().create(path)
        counted = Counted(file._fd, path, 0)
        counted.syncs, counted.fails = self.syncs, self.fails
        return counted


@pytest.fixture
def fs() -> CountingFS:
    return CountingFS()


@pytest.fixture
def paths(tmp_path: Path, fs: CountingFS) -> SinkPaths:
    paths = SinkPaths(state=tmp_path / "state", data=tmp_path / "data")
    for directory in (tmp_path / "data", *paths.staging_places):
        directory.mkdir(parents=True)
    return paths


def test_a_long_file_is_synced_on_the_way(fs: CountingFS, paths: SinkPaths) -> None:
    chunks = [b"PAR1", memoryview(bytes(range(256)) * (PIECE_BYTES // 100)), b"footer"]
    staging = Staging(fs, paths)
    placement = staging.write("data", "x", chunks)
    staging.sync()
    assert staging.path_of(placement).read_bytes() == b"".join(chunks)
    steps = [end - start for start, end in zip([0, *fs.syncs], [*fs.syncs, placement.bytes], strict=True)]
    assert len(steps) == 3
    assert max(steps) < 2 * PIECE_BYTES


def test_a_short_file_is_synced_once_at_the_end(fs: CountingFS, paths: SinkPaths) -> None:
    staging = Staging(fs, paths)
    placement = staging.write("data", "x", [b"PAR1", bytes(PIECE_BYTES - 4)])
    assert fs.syncs == []
    staging.sync()
    assert staging.path_of(placement).stat().st_size == PIECE_BYTES


def test_a_sync_on_the_way_that_fails_is_not_tried_again(fs: CountingFS, paths: SinkPaths) -> None:
    fs.fails = True
    with pytest.raises(SyncFailed):
        Staging(fs, paths).write("data", "x", [bytes(3 * PIECE_BYTES)])
    assert len(fs.syncs) == 1
