"""The final form of files whose partition is over: compacted once, and published like any other version.

No reader may notice: bytes never move. The old version stays the beginning of the new one, whose footer
refers only to the new row groups; so a query with the old footer still finds its row groups, by an open
descriptor and by the path. Their bytes are freed only after a grace period (`giving_back.py`).
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FileState
from app.parquet.laid_again import ROW_GROUPS_MIN
from app.publish.background_work import BackgroundWork
from app.publish.final_policy import FinalPolicy
from app.publish.giving_back import GivingBack
from app.publish.laid_file import finished
from app.publish.layer import Laid, Layer, NotLaid, Outcome
from app.publish.manifest import Manifest
from app.publish.observer import WriterObserver
from app.publish.paths import SinkPaths
from app.publish.publisher import CONCERNS_ALL
from app.publish.rotation import WriterPolicy, is_final
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


class PublishesFinalForms(Protocol):
    """What makes files durable. Raises SyncFailed."""

    @property
    def is_idle(self) -> bool: ...

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
        publisher: PublishesFinalForms,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: WriterObserver,
        giving_back: GivingBack,
    ) -> None:
        self._policy = policy
        self._final = final
        self._fs = fs
        self._manifest = manifest
        self._publisher = publisher
        self._clock = clock
        self._timer = timer
        self._observer = observer
        self._giving_back = giving_back
        self._layer = Layer(fs, paths, root, policy, final.laying, "final", final.free_bytes_min)
        self._beside: BackgroundWork[Outcome] = BackgroundWork("final-form", final.share)
        self._next_ms = timer()
        self._left: set[str] = set()

    def start(self) -> None:
        """From now on files are compacted on a thread of their own."""
        self._beside.start()

    def stop(self) -> None:
        self._beside.stop()

    def turn(self) -> None:
        """Publish a compacted file; if it is time, begin the next one. Raises SyncFailed."""
        self._take()
        if self._timer() < self._next_ms or self._beside.is_busy or not self._publisher.is_idle:
            return
        self._next_ms = self._timer() + self._final.interval_ms
        file = max(self._gaining(), key=lambda each: each.date, default=None)
        if file is not None:
            self._beside.begin(partial(self._layer.lay, file))
            self._take()

    def _gaining(self) -> Iterator[DataFile]:
        """Files that may benefit, according to the manifest."""
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
        outcome = self._beside.outcome()
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
        log.warning("files cannot be compacted now; trying again later: %s", error)

    def _publish(self, laid: Laid) -> None:
        old = laid.old
        commit = self._manifest.last_commit + 1
        try:
            file, placement = finished(
                self._fs, self._layer, laid, self._policy, commit, self._clock(), erases=False
            )
        except OSError as error:
            self._layer.discard(laid)
            self._put_off(error)
            return
        self._left.add(old.path)  # once is enough, also where the name cannot be given
        self._giving_back.note_laid(old.path)
        self._publisher.replace(file, placement)
        if self._manifest.find(old.path) != file:
            return  # the disk has failed: the publisher goes on with it
        self._observer.file_laid_again(old.bytes, file.bytes - old.bytes)
        log.info(
            "%s was compacted: %d row groups instead of %d, %.1f MB instead of %.1f",
            old.path,
            file.row_groups,
            laid.facts.row_groups,
            (file.bytes - old.bytes) / 1e6,
            old.bytes / 1e6,
        )
