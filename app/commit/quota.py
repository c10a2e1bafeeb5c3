"""Quotas of workspaces, checked once per request, and charged when rows are durable.

A token bucket is filled with rows at the quota's rate, up to the burst. While it is not empty a request is
admitted, whatever its size; accepted rows are taken out, and may leave a debt that the next request must wait
for. So refused rows and duplicates are not charged, no batch is too large to be sent at all, and the rate is
kept on average.
"""

import math
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from app.commit.quota_policy import QuotaPolicies, QuotaPolicy
from app.commit.usage import DAY_MS, day_of
from app.errors import QuotaExceeded

RETRY_AFTER_S_MAX: Final = 86_400


class Excess(msgspec.Struct, frozen=True, array_like=True):
    """A workspace that has used up its quota, and for how long."""

    workspace_id: int
    retry_after_s: int
    message: str

    @property
    def error(self) -> QuotaExceeded:
        return QuotaExceeded(self.message, retry_after_s=self.retry_after_s)


class _Bucket(msgspec.Struct):
    level: float
    filled_ms: int


class Quotas:
    """Any thread. clock_ms: ms since the epoch. timer_ms: a monotonic clock. bytes_on: bytes of a workspace
    on a day."""

    def __init__(
        self,
        policies: QuotaPolicies,
        clock_ms: Callable[[], int],
        timer_ms: Callable[[], int],
        bytes_on: Callable[[int, str], int] = lambda workspace_id, day: 0,
    ) -> None:
        self._policies = policies
        self._clock_ms = clock_ms
        self._timer_ms = timer_ms
        self._bytes_on = bytes_on
        self._lock = threading.Lock()
        self._buckets: dict[int, _Bucket] = {}
        self._charged: set[int] = set()

    def replace(self, policies: QuotaPolicies) -> None:
        """Replaces the quotas; rows already used still count, up to the new burst."""
        with self._lock:
            self._policies = policies
            for workspace_id in list(self._buckets):
                policy = self._of(workspace_id)
                if policy is None or policy.rows_per_second is None:
                    del self._buckets[workspace_id]

    def charge(self, workspace_id: int, rows: int) -> None:
        """Charges rows of a workspace that are durable."""
        with self._lock:
            policy = self._of(workspace_id)
            if policy is None:
                return
            self._charged.add(workspace_id)
            if policy.rows_per_second is not None:
                self._filled(workspace_id, policy.rows_per_second, policy.burst_rows).level -= rows

    def excess(self, workspace_id: int) -> Excess | None:
        """Why a batch of this workspace is refused now."""
        if not self._policies:
            return None
        with self._lock:
            policy = self._of(workspace_id)
            if policy is None:
                return None
            excess = self._of_rows(workspace_id, policy)
        return excess or self._of_bytes(workspace_id, policy)

    def in_excess(self) -> list[Excess]:
        """All workspaces that have used up their quotas; those without a quota of their own only once they
        have been charged."""
        with self._lock:
            known = set(self._charged)
            known.update(
                each
                for each, policy in self._policies.items()
                if each is not None and policy.bytes_per_day is not None
            )
        return [excess for each in sorted(known) if (excess := self.excess(each)) is not None]

    def share_of(self, workspace_id: int) -> float | None:
        """The workspace's share of the bytes in flight; None if its quota has none."""
        if not self._policies:
            return None
        policy = self._of(workspace_id)
        return None if policy is None else policy.inflight_share

    def _of(self, workspace_id: int) -> QuotaPolicy | None:
        return self._policies.get(workspace_id) or self._policies.get(None)

    def _of_rows(self, workspace_id: int, policy: QuotaPolicy) -> Excess | None:
        rate = policy.rows_per_second
        if rate is None:
            return None
        level = self._filled(workspace_id, rate, policy.burst_rows).level
        if level > 0:
            return None
        wait_s = min(max(math.ceil(-level / rate), 1), RETRY_AFTER_S_MAX)
        message = f"This workspace may send {rate:g} rows per second and has sent more; send the batch again."
        return Excess(workspace_id, wait_s, message)

    def _of_bytes(self, workspace_id: int, policy: QuotaPolicy) -> Excess | None:
        if policy.bytes_per_day is None:
            return None
        now_ms = self._clock_ms()
        if self._bytes_on(workspace_id, day_of(now_ms)) < policy.bytes_per_day:
            return None
        left_s = math.ceil((DAY_MS - now_ms % DAY_MS) / 1000)
        message = (
            f"This workspace has sent the {policy.bytes_per_day} bytes it may send a day; its next day "
            "begins at midnight UTC."
        )
        return Excess(workspace_id, left_s, message)

    def _filled(self, workspace_id: int, rate: float, burst: float) -> _Bucket:
        now_ms = self._timer_ms()
        bucket = self._buckets.get(workspace_id)
        if bucket is None:
            bucket = self._buckets[workspace_id] = _Bucket(burst, now_ms)
        passed_s = max(now_ms - bucket.filled_ms, 0) / 1000
        bucket.level = min(bucket.level + passed_s * rate, burst)
        bucket.filled_ms = now_ms
        return bucket
