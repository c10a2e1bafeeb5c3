"""Backpressure: decides whether a batch is admitted, before its body is read.

Limits are in bytes, since memory and disk are. The bytes of a request are charged from before its body is
read until it is answered, so the sum over all clients is bounded, however many there are.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from app.commit.quota import Excess
from app.errors import DiskFull, Overloaded, Refused, WorkspaceOverShare


class AdmissionPolicy(msgspec.Struct, frozen=True):
    """max_inflight_bytes: bodies of all requests that are not answered yet.
    max_workspace_inflight_bytes: the same of one workspace.
    max_journal_bytes: the journal on disk, where rows wait to be written to files.
    max_workspace_journal_bytes: the part of it used by rows of one workspace.
    min_free_bytes: free space of the journal's or the files' disk below which batches are refused; they are
        accepted again above resume_free_bytes.
    min_free_inodes: the same for inodes.
    """

    max_inflight_bytes: int = 128_000_000
    max_workspace_inflight_bytes: int = 96_000_000
    max_journal_bytes: int = 4_000_000_000
    max_workspace_journal_bytes: int = 3_000_000_000
    min_free_bytes: int = 256_000_000
    resume_free_bytes: int = 320_000_000
    min_free_inodes: int = 1_000


class Levels(msgspec.Struct, frozen=True):
    """The current levels that are compared with the limits. free_bytes and free_inodes: of the fullest
    disk."""

    journal_bytes: int
    free_bytes: int
    free_inodes: int


class Limits(Protocol):
    """Limits of single workspaces, in addition to those for all."""

    def excess(self, workspace_id: int) -> Excess | None: ...
    def share_of(self, workspace_id: int) -> float | None: ...


class NoQuotas:
    """No workspace has limits of its own."""

    def excess(self, workspace_id: int) -> Excess | None:
        return None

    def share_of(self, workspace_id: int) -> float | None:
        return None


class Admission:
    """Counts the bytes in flight and refuses requests above the limits. Used only on the event loop.

    closed: the reason why all batches are refused (starting, draining, failed), or None.
    journal_of: the part of the journal, in the terms of `levels`, used by waiting rows of one workspace.
    quotas: limits of single workspaces.
    """

    def __init__(
        self,
        policy: AdmissionPolicy,
        levels: Callable[[], Levels],
        on_refusal: Callable[[str], None],
        closed: str | None = None,
        journal_of: Callable[[int], int] = lambda workspace_id: 0,
        quotas: Limits | None = None,
    ) -> None:
        self._policy = policy
        self._quotas = quotas or NoQuotas()
        self._levels = levels
        self._on_refusal = on_refusal
        self._journal_of = journal_of
        self._inflight = 0
        self._by_workspace: Counter[int] = Counter()
        self._disk_is_full = False
        self.closed = closed

    @property
    def inflight_bytes(self) -> int:
        return self._inflight

    def enter(self, workspace_id: int, size: int) -> None:
        """Reserves `size` bytes for a body about to be read. Raises Refused (nothing is reserved then)."""
        self._refuse(self._refusal(workspace_id, size))
        self._inflight += size
        self._by_workspace[workspace_id] += size

    def resize(self, workspace_id: int, size: int, new_size: int) -> None:
        """The body turned out to have another size (chunked, compressed).

        Raises Refused if there is no room for the growth; `size` then stays reserved.
        """
        if new_size > size:
            self._refuse(self._refusal_of_bytes(workspace_id, new_size - size))
        self._inflight += new_size - size
        self._by_workspace[workspace_id] += new_size - size

    def leave(self, workspace_id: int, size: int) -> None:
        self._inflight -= size
        self._by_workspace[workspace_id] -= size
        if not self._by_workspace[workspace_id]:
            del self._by_workspace[workspace_id]

    def reasons(self) -> list[str]:
        """Why a batch of any workspace would be refused now; empty if it would be accepted."""
        refusal = self._refusal_of_all(self._levels())
        return [] if refusal is None else [refusal.message]

    def _refuse(self, refusal: Refused | None) -> None:
        if refusal is None:
            return
        self._on_refusal(refusal.code)
        try:
            raise refusal
        finally:
            # Its traceback holds this frame, and the caller's with a body: no cycle may keep them.
            del refusal

    def _refusal(self, workspace_id: int, size: int) -> Refused | None:
        levels = self._levels()
        refusal = self._refusal_of_all(levels) or self._refusal_of_bytes(workspace_id, size)
        if refusal is not None:
            return refusal
        if (excess := self._quotas.excess(workspace_id)) is not None:
            return excess.error
        most = self._policy.max_workspace_journal_bytes
        if levels.journal_bytes > most and self._journal_of(workspace_id) > most:
            return WorkspaceOverShare(
                "Too many rows of this workspace are waiting to be written to files; send the batch again.",
                retry_after_s=2,
            )
        return None

    def _refusal_of_bytes(self, workspace_id: int, size: int) -> Refused | None:
        if self._inflight + size > self._policy.max_inflight_bytes:
            return Overloaded("Too many bytes are in flight; send the batch again.", retry_after_s=1)
        if self._by_workspace[workspace_id] + size > self._inflight_max(workspace_id, size):
            return WorkspaceOverShare(
                "This workspace has too many bytes in flight; send fewer batches at a time.", retry_after_s=1
            )
        return None

    def _inflight_max(self, workspace_id: int, size: int) -> int:
        """A single batch is admitted however small the share."""
        share = self._quotas.share_of(workspace_id)
        if share is None:
            return self._policy.max_workspace_inflight_bytes
        return max(int(self._policy.max_inflight_bytes * share), size)

    def _refusal_of_all(self, levels: Levels) -> Refused | None:
        if self.closed is not None:
            return Overloaded(f"The service is {self.closed}; send the batch again.", retry_after_s=5)
        policy = self._policy
        self._disk_is_full = levels.free_inodes < policy.min_free_inodes or levels.free_bytes < (
            policy.resume_free_bytes if self._disk_is_full else policy.min_free_bytes
        )
        if self._disk_is_full:
            return DiskFull("The disk is almost full; free space or wait for an operator.", retry_after_s=30)
        if levels.journal_bytes > policy.max_journal_bytes:
            return Overloaded(
                "The journal has reached journal.max_size: rows arrive faster than files can be written; "
                "send the batch again.",
                retry_after_s=10,
                code="journal_full",
            )
        return None
