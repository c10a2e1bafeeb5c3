"""What the kill campaign strikes: the process, or one or all of several that are one service."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx

from tests.support.service import POLL_SECONDS, Service
from tests.support.workers_service import WorkersService

ORPHANED_SECONDS_MAX: Final = 5.0
"""Workers whose main process is gone must have ended by then: they can keep no promise."""

REPLACED_SECONDS_MAX: Final = 30.0

VICTIMS: Final = ("worker", "main process", "all")


Strike = Callable[[Service, random.Random], bool]
"""Kills a service that is under load, or a part of it; whether there was something to kill."""


def strike_process(service: Service, random_: random.Random) -> bool:
    """A `Strike`: the only process there is."""
    running = service.running
    service.kill9()
    return running


def strike_workers(service: Service, random_: random.Random) -> bool:
    """A `Strike`. A worker that was killed must be replaced, and orphans must end: AssertionError if not."""
    assert isinstance(service, WorkersService)
    victim, workers = random_.choice(VICTIMS), service.worker_pids()
    if victim == "worker":
        kill_worker(service, random_.choice(workers))
        return True
    running = service.running
    if victim == "all":
        pids = [*workers, service.process.pid]
        random_.shuffle(pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    service.kill9()
    wait_until_ended(workers)
    return running and bool(workers)


def kill_worker(service: WorkersService, pid: int) -> None:
    """Returns when another has taken its place and the service is ready."""
    count = len(service.worker_pids())
    os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        now = service.worker_pids()
        return pid not in now and len(now) == count and _ready(service)

    service.wait_until(replaced, REPLACED_SECONDS_MAX)


def _ready(service: Service) -> bool:
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=service.base_url) as client:
        return client.get("/ready").status_code == 200
    return False


def wait_until_ended(pids: Sequence[int]) -> None:
    """AssertionError when orphans go on."""
    deadline = time.monotonic() + ORPHANED_SECONDS_MAX
    while left := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, f"workers outlive the process they work for: {left}"
        time.sleep(POLL_SECONDS)


def _runs(pid: int) -> bool:
    """A process that has ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
