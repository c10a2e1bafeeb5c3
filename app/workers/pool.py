"""The worker processes, seen from the process that owns the journal."""

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol

from app.commit.admission import Levels
from app.commit.quota import Excess
from app.commit.recent_refusals import RecentRefusal
from app.commit.settle import read_proposal
from app.workers.merged_metrics import added, counted
from app.workers.messages import (
    AdmissionState,
    Channel,
    Family,
    FromWorker,
    Hello,
    Measure,
    Measured,
    Noted,
    Propose,
    Publish,
    PublishDone,
    StateSeen,
    Stuck,
    ToWorker,
)
from app.workers.proposals import Waiting

log = logging.getLogger(__name__)

STATE_INTERVAL_S: Final = 0.1
"""The maximum age of the levels by which a worker admits batches."""

RESTART_INTERVAL_S: Final = 0.5
"""The shortest interval between two starts of a worker."""

FAILED_STARTS_MAX: Final = 5
"""Consecutive workers that may end before they report anything; after that, starting another one will not
help."""

MEASURE_SECONDS_MAX: Final = 1.0
"""How long a scrape waits for a worker; then its last values are used."""

Spawn = Callable[[int, socket.socket], BaseProcess]
"""Starts worker `index` with its end of the socket."""


class WorkersFailed(Exception):
    """No worker comes up."""


class PoolOwner(Protocol):
    """What the pool asks of the service."""

    def closed(self) -> str | None: ...
    def levels(self) -> Levels: ...
    def crowded(self) -> Sequence[int]: ...
    def in_excess(self) -> Sequence[Excess]: ...
    def propose(self, waiting: Waiting, reply: Callable[[Any], None]) -> None: ...
    def publish(self, workspace_id: int) -> "Future[bool]": ...
    def refused(self, refused: Sequence[RecentRefusal]) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class Worker:
    """One process and its channel. families: what it said last of its metrics.

    version: of the state that it has seen; None until it runs. greeted: it has the socket, and listens.
    """

    def __init__(self, index: int, process: BaseProcess, channel: Channel) -> None:
        self.index = index
        self.process = process
        self.channel = channel
        self.families: Sequence[Family] = ()
        self.version: int | None = None
        self.greeted = False

    def greet(self, listener: socket.socket) -> None:
        """Gives it the socket on which it accepts: nothing is told before that."""
        with contextlib.suppress(OSError):  # it has ended, and is replaced
            self.channel.send_socket(listener)
            self.greeted = True

    def tell(self, message: ToWorker) -> None:
        """Never blocks; tells nothing where it was not greeted.

        A worker that does not read is ended: its clients see their connections break.
        """
        if not self.greeted:
            return
        try:
            self.channel.send_at_once(message)
        except Stuck:
            log.error("worker %d does not read its socket; it is terminated", self.index)
            self.process.kill()
        except OSError:
            pass  # it has ended, and is replaced


class Pool:
    """Starts workers, replaces them, stops them. Any thread.

    listener: on which they accept. restarts: how many were replaced.
    """

    def __init__(self, count: int, listener: socket.socket, spawn: Spawn, owner: PoolOwner) -> None:
        self._listener = listener
        self._count = count
        self._spawn = spawn
        self._owner = owner
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._past: Sequence[Family] = ()
        self._vacant: list[int] = []
        self._measuring: dict[int, threading.Event] = {}
        self._numbers = itertools.count(1)
        self._version = 0
        self._closed_before: str | None = None
        self._failed_starts = 0
        self._ending = False
        self._watching = threading.Thread(target=self._watch, name="workers")
        self.restarts = 0

    def start(self) -> None:
        """Returns when all are started; they say for themselves when they run."""
        self._closed_before = self._owner.closed()
        for index in range(self._count):
            self._begin(index)
        self._watching.start()

    def stop(self, seconds: float) -> None:
        """Lets the workers answer their requests, and ends them after a time limit."""
        self._ending = True
        self._watching.join()
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0.0))
            if worker.process.is_alive():
                log.warning("worker %d does not stop; it is killed", worker.index)
                worker.process.kill()
                worker.process.join()
            worker.channel.close()

    def reasons_not_ready(self) -> list[str]:
        """Why a batch may find no worker that takes it."""
        workers = self._workers
        if any(worker.version == self._version for worker in workers) and all(
            worker.version in (None, self._version) for worker in workers
        ):
            return []
        return ["starting: worker processes"]

    def families(self) -> list[Sequence[Family]]:
        """What all workers have counted, those that have ended included. Waits for the slowest a moment."""
        workers = list(self._workers)
        asked: list[tuple[Worker, threading.Event]] = []
        numbers = [next(self._numbers) for _ in workers]
        for worker, number in zip(workers, numbers, strict=True):
            event = self._measuring[number] = threading.Event()
            if worker.greeted:
                worker.tell(Measure(number))
                asked.append((worker, event))
        deadline = time.monotonic() + MEASURE_SECONDS_MAX
        for worker, event in asked:
            while not event.wait(0.05) and worker.process.is_alive() and time.monotonic() < deadline:
                pass
        with self._lock:
            for number in numbers:
                self._measuring.pop(number, None)
            return [self._past, *(worker.families for worker in self._workers)]

    # --- inside -------------------------------------------------------------------------------------------

    def _begin(self, index: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._spawn(index, theirs)
            except BaseException:
                ours.close()
                raise
        worker = Worker(index, process, Channel(ours, FromWorker))
        with self._lock:
            self._workers = [*self._workers, worker]
        threading.Thread(target=self._listen, args=(worker,), name=f"worker-{index}", daemon=True).start()

    def _listen(self, worker: Worker) -> None:
        try:
            while (message := worker.channel.receive()) is not None:
                self._take(worker, message)
        except Exception:
            log.exception("worker %d sent an invalid message; it is terminated", worker.index)
            worker.process.kill()

    def _take(self, worker: Worker, message: FromWorker) -> None:
        match message:
            case Propose():
                read = read_proposal(message.proposal)
                self._owner.propose(Waiting(message.number, read), worker.tell)
            case Publish():
                self._publish(worker, message)
            case StateSeen():
                worker.version = message.version
            case Measured():
                worker.families = message.families
                if (event := self._measuring.pop(message.number, None)) is not None:
                    event.set()
            case Noted():
                self._owner.refused(message.refused)
            case Hello():
                self._failed_starts = 0
                worker.greet(self._listener)
                worker.tell(self._state())

    def _publish(self, worker: Worker, message: Publish) -> None:
        def tell(done: "Future[bool]") -> None:
            worker.tell(PublishDone(message.number, not done.exception() and done.result()))

        self._owner.publish(message.workspace_id).add_done_callback(tell)

    def _state(self) -> AdmissionState:
        owner = self._owner
        return AdmissionState(
            self._version, self._closed_before, owner.levels(), owner.crowded(), owner.in_excess()
        )

    def tell_state(self) -> None:
        """What admission goes by, to all of them."""
        with self._lock:
            closed = self._owner.closed()
            if closed != self._closed_before:
                self._closed_before = closed
                self._version += 1
        state = self._state()
        for worker in self._workers:
            worker.tell(state)

    def _watch(self) -> None:
        """Tells the state at intervals, and replaces workers that have ended."""
        restart_at = 0.0
        while not self._ending:
            self.tell_state()
            wait([worker.process.sentinel for worker in self._workers], STATE_INTERVAL_S)
            for worker in self._workers:
                if not worker.process.is_alive():
                    self._remove(worker)
            if self._vacant and time.monotonic() >= restart_at:
                restart_at = time.monotonic() + RESTART_INTERVAL_S
                self._fill()

    def _remove(self, worker: Worker) -> None:
        log.error("worker %d ended with code %s", worker.index, worker.process.exitcode)
        worker.channel.close()
        with self._lock:
            self._workers = [other for other in self._workers if other is not worker]
            self._past = added([self._past, counted(worker.families)])
        self._vacant.append(worker.index)
        if worker.version is None:
            self._failed_starts += 1

    def _fill(self) -> None:
        """Starts what is missing. Where a process cannot be started, the next turn tries again."""
        if self._failed_starts > FAILED_STARTS_MAX:
            self._owner.fail(WorkersFailed("worker processes exit as soon as they are started"))
            self._ending = True
        while self._vacant and not self._ending:
            try:
                self._begin(self._vacant[0])
            except OSError as error:
                log.error("worker %d cannot be started: %s", self._vacant[0], error)
                return
            log.info("worker %d was restarted", self._vacant.pop(0))
            self.restarts += 1
