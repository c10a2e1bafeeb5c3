"""Files on an object store: staged locally, uploaded whole under names that no object has, never changed."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from app.disk.durable_fs import DurableFS
from app.object_store.store import NameTaken, ObjectStore
from app.object_store.uploads import make_calls
from app.parquet.data_file import DataFile
from app.publish.destination import Differences, NamesTaken
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


class Bucket:
    """A `Destination`. Others may write beside it: their objects are neither counted on nor touched."""

    def __init__(self, fs: DurableFS, store: ObjectStore) -> None:
        self._fs = fs
        self._store = store
        self._looked = False

    @property
    def grows_in(self) -> None:
        return None

    def prepare(self) -> None:
        """Look whether the store can be used, and say in the log if not; nobody waits for that."""
        if not self._looked:
            self._looked = True
            threading.Thread(target=self._look, name="store-check", daemon=True).start()

    def _look(self) -> None:
        try:
            next(iter(self._store.names("")), None)
        except OSError as error:
            log.warning(
                "%s cannot be used; batches are taken all the same, and files are written when it can: %s",
                self._store.policy.url,
                error,
            )

    def is_taken(self, path: str) -> bool:
        """Asking would cost a request a file; placing it tells as well."""
        return False

    def names(self, directory: str) -> Iterable[str]:
        paths = self._store.names(directory)
        return [path for path in paths if str(PurePosixPath(path).parent) == directory]

    def place(
        self, placements: Sequence[Placement], staged: Callable[[Placement], Path], placed: set[str]
    ) -> None:
        """All are tried, side by side; which could not be placed is raised afterwards."""
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

    def differences(self, files: Iterable[DataFile]) -> Differences:
        """Nothing is compared: listing takes a request a thousand names, and no object is ever half there."""
        return Differences()
