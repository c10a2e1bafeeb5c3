"""Quotas as data, separate from the code that checks them, for the settings."""

from collections.abc import Mapping

import msgspec


class QuotaPolicy(msgspec.Struct, frozen=True):
    """rows_per_second: on average. burst_rows: how many may arrive at once. bytes_per_day: of texts and
    payloads per UTC day. inflight_share: of the total bytes in flight. None: no limit of this kind.
    """

    rows_per_second: float | None = None
    burst_rows: float = 0.0
    bytes_per_day: int | None = None
    inflight_share: float | None = None


QuotaPolicies = Mapping[int | None, QuotaPolicy]
"""By workspace; None is for workspaces without a quota of their own."""
