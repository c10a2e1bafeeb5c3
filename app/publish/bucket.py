"""Files on an object store: staged locally, uploaded whole under names that no object has, never changed."""

import logging
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.disk.file_lock import FileLock
from app.object_store.store import NameTaken, ObjectStore
from app.object_store.uploads import make_calls
from app.parquet.facts import FileFacts, read_facts
from app.parquet.row_group import MAGIC
from app.publish.destination import NamesTaken
from app.publish.ownership import owner_name
from app.publish.reconcile import FoundFile, Listing
from app.publish.removed_files import Leaving
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


TAIL_BYTES: Final = 64 << 10
"""Bytes of an object that are read at once to find its footer."""


class Bucket:
    """A `Destination`. Others may write to the same bucket: their objects are neither used nor touched."""

    def __init__(self, fs: DurableFS, store: ObjectStore) -> None:
        self._fs = fs
        self._store = store
        self._looked = False

    @property
    def grows_in(self) -> None:
        return None

    def prepare(self) -> None:
        """Check in the background whether the store can be used, and log it if not."""
        if not self._looked:
            self._looked = True
            threading.Thread(target=self._look, name="store-check", daemon=True).start()

    def _look(self) -> None:
        try:
            next(iter(self._store.names("")), None)
        except OSError as error:
            log.warning(
                "%s cannot be used; batches are accepted nevertheless, and files are written once it can: %s",
                self._store.policy.url,
                error,
            )

    def is_taken(self, path: str) -> bool:
        """Checking would cost one request per file; placing the file shows it as well."""
        return False

    def names(self, directory: str) -> Iterable[str]:
        paths = self._store.names(directory)
        return [path for path in paths if str(PurePosixPath(path).parent) == directory]

    def place(
        self, placements: Sequence[Placement], staged: Callable[[Placement], Path], placed: set[str]
    ) -> None:
        """All are tried in parallel; those that could not be placed are raised afterwards."""
        missing = [placement for placement in placements if placement.staged not in placed]
        calls = [partial(self._upload, placement, staged(placement), placed) for placement in missing]
        failures = make_calls(calls, min(self._store.policy.parallel_uploads, len(calls)))
        taken = [failure.path for failure in failures if isinstance(failure, NameTaken)]
        for failure in failures:
            if not isinstance(failure, NameTaken):
                raise failure
        if taken:
            raise NamesTaken(taken)

    def _upload(self, placement: Placement, staged: Path, placed: set[str]) -> None:
        self._store.create(placement.path, self._fs.map_for_read(staged), placement.crc)
        placed.add(placement.staged)

    def holds(self, placement: Placement) -> bool:
        facts = self._store.facts(placement.path)
        if facts is None or facts.size != placement.bytes:
            return False
        return self._store.crc(placement.path, placement.bytes) == placement.crc

    def undo(self, placement: Placement, scratch: Path) -> None:
        if self.holds(placement):
            self._store.remove(placement.path)

    def delete(self, files: Sequence[Leaving]) -> Sequence[str]:
        """In parallel; those that could not be deleted are raised afterwards."""
        left: list[str] = []
        calls = [partial(self._delete, file, left) for file in files]
        failures = make_calls(calls, min(self._store.policy.parallel_uploads, len(calls)))
        for failure in failures:
            raise failure
        return left

    def _delete(self, file: Leaving, left: list[str]) -> None:
        facts = self._store.facts(file.path)
        if facts is None:
            return
        if facts.size != file.bytes:
            left.append(file.path)
        else:
            self._store.remove(file.path)

    def listing(self, thorough: bool) -> Listing | None:
        """Listing takes a request a thousand names, and no object is ever half there."""
        if not thorough:
            return None
        found = Listing()
        for path in self._store.names(""):
            facts = self._store.facts(path)
            if facts is not None:
                found.files[path] = FoundFile(facts.size, int(facts.modified.timestamp() * 1000))
        return found

    def facts(self, path: str) -> FileFacts | None:
        found = self._store.facts(path)
        if found is None:
            return None
        tail = self._store.read(path, max(found.size - TAIL_BYTES, 0), TAIL_BYTES)
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > len(tail):
            tail = self._store.read(path, max(found.size - length, 0), length)
        return read_facts(pa.BufferReader(MAGIC + tail[-length:]))


class BucketTree:
    """A `Tree`: who owns a bucket, or what of it is below the prefix. A store has no locks."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def name(self) -> str:
        return str(self._store.policy.url)

    def read_owner(self, node: str | None) -> bytes | None:
        facts = self._store.facts(owner_name(node))
        return None if facts is None else self._store.read(owner_name(node), 0, facts.size)

    def write_owner(self, node: str | None, data: bytes, *, replaces: bool) -> bool:
        if replaces:
            self._store.remove(owner_name(node))
        try:
            self._store.create(owner_name(node), data, zlib.crc32(data))
        except NameTaken:
            return False
        return True

    def lock_owner(self, node: str | None) -> FileLock | None:
        return None
