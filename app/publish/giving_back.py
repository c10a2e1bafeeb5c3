"""Frees the old bytes of compacted files when the grace period is over.

First the bytes are freed, then the manifest's record is written: after a kill in between, a start repeats it.
Before bytes become zeros, the file itself must say that they are dead, and its footer must not refer to them.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.disk.hole import NO_HOLES
from app.parquet.data_file import DataFile, FileState, FinalForm
from app.parquet.facts import facts_of
from app.publish.manifest import Manifest
from app.publish.observer import WriterObserver

log = logging.getLogger(__name__)

FILES_PER_TURN: Final = 16
INTERVAL_MS: Final = 1_000
PAUSE_MS: Final = 600_000
"""The pause after the disk has failed."""

VERIFIED_BYTES: Final = 4 << 20
"""Bytes that are read at a time."""


class PublishesSeals(Protocol):
    """What makes records durable. Raises SyncFailed."""

    @property
    def is_idle(self) -> bool: ...

    def seal(self, files: list[DataFile]) -> None: ...


class GivingBack:
    """For the writer thread alone, while nothing else is being published.

    root: the directory of the files. grace_ms: how long the old bytes stay readable. clock: ms since the
    epoch. timer: ms on a clock that is never set.
    """

    def __init__(
        self,
        grace_ms: int,
        fs: DurableFS,
        root: Path,
        manifest: Manifest,
        publisher: PublishesSeals,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: WriterObserver,
    ) -> None:
        self._grace_ms = grace_ms
        self._fs = fs
        self._root = root
        self._manifest = manifest
        self._publisher = publisher
        self._clock = clock
        self._timer = timer
        self._observer = observer
        self._next_ms = timer()
        self._laid_at: dict[str, int] = {}
        self._untouchable: set[str] = set()
        self._has_holes = True

    def note_laid(self, path: str) -> None:
        """From now on the grace counts, by the clock that is never set."""
        self._laid_at[path] = self._timer()

    def turn(self) -> None:
        """One look, where it is time for it. Raises SyncFailed."""
        if self._timer() < self._next_ms:
            return
        self._next_ms = self._timer() + INTERVAL_MS
        due = [file for file in self._manifest.files() if self._is_due(file)][:FILES_PER_TURN]
        if due and self.give_back(due) is None:
            self._next_ms = self._timer()  # there may be more

    def _is_due(self, file: DataFile) -> bool:
        """Whether the grace is over: for files of this process by the clock that is never set."""
        form = file.final
        if form is None or form.given_back or file.state is not FileState.PUBLISHED:
            return False
        if file.path in self._untouchable or not (self._has_holes or form.erases):
            return False
        laid_at = self._laid_at.get(file.path)
        if laid_at is not None:
            return self._timer() >= laid_at + self._grace_ms
        return self._clock() >= form.laid_ms + self._grace_ms

    def give_back(self, files: Sequence[DataFile]) -> OSError | None:
        """Frees the bytes immediately. Returns why not all of it could be done. Raises SyncFailed."""
        given, failure = [], None
        for file in files:
            try:
                form = file.final
                if form is not None and self._zero(file, form):
                    form = msgspec.structs.replace(form, given_back=True)
                    given.append(msgspec.structs.replace(file, final=form))
            except OSError as error:
                failure = error
                self._failed(error)
                break
        if given:
            self._publisher.seal(given)
            self._observer.bytes_given_back(sum(file.bytes - file.disk_bytes for file in given))
            for file in given:
                self._laid_at.pop(file.path, None)
        return failure

    def _failed(self, error: OSError) -> None:
        if error.errno in NO_HOLES:
            self._has_holes = False
            log.info(
                "this file system cannot free part of a file: the old bytes of compacted files stay on the "
                "disk"
            )
        else:
            self._next_ms = self._timer() + PAUSE_MS
            log.warning("old bytes cannot be freed now; trying again later: %s", error)

    def _zero(self, file: DataFile, form: FinalForm) -> bool:
        """False if the file was changed since it was published. Raises OSError; SyncFailed."""
        path = self._root / file.path
        try:
            is_ours = self._fs.stat(path).size == file.bytes and self._is_dead(path, form)
        except FileNotFoundError:
            is_ours = False
        if not is_ours:
            self._untouchable.add(file.path)
            log.warning(
                "%s has been changed since it was published: none of its old bytes are freed", file.path
            )
            return False
        for start, stop in form.dead:
            try:
                self._fs.punch(path, start, stop)
            except OSError as error:
                if error.errno not in NO_HOLES or not form.erases:
                    raise
                self._fs.overwrite_with_zeros(path, start, stop)
            if form.erases:
                self._verify(path, start, stop)
        return True

    def _verify(self, path: Path, start: int, stop: int) -> None:
        for at in range(start, stop, VERIFIED_BYTES):
            if self._fs.read(path, at, min(VERIFIED_BYTES, stop - at)).strip(b"\0"):
                raise OSError(f"{path} still has old bytes after {at}")

    def _is_dead(self, path: Path, form: FinalForm) -> bool:
        """Whether the file itself says so, and its footer does not refer to these bytes."""
        with self._fs.open_for_read(path) as source:
            try:
                metadata = pq.read_metadata(source)
            except pa.ArrowException:
                return False
        said = facts_of(metadata)
        if said is None or said.final is None or said.final.dead != form.dead:
            return False
        begin = min(_begins(metadata), default=max(stop for _, stop in form.dead))
        return all(stop <= begin for _, stop in form.dead)


def _begins(metadata: pq.FileMetaData) -> Iterator[int]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            yield column.data_page_offset
            if column.dictionary_page_offset is not None:
                yield column.dictionary_page_offset
