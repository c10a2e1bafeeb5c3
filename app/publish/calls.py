"""What the work on partitions that are over asks of the rest of the writer, and tells it."""

from collections.abc import Callable

import msgspec

from app.parquet.partition import Partition


class Calls(msgspec.Struct, frozen=True):
    """first_lsn: the oldest frame that the journal still has.

    on_removed(partition, rows): they are in no file from now on. wake: has the writer thread look again.
    release: has the journal give up what is published.
    """

    first_lsn: Callable[[], int]
    on_removed: Callable[[Partition, int], None]
    wake: Callable[[], None]
    release: Callable[[], None]
