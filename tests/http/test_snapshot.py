"""`parquet-sink snapshot`: a consistent copy while the service runs, that another service goes on with."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app.publish.manifest import Manifest
from tests.support.payloads import event, numbers
from tests.support.service import REPOSITORY, Service, running_service

CONFIG = {"sinks.parquet": {"max_file_size": "8KB"}}


def command(service: Service, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments), "--config", service._config_file],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def rows_in(snapshot: Path) -> list[int]:
    """Read by pyarrow alone, and held against the manifest."""
    manifest = Manifest.parse((snapshot / "journal/manifest").read_bytes(), snapshot)
    found = []
    for file in manifest.files():
        table = pq.read_table(snapshot / "parquet" / file.path, partitioning=None)
        assert table.num_rows == file.rows
        found += numbers(table)
    on_disk = [path.relative_to(snapshot / "parquet") for path in snapshot.glob("parquet/**/*.parquet")]
    assert sorted(map(str, on_disk)) == sorted(file.path for file in manifest.files())
    return found


def test_a_snapshot_is_restored_elsewhere(own_service: Service, tmp_path: Path) -> None:
    service, snapshot = own_service, tmp_path / "backup" / "monday"
    (tmp_path / "backup").mkdir()
    for number in range(6):
        service.post_json("events", [event(number)])
        service.flush()
    service.post_json("events", [event(6)])
    taken = command(service, "snapshot", snapshot)
    assert taken.returncode == 0, taken.stderr
    assert "files with 6 rows" in taken.stdout
    assert "all as hard links" in taken.stdout
    service.post_json("events", [event(7)])
    service.flush()
    assert sorted(rows_in(snapshot)) == list(range(6)), "what comes later does not reach it"

    other = tmp_path / "other"
    other.mkdir()
    with Service(other, CONFIG) as restored:
        shutil.copytree(snapshot / "parquet", restored.parquet)
        shutil.copytree(snapshot / "journal", restored.journal)
        adopted = command(restored, "adopt")
        assert adopted.returncode == 0, adopted.stderr
        restored.start()
        assert sorted(numbers(restored.table())) == list(range(6))
        (line,) = restored.status()["rows"]
        assert (line["accepted"], line["published"]) == (6, 6)
        restored.post_json("events", [event(10)])
        restored.flush()
        restored.kill9()
        restored.start()
        assert sorted(numbers(restored.table())) == [*range(6), 10]
        assert restored.status()["lost_files"] == []
        assert restored.terminate() == 0
    assert sorted(numbers(service.table())) == list(range(8))
    assert sorted(rows_in(snapshot)) == list(range(6))


def test_a_snapshot_under_load_is_what_was_published_at_one_moment(tmp_path: Path) -> None:
    with running_service(tmp_path, CONFIG) as service:
        service.post_json("events", [event(0)], wait="file")
        stop = threading.Event()

        def load() -> None:
            number = 1
            while not stop.is_set():
                service.post_json("events", [event(number)], wait="file")
                number += 1

        loader = threading.Thread(target=load)
        loader.start()
        try:
            for turn in range(4):
                taken = command(service, "snapshot", tmp_path / f"copy-{turn}")
                assert taken.returncode == 0, taken.stderr
        finally:
            stop.set()
            loader.join()
        sizes = []
        for turn in range(4):
            found = sorted(rows_in(tmp_path / f"copy-{turn}"))
            assert found == list(range(len(found))), "each is what was there at one moment"
            sizes.append(len(found))
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0], "rows were published meanwhile"


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("parquet/copy", "which the service writes to"),
        ("journal/copy", "which the service writes to"),
        (".", "already exists"),
    ],
)
def test_a_place_that_is_none_is_named(own_service: Service, where: str, complaint: str) -> None:
    refused = command(own_service, "snapshot", own_service.directory / where)
    assert refused.returncode == 1
    assert complaint in refused.stderr
    assert not list(own_service.directory.glob("**/*.unfinished"))


def test_a_file_that_was_changed_is_named(own_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.disk.durable_fs import DurableFS
    from app.publish.paths import SinkPaths
    from app.run import snapshot

    own_service.post_json("events", [event(1)])
    (file,) = own_service.flush()["files"]
    (own_service.parquet / file["path"]).write_bytes(b"other")
    monkeypatch.setattr(snapshot, "TRIES_MAX", 2)
    directory = own_service.directory / "copy"
    with pytest.raises(snapshot.CannotCopy, match=file["path"]):
        snapshot.take_snapshot(DurableFS(), SinkPaths(own_service.parquet, own_service.journal), directory)
    assert not list(own_service.directory.glob("copy*"))
