"""How files of partitions that are over get their final form."""

import msgspec

from app.parquet.laid_again import LayingPolicy


class FinalPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """laying: what the final form looks like.

    share: of one core, at most. free_bytes_min: what must be free on the disk when a file is laid again.
    interval_ms: between two looks when nothing is to be done. pause_ms: after the disk has failed.
    """

    laying: LayingPolicy
    share: float = 0.25
    free_bytes_min: int = 320_000_000
    interval_ms: int = 5_000
    pause_ms: int = 600_000
