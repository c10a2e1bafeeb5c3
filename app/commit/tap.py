"""Passes rows to listeners as they are accepted. Listeners can never delay a commit.

The commit thread passes on references to record batches, charged against each listener's limits; a slow
listener misses rows, and is told how many. All other work is done by the listeners.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from app.commit.to_loop import call_on
from app.kinds import Kind

ROWS_MAX: Final = 10_000
BYTES_MAX: Final = 16 << 20
"""Bytes that may wait for one listener."""


Watch = Callable[[Kind, pa.RecordBatch], None]
"""Called with rows once they are durable."""


def unwatched(kind: Kind, rows: pa.RecordBatch) -> None:
    """Nobody looks."""


class TooManyListeners(Exception):
    """The maximum number of listeners is reached."""


class Watched(NamedTuple):
    """rows: as committed, including those of workspaces that the listener may not see. take: how many of the
    visible rows it gets, from the first."""

    kind: Kind
    rows: pa.RecordBatch
    take: int


class Listener:
    """Receives rows of one workspace, or of all if it is None. Belongs to an event loop."""

    def __init__(self, workspace_id: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self.workspace_id = workspace_id
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[Watched] = deque()
        self._rows = self._bytes = self._missed = 0
        self._wake = asyncio.Event()

    def offer(self, kind: Kind, rows: pa.RecordBatch) -> None:
        """Called by the commit thread."""
        mine = rows.num_rows if self.workspace_id is None else _count(rows, self.workspace_id)
        if not mine:
            return
        with self._lock:
            room = ROWS_MAX - self._rows if self._bytes < BYTES_MAX else 0
            take = min(mine, room)
            self._missed += mine - take
            if take:
                self._waiting.append(Watched(kind, rows, take))
                self._rows += take
                self._bytes += rows.nbytes
        call_on(self._loop, self._wake.set)

    def wake(self) -> None:
        """Ends a `take` that waits, on the event loop."""
        self._wake.set()

    async def take(self, seconds: float) -> tuple[list[Watched], int]:
        """The rows that have arrived, and how many were missed since the last call; empty after a timeout."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return [], 0
        self._wake.clear()
        with self._lock:
            taken, self._waiting = list(self._waiting), deque()
            missed, self._missed = self._missed, 0
            self._rows = self._bytes = 0
        return taken, missed


class Tap:
    """Listeners are added and removed on the event loop; rows are offered on the commit thread."""

    def __init__(self, listeners_max: int) -> None:
        self._listeners_max = listeners_max
        self._listeners: tuple[Listener, ...] = ()

    def offer(self, kind: Kind, rows: pa.RecordBatch) -> None:
        """Rows that are durable."""
        for listener in self._listeners:
            listener.offer(kind, rows)

    def listen(self, workspace_id: int | None) -> Listener:
        """Raises TooManyListeners."""
        if len(self._listeners) >= self._listeners_max:
            raise TooManyListeners
        listener = Listener(workspace_id, asyncio.get_running_loop())
        self._listeners = (*self._listeners, listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners = tuple(each for each in self._listeners if each is not listener)


def of_workspace(rows: pa.RecordBatch, workspace_id: int) -> pa.RecordBatch:
    """Only its own rows."""
    return rows.filter(pa.array(_mask(rows, workspace_id)))


def _mask(rows: pa.RecordBatch, workspace_id: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        rows.column("workspace_id").to_numpy(zero_copy_only=False) == workspace_id
    )
    return mask


def _count(rows: pa.RecordBatch, workspace_id: int) -> int:
    return int(np.count_nonzero(_mask(rows, workspace_id)))
