"""The workers of one service: connects the pool of processes with the service they work for."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from app.commit.admission import Levels
from app.commit.group_queue import GroupPolicy
from app.commit.journal_store import JournalStore
from app.commit.pipeline import Pipeline, PipelineObserver
from app.commit.quota import Excess
from app.commit.recent_refusals import RecentRefusal
from app.errors import Overloaded
from app.metrics import Metrics
from app.run.local_service import Service
from app.submission import DecodePolicy, Reply, Submission
from app.workers.merged_metrics import MergedMetrics
from app.workers.messages import GroupFailed, GroupStored
from app.workers.pool import Pool, Spawn
from app.workers.proposals import ProposedGroups, Waiting, one_lane, payload_bytes

SHUT: Final = "starting"


class Workers:
    """An `Owner` of the pool. Made before the service, which is given to it by `serve`.

    drain_s: how long workers may take to answer what they have. share_bytes: how many bytes of one workspace
    may wait to be written to files.
    """

    def __init__(
        self, count: int, listener: socket.socket, spawn: Spawn, drain_s: float, share_bytes: int
    ) -> None:
        self._pool = Pool(count, listener, spawn, self)
        self._drain_s = drain_s
        self._share_bytes = share_bytes
        self._pipeline: Pipeline[Waiting, ProposedGroups] | None = None
        self._service: Service
        self._loop: asyncio.AbstractEventLoop

    # --- for whoever composes it --------------------------------------------------------------------------

    def new_pipeline(
        self,
        store: JournalStore,
        policy: GroupPolicy,
        decode: DecodePolicy,
        observer: PipelineObserver,
        on_fatal: Callable[[BaseException], None],
    ) -> Pipeline[Waiting, ProposedGroups]:
        """Takes the workers' proposals. Workers have already waited for more batches, and count their own
        work."""
        at_once = msgspec.structs.replace(policy, lingers_max=0)
        self._pipeline = Pipeline(ProposedGroups, payload_bytes, one_lane, store, at_once, None, on_fatal)
        return self._pipeline

    def refuse(self, submission: Submission, reply: Reply) -> None:
        """Batches arrive only through workers."""
        reply(
            Overloaded(
                "This process does not take batches; send them to the service's port.", retry_after_s=5
            )
        )

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
        """The metrics of this process and of the workers."""
        return MergedMetrics(registry, self._pool.families)

    # --- for the pool -------------------------------------------------------------------------------------

    def closed(self) -> str | None:
        return self._service.admission.closed

    def levels(self) -> Levels:
        return self._service.levels()

    def crowded(self) -> Sequence[int]:
        return self._service.crowded(self._share_bytes)

    def in_excess(self) -> Sequence[Excess]:
        return self._service.accounts.quotas.in_excess()

    def propose(self, waiting: Waiting, reply: Callable[[GroupStored | GroupFailed], None]) -> None:
        if self._pipeline is None:
            reply(GroupFailed(waiting.number, "stopping", SHUT))
        else:
            self._pipeline.submit(waiting, reply)

    def publish(self, workspace_id: int) -> "Future[bool]":
        return asyncio.run_coroutine_threadsafe(self._service.publish(workspace_id), self._loop)

    def refused(self, refused: Sequence[RecentRefusal]) -> None:
        self._service.refusals.note(refused)

    def fail(self, error: BaseException) -> None:
        self._service.fail(error)
