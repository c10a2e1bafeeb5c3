"""How old partitions are, whatever the system clock is set to meanwhile.

A sixteenth of a partition's age is how far its file may lag behind, so it is measured by a clock that is
never set. Only for those that are older than the process does the wall clock count, as it was at the start.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from app.parquet.partition import Partition
from app.publish.manifest import Manifest

PARTITIONS_MAX: Final = 100_000
"""Partitions whose beginning is remembered; beyond that, all are looked up in the manifest again."""


class Ages:
    """For the writer thread alone. clock: ms since the epoch. timer: ms on a clock that is never set."""

    def __init__(self, manifest: Manifest, clock: Callable[[], int], timer: Callable[[], int]) -> None:
        self._manifest = manifest
        self._timer_began_ms = clock() - timer()
        self._opened_ms: dict[Partition, int] = {}

    def opened_ms(self, partition: Partition, put_ms: int) -> int:
        """When the partition's first row came, on the clock that is never set. put_ms: when this row came."""
        opened_at = self._manifest.opened_at(partition)
        known = self._opened_ms.get(partition)
        if known is None or opened_at is None:
            known = put_ms
            if opened_at is not None:
                since_epoch_ms = int(datetime.fromisoformat(opened_at).timestamp() * 1000)
                known = min(since_epoch_ms - self._timer_began_ms, put_ms)
            if len(self._opened_ms) >= PARTITIONS_MAX:
                self._opened_ms.clear()
            self._opened_ms[partition] = known
        return known
