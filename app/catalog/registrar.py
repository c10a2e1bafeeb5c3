"""The thread that registers published files in Iceberg tables, and catches up after an outage or a crash.

It follows the manifest: publishing, acknowledging and trimming never wait for a catalog.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from app.catalog.client import open_catalog, require_client
from app.catalog.left_out import LeftOutFiles
from app.catalog.policy import EXPIRY_INTERVAL_S, RETRY_S_MAX, RETRY_S_MIN, CatalogPolicy
from app.catalog.promoted_names import Known, save_known
from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.layout import Layout
from app.publish.manifest import Manifest

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog as IcebergCatalog

    from app.catalog.table import KindTable

log = logging.getLogger(__name__)

WRITER_FILE: Final = "catalog-writer"
LEFT_OUT_FILE: Final = "catalog-left-out"

PROBLEM_CHARACTERS_MAX: Final = 500


class Lag(msgspec.Struct, frozen=True):
    """Published files that are not registered yet. seconds: age of the oldest; 0 if there are none."""

    commits: int = 0
    files: int = 0
    seconds: float = 0.0


class Catalog(Protocol):
    """Something that follows the manifest of a service, or does nothing."""

    def start(self, manifest: Manifest) -> None: ...

    def close(self) -> None:
        """Register published files, within a time limit."""
        ...

    def status(self) -> dict[str, object] | None:
        """The state for GET /status; None if no catalog is configured."""
        ...


class RegistrarObserver(Protocol):
    """Callbacks about the registrar's work, on its thread."""

    def files_registered(self, files: int) -> None: ...

    def registration_failed(self) -> None: ...


class NoCatalog:
    """No catalog: files are listed only by the manifest."""

    def start(self, manifest: Manifest) -> None: ...

    def close(self) -> None: ...

    def status(self) -> None:
        return None


class Registrar:
    """state: directory of the manifest, where the name of this writer is kept. clock: ms since the epoch.

    left_out: files that do not fit. embedded: directory of an embedded catalog, created if missing.
    promoted: see `Known`. Raises CatalogMisconfigured.
    """

    def __init__(
        self,
        policy: CatalogPolicy,
        layout: Layout,
        fs: DurableFS,
        state: Path,
        clock: Callable[[], int],
        *,
        embedded: Path | None,
        observer: RegistrarObserver,
        promoted: Known = MappingProxyType({}),
    ) -> None:
        require_client()
        self._promoted = promoted
        self._policy = policy
        self._layout = layout
        self._fs = fs
        self._state = state
        self._clock = clock
        self._embedded = embedded
        self._observer = observer
        self.left_out = LeftOutFiles(fs, state / LEFT_OUT_FILE)
        self._manifest: Manifest | None = None
        self._catalog: IcebergCatalog | None = None
        self._tables: dict[Kind, KindTable] = {}
        self._registered: dict[Kind, int] = {}
        self._seen_commit = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._started_ms = clock()
        self._expired_ms = 0
        self.problem: str | None = None

    def start(self, manifest: Manifest) -> None:
        """Begin to follow the manifest; its state directory exists."""
        self._manifest = manifest
        self.left_out.load()
        save_known(self._fs, self._state, self._promoted)
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(self._policy.stop_timeout_s)
        lag = self.lag()
        if lag.files:
            log.warning(
                "%d published files are not in the catalog yet: the next start will register them", lag.files
            )

    def lag(self) -> Lag:
        """Until the catalog has responded once, all published files count."""
        waiting = self._waiting(self._manifest.files()) if self._is_behind and self._manifest else []
        if not waiting:
            return Lag()
        oldest_ms = min(_published_ms(file) for file in waiting)
        if len(self._registered) < len(Kind):
            oldest_ms = max(oldest_ms, self._started_ms)
        return Lag(
            len({file.commit for file in waiting}), len(waiting), max(self._clock() - oldest_ms, 0) / 1000
        )

    def status(self) -> dict[str, object]:
        lag = self.lag()
        return {
            "registered_commit": {kind.value: self._registered.get(kind) for kind in Kind},
            "lag": {"commits": lag.commits, "files": lag.files, "seconds": lag.seconds},
            "problem": self.problem,
            "left_out": [
                {"path": each.path, "kind": each.kind.value, "reason": each.reason}
                for each in self.left_out.listed()
            ],
        }

    @property
    def _is_behind(self) -> bool:
        return self._manifest is not None and self._seen_commit < self._manifest.last_commit

    def _waiting(self, files: Sequence[DataFile]) -> list[DataFile]:
        return [file for file in files if (file.commit or 0) > self._registered.get(file.kind, 0)]

    def _run(self) -> None:
        failures = 0
        while True:
            failures = 0 if self._turn() else failures + 1
            retry_s = min(RETRY_S_MIN * 2 ** min(failures, 10), RETRY_S_MAX)
            if self._stop.wait(retry_s if failures else self._policy.commit_interval_s):
                break
        self._turn()

    def _turn(self) -> bool:
        """Register new files; returns whether that succeeded."""
        try:
            self._catch_up()
            self._expire()
        except Exception as error:  # whatever the clients of catalogs and stores raise
            self._failed(error)
            return False
        if self.problem is not None:
            log.info("the catalog responds again, and all published files are registered")
            self.problem = None
        return True

    def _failed(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:PROBLEM_CHARACTERS_MAX]
        if self.problem != text:
            log.warning("published files cannot be registered in the catalog; trying again: %s", text)
        self.problem = text
        self._observer.registration_failed()
        self._disconnect()

    def _catch_up(self) -> None:
        manifest = self._manifest
        if manifest is None:
            return
        if self._catalog is None:
            self._connect()
        elif not self._is_behind:
            return
        commit = manifest.last_commit
        waiting = self._waiting(manifest.files())
        failed: Exception | None = None
        for kind, table in self._tables.items():
            if of_kind := [file for file in waiting if file.kind is kind]:
                try:
                    self._registered[kind] = table.register(of_kind)
                except Exception as error:  # one table does not stop the others
                    failed = failed or error
                else:
                    self._observer.files_registered(len(of_kind))
        if failed is not None:
            raise failed
        self._seen_commit = commit

    def _expire(self) -> None:
        """Rarely, since it reads every expired manifest list: once in as many commits as are kept."""
        now_ms = self._clock()
        policy = self._policy
        interval_s = min(EXPIRY_INTERVAL_S, policy.snapshots_max * policy.commit_interval_s)
        if not 0 <= now_ms - self._expired_ms < interval_s * 1000:
            for table in self._tables.values():
                table.expire(now_ms)
            self._expired_ms = now_ms

    def _connect(self) -> None:
        """Reopen the catalog, create missing tables, and read what they have registered of this writer."""
        from app.catalog.table import KindTable

        if self._embedded is not None:
            self._fs.make_directory(self._embedded)
        catalog = self._catalog = open_catalog(self._policy)
        writer = self._writer()
        self._tables = {
            kind: KindTable(
                catalog,
                self._policy,
                kind,
                self._layout.schema(kind),
                writer,
                time.sleep,
                self.left_out.add,
            )
            for kind in Kind
        }
        self._try_again()
        self._registered = {kind: table.registered(table.load()) for kind, table in self._tables.items()}
        self._seen_commit = -1

    def _try_again(self) -> None:
        """Files that did not fit may fit now: the table was changed, or the file was put back."""
        assert self._manifest is not None
        files = {file.path: file for file in self._manifest.files()}
        for kind, table in self._tables.items():
            waiting = [files[each.path] for each in self.left_out.of(kind) if each.path in files]
            if waiting and (added := table.add_again(waiting)):
                self.left_out.remove(added)
                log.info(
                    "%d files that could not be added to the table %s are in it now", len(added), kind.value
                )

    def _disconnect(self) -> None:
        """After any failure the next attempt reopens the catalog."""
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()

    def _writer(self) -> str:
        """Identifies this manifest, whose commits are counted from 1: another manifest is another writer."""
        path = self._state / WRITER_FILE
        if not self._fs.exists(path):
            self._fs.write_atomically(path, uuid.uuid4().hex.encode())
        return self._fs.read(path).decode()


def _published_ms(file: DataFile) -> int:
    return int(datetime.fromisoformat(file.created_at).timestamp() * 1000)
