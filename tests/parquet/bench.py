"""A writer that is moved on by hand: no thread, and the clock stands still until it is moved."""

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.object_store.store import ObjectStore
from app.publish.bucket import Bucket
from app.publish.destination import Destination
from app.publish.intake import FlushResult
from app.publish.interrupted import RecoveryReport, recover
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from tests.parquet.rows import NOON_MS

JOURNALS = frozenset({"the journal of the tests"})

Journal = dict[int, tuple[Kind, pa.RecordBatch]]


class Bench:
    """`journal` stands for the real one: what was put and not trimmed is put again by `start`.

    store: where files go; without one, a directory.
    """

    def __init__(
        self,
        root: Path,
        fs: DurableFS | None = None,
        policy: WriterPolicy | None = None,
        journal: Journal | None = None,
        store: ObjectStore | None = None,
    ) -> None:
        self.fs = fs or DurableFS()
        self.paths = SinkPaths(root / "data" if store is None else None, root / "state")
        self.destination: Destination | None = None if store is None else Bucket(self.fs, store)
        self.policy = msgspec.structs.replace(policy or WriterPolicy(), journal=min(JOURNALS))
        self.journal: Journal = {} if journal is None else journal
        self.now_ms = NOON_MS
        self.journal_bytes = 0
        self.trimmed = 0
        self.rows_read_back = 0
        self.fatal: list[BaseException] = []
        self.report = self.start()

    def start(self) -> RecoveryReport:
        """What a start of the service does; a second time stands for a restart."""
        self.manifest, self.report = recover(
            self.fs, self.paths, self.destination, journals=JOURNALS, node=self.policy.node
        )
        self.writer = Writer(
            self.policy,
            self.fs,
            self.paths,
            self.manifest,
            clock=lambda: self.now_ms,
            timer=lambda: self.now_ms,
            on_trim=self._trim,
            on_fatal=self.fatal.append,
            journal_bytes=lambda: self.journal_bytes,
            first_lsn=lambda: min(self.journal, default=1 << 62),
            read_back=self._read_back,
            destination=self.destination,
        )
        for lsn, (kind, rows) in self.journal.items():
            self.writer.put(lsn, kind, rows)
        return self.report

    def _read_back(
        self, first_lsn: int, last_lsn: int, kinds: Collection[Kind]
    ) -> Iterator[tuple[int, Kind, pa.RecordBatch]]:
        for lsn, (kind, rows) in sorted(self.journal.items()):
            if first_lsn <= lsn <= last_lsn and kind in kinds:
                self.rows_read_back += rows.num_rows
                yield lsn, kind, rows

    def _trim(self, through: int) -> None:
        self.trimmed = through
        for lsn in [lsn for lsn in self.journal if lsn <= through]:
            del self.journal[lsn]

    @property
    def data(self) -> Path:
        assert self.paths.data is not None
        return self.paths.data

    def put(self, lsn: int, rows: pa.RecordBatch, kind: Kind = Kind.EVENTS) -> None:
        self.journal[lsn] = kind, rows
        self.writer.put(lsn, kind, rows)

    def flush(self, workspace_id: int | None = None) -> FlushResult:
        future = self.writer.flush(workspace_id)
        self.writer.turn()
        return future.result(timeout=0)

    def turn_at(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.writer.turn()
