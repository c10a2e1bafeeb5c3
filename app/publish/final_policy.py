"""How files of partitions that are over get their final form."""

import msgspec

from app.parquet.laid_again import LayingPolicy


class FinalPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """laying: what the final form looks like.

    grace_ms: how long the bytes of the time before stay readable: for queries that began before.
    share: of one core, at most. free_bytes_min: what must be free on the disk when a file is laid again.
    interval_ms: between two looks when nothing is to be done. pause_ms: after the disk has failed.
    files_per_turn: of which the dead bytes are given back together.
    """

    laying: LayingPolicy
    grace_ms: int = 3_600_000
    share: float = 0.25
    free_bytes_min: int = 0
    interval_ms: int = 5_000
    pause_ms: int = 600_000
    files_per_turn: int = 16
