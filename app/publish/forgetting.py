"""Removes rows from published files: those of one device or user, for example.

Each file with matching rows is rewritten without them, behind its old bytes, and is then sealed; the rows
count as removed. The old bytes become zeros after the grace period, as in any compacted file, or immediately,
in which case running queries over these files may fail. After a kill some files are done and others are not:
repeating the request finds the rest.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FileState
from app.parquet.laid_again import LayingPolicy
from app.parquet.wanted import Wanted
from app.publish.background_work import BackgroundWork
from app.publish.calls import Calls
from app.publish.giving_back import GivingBack
from app.publish.laid_file import finished
from app.publish.layer import Laid, Layer, Outcome
from app.publish.manifest import Manifest
from app.publish.observer import WriterObserver
from app.publish.paths import SinkPaths
from app.publish.removed_files import RemovedRows
from app.publish.rotation import WriterPolicy
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


class ForgottenFile(msgspec.Struct, frozen=True):
    """rows: removed rows. old_bytes: the old bytes with these rows. are_zeros: whether these are zeros, as
    verified."""

    path: str
    rows: int
    old_bytes: int
    are_zeros: bool


class LeftFile(msgspec.Struct, frozen=True):
    """A file that may still contain such rows, and why."""

    path: str
    why: str


class Forgotten(msgspec.Struct):
    """looked_at: how many files were searched."""

    looked_at: int = 0
    files: list[ForgottenFile] = []
    left: list[LeftFile] = []

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


class ForgetCommand(msgspec.Struct, eq=False):
    """now: whether the old bytes become zeros immediately."""

    wanted: Wanted
    now: bool
    future: Future[Forgotten]


class PublishesForgotten(Protocol):
    """What makes files durable. Raises SyncFailed."""

    @property
    def is_idle(self) -> bool: ...

    def replace(self, file: DataFile, placement: Placement, removed: list[RemovedRows]) -> None: ...


class _Work(msgspec.Struct, eq=False):
    """One command under way. publishing: a file that was handed over, and how many rows it has lost."""

    command: ForgetCommand
    found: Forgotten
    paths: deque[str] | None = None
    publishing: tuple[DataFile, DataFile, int] | None = None


class Forgetting:
    """`ask` from any thread; the rest for the writer thread alone, while nothing else is being published.

    root: the directory of the files. clock: ms since the epoch.
    """

    def __init__(
        self,
        policy: WriterPolicy,
        fs: DurableFS,
        paths: SinkPaths,
        root: Path,
        manifest: Manifest,
        publisher: PublishesForgotten,
        clock: Callable[[], int],
        observer: WriterObserver,
        giving_back: GivingBack,
        calls: Calls,
    ) -> None:
        self._policy = policy
        self._fs = fs
        self._manifest = manifest
        self._publisher = publisher
        self._clock = clock
        self._observer = observer
        self._giving_back = giving_back
        self._calls = calls
        laying = policy.final.laying if policy.final else LayingPolicy(layout=policy.layout, sort=())
        self._layer = Layer(fs, paths, root, policy, laying, "forget", 0)
        self._beside: BackgroundWork[Outcome | list[DataFile]] = BackgroundWork("forget", 1.0, calls.wake)
        self._commands: SimpleQueue[ForgetCommand] = SimpleQueue()
        self._work: _Work | None = None
        self._ended: BaseException | None = None

    def start(self) -> None:
        self._beside.start()

    def stop(self, reason: BaseException) -> None:
        """The waiting request fails with the reason."""
        self._beside.stop()
        self._ended = reason
        work, self._work = self._work, None
        if work is not None and not work.command.future.done():
            work.command.future.set_exception(reason)
        self._refuse(reason)

    def ask(self, command: ForgetCommand) -> None:
        self._commands.put(command)
        if self._ended is not None:
            self._refuse(self._ended)

    def _refuse(self, reason: BaseException) -> None:
        while (command := self._next()) is not None:
            command.future.set_exception(reason)

    def turn(self) -> None:
        """Does one step. Raises SyncFailed."""
        if self._work is None and (command := self._next()) is not None:
            self._work = _Work(command, Forgotten())
            self._search(self._work)
        while self._work is not None and self._publisher.is_idle and self._step(self._work):
            continue

    def _next(self) -> ForgetCommand | None:
        try:
            return self._commands.get_nowait()
        except Empty:
            return None

    def _search(self, work: _Work) -> None:
        wanted = work.command.wanted
        files = []
        for file in self._manifest.files():
            if wanted.workspace_id not in (None, file.workspace_id) or file.state is FileState.REMOVED:
                continue
            if file.state is FileState.CHANGED:
                work.found.left.append(LeftFile(file.path, "it has been changed since it was published"))
            elif file.rows:
                files.append(file)
        work.found.looked_at = len(files)
        self._beside.begin(partial(self._layer.find, files, wanted))

    def _step(self, work: _Work) -> bool:
        """Whether there is more to do immediately."""
        if work.publishing is not None:
            self._note(work, *work.publishing)
            return True
        if self._beside.is_busy:
            outcome = self._beside.outcome()
            if outcome is None:
                return False
            if isinstance(outcome, list):
                work.paths = deque(file.path for file in outcome)
            else:
                self._take(work, outcome)
            return True
        if not work.paths:
            self._work = None
            self._calls.release()
            work.command.future.set_result(work.found)
            return False
        file = self._manifest.find(work.paths.popleft())
        if file is not None:
            self._beside.begin(partial(self._layer.lay, file, without=work.command.wanted))
        return True

    def _take(self, work: _Work, outcome: Outcome) -> None:
        path = outcome.old.path
        now = self._manifest.find(path)
        if not isinstance(outcome, Laid):
            if outcome.why:
                work.found.left.append(LeftFile(path, outcome.why))
        elif now != outcome.old:
            self._layer.discard(outcome)  # it has grown meanwhile, or is removed
            if now is not None and work.paths is not None:
                work.paths.append(path)
        elif not outcome.rows_again.rows_left_out:
            self._layer.discard(outcome)
        else:
            self._publish(work, outcome)

    def _publish(self, work: _Work, laid: Laid) -> None:
        old, rows = laid.old, laid.rows_again.rows_left_out
        commit = self._manifest.last_commit + 1
        try:
            file, placement = finished(
                self._fs, self._layer, laid, self._policy, commit, self._clock(), erases=True
            )
        except OSError as error:
            self._layer.discard(laid)
            work.found.left.append(LeftFile(old.path, str(error)))
            return
        removed = RemovedRows(
            workspace_id=old.workspace_id, kind=old.kind, files=0, rows=rows, last_lsn=old.last_lsn
        )
        work.publishing = old, file, rows
        self._publisher.replace(file, placement, [removed])

    def _note(self, work: _Work, old: DataFile, file: DataFile, rows: int) -> None:
        """What was handed over is published, or could not be."""
        work.publishing = None
        if self._manifest.find(file.path) != file:
            work.found.left.append(LeftFile(file.path, "it cannot be replaced now; see the log"))
            return
        self._calls.on_removed(file.partition, rows)
        self._observer.rows_forgotten(rows)
        self._giving_back.note_laid(file.path)
        failure = self._giving_back.give_back([file]) if work.command.now else None
        if failure is not None:
            work.found.left.append(LeftFile(file.path, str(failure)))
        now = self._manifest.find(file.path)
        are_zeros = now is not None and now.final is not None and now.final.given_back
        work.found.files.append(ForgottenFile(file.path, rows, old.bytes, are_zeros))
