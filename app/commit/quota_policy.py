"""What a quota says, apart from what judges by it: settings need this alone."""

from collections.abc import Mapping

import msgspec


class QuotaPolicy(msgspec.Struct, frozen=True):
    """rows_per_second: over time. burst_rows: how many may come at once. bytes_per_day: of texts and payloads
    of a UTC day. inflight_share: of what may be in flight altogether. None: no limit of this kind.
    """

    rows_per_second: float | None = None
    burst_rows: float = 0.0
    bytes_per_day: int | None = None
    inflight_share: float | None = None


QuotaPolicies = Mapping[int | None, QuotaPolicy]
"""By workspace; None is for those that have none of their own."""
