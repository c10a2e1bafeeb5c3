"""How a journal writes, and its limits."""

from typing import Final, Literal

import msgspec

from app.journal.frame import FRAME_BYTES_MAX

RESERVED_LSNS_PER_START: Final = 1 << 40
"""LSNs that one run of the process may use in memory mode, where frames leave no trace on disk."""


class JournalPolicy(msgspec.Struct, frozen=True):
    """acknowledge: what `append` waits for.
        fsync: on stable storage; survives a power cut.
        write: handed to the kernel; survives a kill of the process only.
        memory: nothing; entries are held in the process until trimmed, and a kill loses them.
    segment_bytes: a segment that has reached this is followed by a new one; it may exceed it by one append.
    max_frame_bytes: largest payload that `append` takes.
    """

    acknowledge: Literal["fsync", "write", "memory"] = "fsync"
    segment_bytes: int = 64_000_000
    max_frame_bytes: int = FRAME_BYTES_MAX

    def __post_init__(self) -> None:
        if not 0 < self.max_frame_bytes <= FRAME_BYTES_MAX:
            raise ValueError(f"max_frame_bytes must be 1 to {FRAME_BYTES_MAX}, not {self.max_frame_bytes}")
        if self.segment_bytes <= 0:
            raise ValueError(f"segment_bytes must be positive, not {self.segment_bytes}")
