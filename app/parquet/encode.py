"""How rows are encoded: names, sizes that are learnt, times as text."""

from datetime import UTC, datetime
from typing import Final

TELLING_BYTES: Final = 256 << 10
"""Row groups of this size in memory show how well such rows compress."""


SHRINK: Final = 0.8
"""A row group that did not fit is retried with this share of its rows."""


def rfc3339(ms: int) -> str:
    """ms since the epoch as RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
