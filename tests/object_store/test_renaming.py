"""Which names files get when theirs are taken."""

import uuid
import zlib
from pathlib import Path

import pytest

from app.disk.durable_fs import DurableFS
from app.object_store.store import ObjectStore
from app.publish.bucket import Bucket
from app.publish.local_directory import LocalDirectory
from app.publish.renaming import free_names, rename_files
from tests.api.data_files import data_file
from tests.support.s3_server import S3Server, policy_of

DAY = "1/2026-11-22"
THERE = [
    f"{DAY}/events-a.parquet",
    f"{DAY}/events-a-0007.parquet",
    f"{DAY}/events-b-0100.parquet",
    f"{DAY}/events-0200.parquet",
    f"{DAY}/logs-a-0300.parquet",
    f"{DAY}/notes.txt",
    f"{DAY}/12/events-a-0400.parquet",
    "11/2026-11-22/events-a-0500.parquet",
]


@pytest.fixture(params=["directory", "bucket"])
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server
) -> Bucket | LocalDirectory:
    """With somebody else's files."""
    if request.param == "directory":
        for path in THERE:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(b"x")
        return LocalDirectory(DurableFS(), tmp_path)
    store = ObjectStore(policy_of(s3_server.endpoint, f"test/{uuid.uuid4()}"))
    for path in THERE:
        store.create(path, b"x", zlib.crc32(b"x"))
    return Bucket(DurableFS(), store)


def test_a_taken_name_is_changed_to_the_number_behind_all_of_its_series(
    destination: Bucket | LocalDirectory,
) -> None:
    files = [
        data_file(date="2026-11-22", number=number, path=f"{DAY}/{name}.parquet")
        for number, name in ((0, "events-a"), (1, "events-a-0001"), (9, "events-a-0009"))
    ]
    names = free_names(destination, files, [files[0].path, files[1].path])
    renamed = rename_files(files, names)
    assert [(file.number, file.path) for file in renamed] == [
        (10, f"{DAY}/events-a-0010.parquet"),
        (11, f"{DAY}/events-a-0011.parquet"),
        (9, f"{DAY}/events-a-0009.parquet"),
    ]
