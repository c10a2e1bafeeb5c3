"""The workers of one service: what joins the pool of processes to the service that they work for."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from prometheus_client import CollectorRegistry

from app.commit.admission import Levels
from app.metrics import Metrics
from app.run.local_service import Service
from app.workers.merged_metrics import MergedMetrics
from app.workers.messages import Failed
from app.workers.pool import Pool, Spawn
from app.workers.proposals import ProposalCommitter, Waiting

SHUT: Final = "starting"


class Crew:
    """An `Owner` of the pool. Made before the service, which is given to it by `serve`.

    drain_s: how long workers may take to answer what they have. share_bytes: what one workspace may have
    waiting for its file.
    """

    def __init__(
        self, count: int, listener: socket.socket, spawn: Spawn, drain_s: float, share_bytes: int
    ) -> None:
        self._pool = Pool(count, listener, spawn, self)
        self._drain_s = drain_s
        self._share_bytes = share_bytes
        self._committer: ProposalCommitter | None = None
        self._service: Service
        self._loop: asyncio.AbstractEventLoop

    # --- for whoever composes it --------------------------------------------------------------------------

    def new_committer(self, *parts: Any) -> ProposalCommitter:
        """In place of `app.commit.pipeline.Committer`."""
        self._committer = ProposalCommitter(*parts)
        return self._committer

    def serve(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        metrics.observe(
            "worker_restarts", "Worker processes that ended and were replaced.", lambda: self._pool.restarts
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool.start()

    def stop(self) -> None:
        """Blocks until all workers have ended."""
        self._pool.stop(self._drain_s)

    def reasons_not_ready(self) -> list[str]:
        return self._service.reasons_not_ready() or self._pool.reasons_not_ready()

    def merged(self, registry: CollectorRegistry) -> MergedMetrics:
        """This process's metrics and theirs."""
        return MergedMetrics(registry, self._pool.families)

    # --- for the pool -------------------------------------------------------------------------------------

    def closed(self) -> str | None:
        return self._service.admission.closed

    def levels(self) -> Levels:
        return self._service.levels()

    def crowded(self) -> Sequence[int]:
        return self._service.crowded(self._share_bytes)

    def propose(self, waiting: Waiting) -> None:
        if self._committer is None:
            waiting.reply(Failed(waiting.number, "stopping", SHUT))
        else:
            self._committer.propose(waiting)

    def publish(self, workspace_id: int) -> "Future[bool]":
        return asyncio.run_coroutine_threadsafe(self._service.publish(workspace_id), self._loop)

    def fail(self, error: BaseException) -> None:
        self._service.fail(error)
