"""An object store in memory, as one process sees it: its uploads fail and die as the disk's calls do."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.disk.durable_file import Buffer
from app.object_store.policy import StorePolicy
from app.object_store.store import NameTaken, ObjectFacts, ObjectStore
from app.object_store.url import Provider, StoreUrl
from tests.support.simulated_disk import SimulatedFS


class SimulatedStore(ObjectStore):
    """objects: what is in the bucket, which outlives processes and power cuts."""

    def __init__(self, objects: dict[str, bytes], fs: SimulatedFS) -> None:
        self.policy = StorePolicy(url=StoreUrl(Provider.S3, "simulated"), parallel_uploads=1)
        self._objects = objects
        self._fs = fs

    def create(self, path: str, content: Buffer, crc: int) -> None:
        data = bytes(memoryview(content).cast("B"))
        if zlib.crc32(data) != crc:
            raise AssertionError(f"{path}: the checksum is not that of the content")
        if self._fs.step("put_object", Path(path), lambda: self._objects.setdefault(path, data)) != data:
            raise NameTaken(path)

    def facts(self, path: str) -> ObjectFacts | None:
        found = self._objects.get(path)
        return None if found is None else ObjectFacts(len(found), datetime.fromtimestamp(0, UTC), None)

    def read(self, path: str, offset: int, size: int) -> bytes:
        return self._objects[path][offset : offset + size]

    def names(self, directory: str) -> Iterator[str]:
        return iter([path for path in list(self._objects) if path.startswith(directory)])

    def remove(self, path: str) -> None:
        self._fs.step("remove_object", Path(path), lambda: self._objects.pop(path, None))
