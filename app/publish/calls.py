"""Callbacks from the work on partitions that are over to the rest of the writer."""

from collections.abc import Callable

import msgspec

from app.parquet.partition import Partition


class Calls(msgspec.Struct, frozen=True):
    """first_lsn: the oldest frame that the journal still has.

    on_removed(partition, rows): called when rows are no longer in any file. wake: wakes the writer thread.
    release: has the journal trim published frames.
    """

    first_lsn: Callable[[], int]
    on_removed: Callable[[Partition, int], None]
    wake: Callable[[], None]
    release: Callable[[], None]
