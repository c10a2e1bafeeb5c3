"""A load: reads sources, sends batches over several connections, and tracks the outcome of every row."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from app.kinds import Kind
from app.load.batches import Wishes, batches
from app.load.connection import Connection
from app.load.policy import Batch, CannotLoad, LoadPolicy
from app.load.send import BatchSender, LoadStopped
from app.load.sources import LoadSource
from app.load.tally import LoadTally

TICK_S: Final = 0.1
"""How often progress is reported."""

END_S: Final = 5.0
"""How long to wait for outstanding answers after an interruption."""


class Loader:
    """Runs once. connect: makes a connection to the service, for one thread."""

    def __init__(
        self, connect: Callable[[], Connection], kind: Kind, policy: LoadPolicy, tally: LoadTally
    ) -> None:
        self._kind = kind
        self._policy = policy
        self._tally = tally
        self._stop = threading.Event()
        self._waiting: queue.Queue[Batch | None] = queue.Queue(policy.parallel)
        self._failures: list[CannotLoad] = []
        self._threads = [
            threading.Thread(target=self._run, args=(connect(),), name=f"load-{number}", daemon=True)
            for number in range(policy.parallel)
        ]

    def run(self, sources: Sequence[LoadSource], wishes: Wishes, tick: Callable[[], None]) -> None:
        """Returns when each row is stored or refused. Raises CannotLoad, KeyboardInterrupt."""
        for thread in self._threads:
            thread.start()
        try:
            for source in sources:
                for batch in batches(source, wishes, self._policy, self._tally.refuse):
                    self._put(batch, tick)
            for _ in self._threads:
                self._put(None, tick)
            while any(thread.is_alive() for thread in self._threads):
                self._check()
                self._threads_join(TICK_S)
                tick()
            self._check()
        finally:
            self._stop.set()
            self._threads_join(END_S)

    def _put(self, batch: Batch | None, tick: Callable[[], None]) -> None:
        while True:
            self._check()
            try:
                self._waiting.put(batch, timeout=TICK_S)
            except queue.Full:
                tick()
                continue
            tick()
            return

    def _check(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _threads_join(self, seconds: float) -> None:
        """Waits for all of them, up to a time limit."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _run(self, connection: Connection) -> None:
        sender = BatchSender(connection, self._kind, self._policy, self._tally, self._stop)
        try:
            while not self._stop.is_set():
                try:
                    batch = self._waiting.get(timeout=TICK_S)
                except queue.Empty:
                    continue
                if batch is None:
                    return
                sender.send(batch)
        except LoadStopped:
            pass
        except CannotLoad as error:
            self._failures.append(error)
        except Exception as error:
            self._failures.append(CannotLoad(f"{type(error).__name__}: {error}"))
        finally:
            connection.close()
