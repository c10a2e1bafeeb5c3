"""The policy for compacting files of partitions that are over."""

import msgspec

from app.parquet.laid_again import LayingPolicy


class FinalPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """laying: the properties of the final form.

    share: of one core, at most. free_bytes_min: what must be free on the disk when a file is compacted.
    interval_ms: between two checks when there is nothing to do. pause_ms: after the disk has failed.
    """

    laying: LayingPolicy
    share: float = 0.25
    free_bytes_min: int = 320_000_000
    interval_ms: int = 5_000
    pause_ms: int = 600_000
