"""The final form of files whose partition is over: laid again once, and later the old bytes are given back.

No reader may notice: bytes never move. The old version stays the beginning of the new one, whose footer names
the new row groups alone; so a query with the old footer finds its row groups, by an open descriptor and by
the path. Only after a grace their bytes are punched out of the file. Killed in between, a start finds in the
manifest which files have bytes that are still to be given back.
"""

import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.disk.hole import NO_HOLES
from app.parquet.data_file import DataFile, FileState, FinalForm
from app.parquet.encode import rfc3339
from app.parquet.facts import facts_of, said_of
from app.parquet.laid_again import ROW_GROUPS_MIN
from app.parquet.row_group import MAGIC
from app.publish.final_policy import FinalPolicy
from app.publish.layer import Laid, Layer, NotLaid
from app.publish.manifest import Manifest
from app.publish.observer import Observer
from app.publish.paths import SinkPaths
from app.publish.publisher import CONCERNS_ALL
from app.publish.rotation import WriterPolicy, is_final
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


class Publishing(Protocol):
    """What makes files and records durable. Raises SyncFailed."""

    @property
    def is_idle(self) -> bool: ...

    def seal(self, files: list[DataFile]) -> None: ...

    def replace(self, file: DataFile, placement: Placement) -> None: ...


class FinalForms:
    """For the writer thread alone, while nothing else is being published.

    root: the directory of the files. clock: ms since the epoch. timer: ms on a clock that is never set.
    """

    def __init__(
        self,
        policy: WriterPolicy,
        final: FinalPolicy,
        fs: DurableFS,
        paths: SinkPaths,
        root: Path,
        manifest: Manifest,
        publisher: Publishing,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: Observer,
    ) -> None:
        self._policy = policy
        self._final = final
        self._fs = fs
        self._root = root
        self._manifest = manifest
        self._publisher = publisher
        self._clock = clock
        self._timer = timer
        self._observer = observer
        self._layer = Layer(fs, paths, root, policy, final)
        self._next_ms = timer()
        self._left: set[str] = set()
        self._laid_at: dict[str, int] = {}
        self._untouchable: set[str] = set()
        self._has_holes = True

    def start(self) -> None:
        """From here on files are laid again on a thread of their own."""
        self._layer.start()

    def stop(self) -> None:
        self._layer.stop()

    def turn(self) -> None:
        """Publish what was laid again; where it is time, give old bytes back and begin the next file.

        Raises SyncFailed.
        """
        self._take()
        if self._timer() < self._next_ms or not self._publisher.is_idle:
            return
        self._next_ms = self._timer() + self._final.interval_ms
        due = [file for file in self._manifest.files() if self._is_due(file)]
        if due and self._has_holes:
            self._give_back(due[: self._final.files_per_turn])
        if not self._layer.is_busy and self._publisher.is_idle:
            file = max(self._gaining(), key=lambda each: each.date, default=None)
            if file is not None:
                self._layer.begin(file)
                self._take()

    # --- laying -------------------------------------------------------------------------------------------

    def _gaining(self) -> Iterator[DataFile]:
        """Files that may gain, as far as the manifest tells."""
        now_ms = self._clock()
        for file in self._manifest.files():
            may_gain = file.row_groups == 0 or file.row_groups >= ROW_GROUPS_MIN
            if (
                may_gain
                and file.final is None
                and file.sealed
                and file.state is FileState.PUBLISHED
                and not file.lost_rows
                and file.path not in self._left
                and is_final(file.partition.end_ms, self._policy, now_ms)
            ):
                yield file

    def _take(self) -> None:
        outcome = self._layer.outcome()
        if outcome is None:
            return
        self._next_ms = self._timer()  # the next one may begin
        if isinstance(outcome, NotLaid):
            if outcome.error is None or outcome.error.errno not in CONCERNS_ALL:
                self._left.add(outcome.old.path)
            if outcome.error is not None:
                self._put_off(outcome.error)
        elif self._manifest.find(outcome.old.path) != outcome.old:
            self._layer.discard(outcome)  # removed meanwhile
        else:
            self._publish(outcome)

    def _put_off(self, error: OSError) -> None:
        self._next_ms = self._timer() + self._final.pause_ms
        log.warning("files are not laid again now; it is tried again later: %s", error)

    def _publish(self, laid: Laid) -> None:
        old, now_ms = laid.old, self._clock()
        form = FinalForm(laid_ms=now_ms, dead=((len(MAGIC), old.bytes),))
        end = laid.rows_again.footer(self._facts(laid, form))
        try:
            target = self._fs.open_append(self._layer.path_of(laid.staged))
            try:
                target.write([end])
                target.sync()
            finally:
                target.close()
        except OSError as error:
            self._layer.discard(laid)
            self._put_off(error)
            return
        size = laid.bytes + len(end)
        file = msgspec.structs.replace(
            old,
            bytes=size,
            compression=self._final.laying.layout.codec,
            updated_at=rfc3339(now_ms),
            row_groups=laid.rows_again.row_groups,
            final=form,
        )
        placement = Placement(
            root="data",
            staged=laid.staged,
            path=old.path,
            bytes=size,
            kept_bytes=old.bytes,
            crc=zlib.crc32(end, laid.crc),
        )
        self._left.add(old.path)  # once is enough, also where the name cannot be given
        self._laid_at[old.path] = self._timer()
        self._publisher.replace(file, placement)
        if self._manifest.find(old.path) != file:
            return  # the disk has failed: the publisher goes on with it
        self._observer.file_laid_again(old.bytes, size - old.bytes)
        log.info(
            "%s is laid again: %d row groups instead of %d, %.1f MB instead of %.1f",
            old.path,
            file.row_groups,
            laid.facts.row_groups,
            (size - old.bytes) / 1e6,
            old.bytes / 1e6,
        )

    def _facts(self, laid: Laid, form: FinalForm) -> dict[str, str]:
        """What the new version says of itself: as the old one, but for the commit."""
        old, said = laid.old, laid.facts
        return {
            "journal": self._policy.journal,
            "flush_offset": str(said.flush_offset),
            "writer": self._policy.writer_version,
            "kind": old.kind.value,
            "commit": str(self._manifest.last_commit + 1),
            "rows_commit": str(said.rows_commit),
            "first_lsn": str(old.first_lsn),
            "last_lsn": str(old.last_lsn),
            **said_of(form),
        }

    # --- giving back --------------------------------------------------------------------------------------

    def _is_due(self, file: DataFile) -> bool:
        """Whether the grace is over: for files of this process by the clock that is never set."""
        form = file.final
        if form is None or form.given_back or file.state is not FileState.PUBLISHED:
            return False
        if file.path in self._untouchable:
            return False
        laid_at = self._laid_at.get(file.path)
        if laid_at is not None:
            return self._timer() >= laid_at + self._final.grace_ms
        return self._clock() >= form.laid_ms + self._final.grace_ms

    def _give_back(self, due: list[DataFile]) -> None:
        given = []
        try:
            for file in due:
                form = file.final
                if form is not None and self._punch(file, form):
                    form = msgspec.structs.replace(form, given_back=True)
                    given.append(msgspec.structs.replace(file, final=form))
        except OSError as error:
            self._not_given_back(error)
        else:
            self._next_ms = self._timer()  # there may be more
        if given:
            self._publisher.seal(given)
            self._observer.bytes_given_back(sum(file.bytes - file.disk_bytes for file in given))
            for file in given:
                self._laid_at.pop(file.path, None)

    def _not_given_back(self, error: OSError) -> None:
        if error.errno not in NO_HOLES:
            self._put_off(error)
            return
        self._has_holes = False
        log.info(
            "this file system cannot give back a part of a file: the old bytes of files that were laid again "
            "stay on the disk"
        )

    def _punch(self, file: DataFile, form: FinalForm) -> bool:
        """False where the file is not what was published. Raises OSError; SyncFailed."""
        path = self._root / file.path
        try:
            is_ours = self._fs.stat(path).size == file.bytes and self._is_dead(path, form)
        except FileNotFoundError:
            is_ours = False
        if not is_ours:
            self._untouchable.add(file.path)
            log.warning("%s is not what was published: nothing of it is given back", file.path)
            return False
        for start, stop in form.dead:
            self._fs.punch(path, start, stop)
        return True

    def _is_dead(self, path: Path, form: FinalForm) -> bool:
        """Whether the file itself says so, and its footer names nothing there."""
        with self._fs.open_for_read(path) as source:
            try:
                metadata = pq.read_metadata(source)
            except pa.ArrowException:
                return False
        said = facts_of(metadata)
        if said is None or said.final is None or said.final.dead != form.dead:
            return False
        begin = min(_begins(metadata), default=0)
        return all(stop <= begin for _, stop in form.dead)


def _begins(metadata: pq.FileMetaData) -> Iterator[int]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            yield column.data_page_offset
            if column.dictionary_page_offset is not None:
                yield column.dictionary_page_offset
