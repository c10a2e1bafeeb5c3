"""The memory limit for the rows of one group: batches that do not fit go to the next group."""

from collections import Counter
from typing import Final

GROUP_BYTES: Final = 128 << 20
"""Bytes of all rows of a group, including escapes; an Arrow column holds at most 2 GB."""

WORKSPACE_BYTES: Final = 64 << 20
"""Bytes of one workspace's rows: rows may share bytes of their body, so small bodies can become large."""


SMALL_BYTES: Final = 1 << 20
"""Batches of ordinary size fit next to any number of large ones, up to twice the room of the group."""

UNCOUNTED_SHARE: Final = 64
"""Batches that together have no more than a workspace's room divided by this are not counted."""


class GroupRoom:
    """Counts the expanded size of the batches of one group, before anything is copied."""

    def __init__(self, group_bytes: int = GROUP_BYTES, workspace_bytes: int = WORKSPACE_BYTES) -> None:
        self._group_bytes = group_bytes
        self._workspace_bytes = workspace_bytes
        self._by_workspace: Counter[int] = Counter()
        self.uncounted_bytes: Final = workspace_bytes // UNCOUNTED_SHARE

    def take(self, workspace_id: int, size: int) -> bool:
        """Whether a batch of this size has room. The first batch always fits, so that every batch gets its
        turn."""
        taken, own = self._by_workspace.total(), self._by_workspace[workspace_id]
        limit = self._group_bytes * (2 if size <= SMALL_BYTES else 1)
        fits = taken + size <= limit and (not own or own + size <= self._workspace_bytes)
        if fits or not taken:
            self._by_workspace[workspace_id] += size
            return True
        return False
