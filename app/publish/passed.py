"""Partitions whose time has passed: their files are declared final, compacted, and removed when too old."""

from collections.abc import Callable
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.parquet.partition import Partition
from app.publish.calls import Calls
from app.publish.destination import Destination
from app.publish.final_form import FinalForms
from app.publish.forgetting import ForgetCommand, Forgetting
from app.publish.giving_back import GivingBack
from app.publish.manifest import Manifest
from app.publish.observer import WriterObserver
from app.publish.paths import SinkPaths
from app.publish.publisher import Publisher
from app.publish.retention import Retention
from app.publish.rotation import WriterPolicy, is_final

SEAL_INTERVAL_MS: Final = 1_000


class PassedPartitions:
    """For the writer thread alone, while nothing else is being published.

    clock: ms since the epoch. timer: ms on a clock that is never set.
    """

    def __init__(
        self,
        policy: WriterPolicy,
        fs: DurableFS,
        paths: SinkPaths,
        manifest: Manifest,
        destination: Destination,
        publisher: Publisher,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: WriterObserver,
        calls: Calls,
    ) -> None:
        self._policy = policy
        self._manifest = manifest
        self._publisher = publisher
        self._clock = clock
        self._timer = timer
        self._seal_at_ms = timer() + policy.seal_after_ms  # replay may still bring rows of passed days
        self._retention = Retention(
            policy.retention,
            manifest,
            destination,
            publisher,
            lambda: clock() - policy.placings.late_ms,
            timer,
            observer,
            calls.first_lsn,
            calls.on_removed,
        )
        self._giving_back: GivingBack | None = None
        self._forgetting: Forgetting | None = None
        self._final: FinalForms | None = None
        root = destination.grows_in
        if root is None:
            return
        self._giving_back = GivingBack(policy.grace_ms, fs, root, manifest, publisher, clock, timer, observer)
        self._forgetting = Forgetting(
            policy,
            fs,
            paths,
            root,
            manifest,
            publisher,
            clock,
            observer,
            self._giving_back,
            calls,
        )
        if policy.final is not None:
            self._final = FinalForms(
                policy,
                policy.final,
                fs,
                paths,
                root,
                manifest,
                publisher,
                clock,
                timer,
                observer,
                self._giving_back,
            )

    def start(self) -> None:
        for part in (self._final, self._forgetting):
            if part is not None:
                part.start()

    def stop(self, reason: BaseException) -> None:
        """reason: why what was asked for is not done any more."""
        if self._final is not None:
            self._final.stop()
        if self._forgetting is not None:
            self._forgetting.stop(reason)

    def forget(self, command: ForgetCommand) -> None:
        """From any thread. Raises ValueError where published files never change."""
        if self._forgetting is None:
            raise ValueError("published files never change here")
        self._forgetting.ask(command)

    def turn(self, has_rows: Callable[[Partition], bool]) -> None:
        """has_rows: whether rows of a partition wait for their file. Raises SyncFailed."""
        self._seal(has_rows)
        if self._publisher.is_idle:
            self._retention.turn(has_rows)
        for part in (self._giving_back, self._forgetting, self._final):
            if part is not None and self._publisher.is_idle:
                part.turn()

    def _seal(self, has_rows: Callable[[Partition], bool]) -> None:
        """Declare final the files whose time has passed and for which no rows wait."""
        if self._timer() < self._seal_at_ms:
            return
        self._seal_at_ms = self._timer() + SEAL_INTERVAL_MS
        now_ms = self._clock()
        growing = [file for file in self._manifest.unsealed() if not has_rows(file.partition)]
        final = [file for file in growing if is_final(file.partition.end_ms, self._policy, now_ms)]
        final += self._too_many(growing, len(final), now_ms)
        if final:
            self._publisher.seal([msgspec.structs.replace(file, sealed=True) for file in final])

    def _too_many(self, growing: list[DataFile], final: int, now_ms: int) -> list[DataFile]:
        """Those whose time passed first, of more files than may grow."""
        excess = len(growing) - final - self._policy.open_partitions_max
        if excess <= 0:
            return []
        passed = [
            file
            for file in growing
            if file.partition.end_ms <= now_ms and not is_final(file.partition.end_ms, self._policy, now_ms)
        ]
        return sorted(passed, key=lambda file: file.partition.end_ms)[:excess]
