"""Partitions that cannot be published for a reason of their own: each is retried after a pause."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from app.parquet.partition import Partition
from app.publish.rotation import WriterPolicy

log = logging.getLogger(__name__)


TOLD_AFTER_TRIES: Final = 5
"""With pauses that double from 0.1 s, this takes three seconds."""


class Trouble(msgspec.Struct):
    """since_ms, next_ms: on a clock that is never set: when it began, when the next try is. tries: so far.
    is_hastened: its next try was asked for, and whoever waits is told what comes of that."""

    partition: Partition
    error: str
    since_ms: int
    next_ms: int
    pause_ms: int
    tries: int = 1
    is_hastened: bool = False

    @property
    def lasts(self) -> bool:
        """Whether it is to be told to those who wait: a passing failure is over before that."""
        return self.tries >= TOLD_AFTER_TRIES and not self.is_hastened


def describe(trouble: Trouble) -> str:
    """The message for waiting requests."""
    partition = trouble.partition
    where = f"{partition.kind.value} of workspace {partition.workspace_id}, {partition.date}"
    return f"{where}, cannot be published now: {trouble.error}"


class SetAside:
    """Logged once when it begins, when the reason changes, and when it ends. For the writer thread;
    `troubles` from any."""

    def __init__(self, policy: WriterPolicy, timer: Callable[[], int]) -> None:
        self._policy = policy
        self._timer = timer
        self._troubles: dict[Partition, Trouble] = {}

    def failed(self, partition: Partition, error: Exception) -> None:
        """Note a failed try."""
        now, text = self._timer(), str(error)
        known = self._troubles.get(partition)
        if known is None:
            pause_ms = self._policy.retry_ms_min
            self._troubles[partition] = Trouble(partition, text, now, now + pause_ms, pause_ms)
        else:
            pause_ms = min(known.pause_ms * 2, self._policy.retry_ms_max)
            self._troubles[partition] = Trouble(
                partition, text, known.since_ms, now + pause_ms, pause_ms, known.tries + 1
            )
        if known is None or known.error != text:
            log.error(
                "%s of workspace %d, %s, cannot be published; its rows stay in the journal and publishing "
                "them is retried, other partitions continue: %s",
                partition.kind.value,
                partition.workspace_id,
                partition.date,
                text,
            )

    def done(self, partition: Partition) -> None:
        """It is published."""
        known = self._troubles.pop(partition, None)
        if known is not None:
            log.warning(
                "%s of workspace %d, %s, is published again after %.1f s",
                partition.kind.value,
                partition.workspace_id,
                partition.date,
                (self._timer() - known.since_ms) / 1000,
            )

    def waits(self, partition: Partition) -> bool:
        """Whether its pause is not over."""
        known = self._troubles.get(partition)
        return known is not None and self._timer() < known.next_ms

    def retry_now(self, partition: Partition) -> None:
        """Its pause is over: an operator asks for it, perhaps after removing the reason."""
        known = self._troubles.get(partition)
        if known is not None:
            known.next_ms = self._timer()
            known.is_hastened = True

    def troubles(self) -> list[Trouble]:
        return list(self._troubles.values())

    def oldest_s(self) -> float:
        """How long the oldest trouble lasts, seconds; 0 for none."""
        began = min((each.since_ms for each in self.troubles()), default=None)
        return 0.0 if began is None else (self._timer() - began) / 1000
