"""Turns workers' proposals into groups of the process that owns the journal.

All proposals that arrive while the previous ones are being made durable are made durable together, by one
sync, whichever workers they are from.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from app.commit.batch_ids import DeduplicationWindow
from app.commit.group import GroupCounts
from app.commit.payload import RowsFrameCodec
from app.commit.settle import ReadProposal, SettledFrame, Settlement, settle
from app.commit.store import NotStored
from app.kinds import Kind
from app.workers.messages import GroupFailed, GroupStored


class Waiting(NamedTuple):
    """A proposal and its number, by which the worker knows what became of it."""

    number: int
    read: ReadProposal


class ProposedGroups:
    """Groups of several workers that are committed together; each is answered GroupStored or GroupFailed."""

    def __init__(self, pending: list[tuple[Waiting, Callable[[GroupStored | GroupFailed], None]]]) -> None:
        self._waiting = [waiting for waiting, _ in pending]
        self.replies = [reply for _, reply in pending]
        self.size = sum(map(payload_bytes, self._waiting))
        self.postponed: Sequence[Any] = ()
        self.counts = GroupCounts(len(pending))
        self.accepted: Counter[tuple[int, Kind]] = Counter()
        self._settlements: list[Settlement] = []

    def decode(self) -> None:
        """Workers have done so."""

    def settle(self, window: DeduplicationWindow, codec: RowsFrameCodec) -> Sequence[SettledFrame]:
        self._settlements = settle([waiting.read for waiting in self._waiting], window)
        for waiting, settlement in zip(self._waiting, self._settlements, strict=True):
            batches = waiting.read.proposal.batches
            for frame in settlement.frames:
                for owner, count in zip(frame.rows.owners, frame.rows.counts, strict=True):
                    self.accepted[batches[owner].workspace_id, frame.rows.kind] += count
        return [frame for settlement in self._settlements for frame in settlement.frames]

    def answers(self, sync_seconds: float) -> list[GroupStored]:
        return [
            GroupStored(waiting.number, settlement.outcomes, sync_seconds)
            for waiting, settlement in zip(self._waiting, self._settlements, strict=True)
        ]

    def refused(self, why: NotStored) -> list[GroupFailed]:
        return [GroupFailed(waiting.number, why.why, str(why)) for waiting in self._waiting]


def payload_bytes(waiting: Waiting) -> int:
    return waiting.read.proposal.payload_bytes


def one_lane(waiting: Waiting) -> int:
    """Workers have let their workspaces take turns already."""
    return 0
