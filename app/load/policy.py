"""The policy of a load, and the data passed between its parts."""

from typing import Final

import msgspec

BATCH_BYTES: Final = 4_000_000
BATCH_ROWS: Final = 50_000
"""Less than a service accepts by default. If it accepts less than that, a batch that is too large is
halved."""


class LoadPolicy(msgspec.Struct, frozen=True):
    """parallel: number of connections. patience_s: how long a batch may be refused, or the service be
    unreachable."""

    parallel: int = 4
    patience_s: float = 300.0
    timeout_s: float = 120.0
    batch_bytes: int = BATCH_BYTES
    batch_rows: int = BATCH_ROWS


class Batch(msgspec.Struct, frozen=True):
    """Lines that are sent together. identity: of the source; first: the row of its first line, from 1.

    size: its bytes in the source, for the progress bar.
    """

    source: str
    identity: str
    first: int
    lines: int
    body: bytes
    size: int = 0


class RefusedRow(msgspec.Struct, frozen=True):
    """A row that is not stored. line: what would have been sent."""

    source: str
    row: int
    reason: str
    line: bytes


class CannotLoad(Exception):
    """The load cannot start, or cannot continue. The message says what to do."""
