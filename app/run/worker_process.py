"""The composition root of a worker: it takes batches like the whole service, and forwards all other calls."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.types import Receive, Scope, Send

from app.api.access_log import AccessLog, AccessLogged
from app.api.api_keys import ApiKeys
from app.api.connection.fast_lane import FastLane
from app.api.error_responses import RequestIds, install_error_responses
from app.api.forward import Forwarder
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import INGEST_CALLS
from app.api.tolerant_paths import TolerantPaths, wants_start_page
from app.api.wrong_keys import LateRefusals, WrongKeys
from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.metrics import Metrics
from app.run.application import add_ingest_calls, add_late_refusals, ingest_parts
from app.run.collector import look_less_often
from app.run.gate import STARTING
from app.run.lifespan import WATCH_INTERVAL_S, repeatedly
from app.run.log_lines import LevelsInForce
from app.run.observers import CommitObserver
from app.run.pipelines import pipeline_of_batches
from app.run.process import prepare_process, tls_of, uvicorn_config
from app.run.reload import Reload
from app.run.signals import handle_signals
from app.run.tls import ReloadedTls
from app.run.worker_quotas import WorkerQuotas
from app.settings.plan import AuthPlan, Configuration, Plan
from app.workers.merged_metrics import families_of
from app.workers.messages import AdmissionState, Channel, Hello, ToWorker
from app.workers.remote_store import RemoteStore

LOST: Final = 1
"""The exit code of a worker that has lost its service, or that has hit a defect."""


def serve_worker(
    configuration: Configuration, auth: AuthPlan, connection: socket.socket, admin_address: str | bytes
) -> None:
    """Serves until SIGTERM; exits immediately when the other end of `connection` is closed.

    auth: that of the service, which may have made a key.
    """
    plan = msgspec.structs.replace(configuration.plan, auth=auth)
    prepare_process(plan.log)
    listening = plan.listening
    tls = tls_of(listening)
    worker = _Worker(plan, Channel(connection, ToWorker), admin_address, configuration, tls)
    config = uvicorn_config(worker, worker.fast_lane, listening, tls)
    config.limit_concurrency = max(listening.max_connections // listening.workers, 1)
    server = uvicorn.Server(config)
    # Until uvicorn has its own, while nothing is accepted; and uvicorn repeats them when all is done.
    handle_signals(lambda: os._exit(0), worker.reload)
    server.run(sockets=worker.listeners)


class _Worker:
    """The ASGI application and its parts. listeners: filled when it is started."""

    def __init__(
        self,
        plan: Plan,
        channel: Channel,
        admin_address: str | bytes,
        configuration: Configuration,
        tls: ReloadedTls | None,
    ) -> None:
        assert plan.auth.api_keys_file is not None, "the service guarantees this"
        self._keys = ApiKeys.load(plan.auth.api_keys_file)
        self._channel = channel
        self.listeners: list[socket.socket] = []
        self._told = threading.Event()
        self._levels = Levels(0, 1 << 62, 1 << 62)
        self._crowded: frozenset[int] = frozenset()
        registry = CollectorRegistry()
        metrics = Metrics(registry, plan.metrics.workspaces)
        policies = plan.policies
        self._quotas = WorkerQuotas(policies.quotas)
        # The main process says what changed.
        self._reload = Reload(configuration, [LevelsInForce(plan.log), self._quotas.replace], says=False)
        self._reload.now()  # for what was written while this process came to be
        self._watched = [self._keys.reload_if_changed, self._reload.if_changed]
        if tls is not None:
            self._watched.append(tls.reload_if_changed)
        share = _share(policies.admission, plan.listening.workers, plan.ingest.policy.max_body_bytes)
        self.admission = Admission(
            share,
            lambda: self._levels,
            lambda code: metrics.backpressure_refusals.labels(code).inc(),
            closed=STARTING,
            journal_of=lambda workspace: (workspace in self._crowded) * (share.max_journal_bytes + 1),
            quotas=self._quotas,
        )
        metrics.observe(
            "inflight_bytes",
            "Bytes of request bodies that are being received or wait for their answer.",
            lambda: self.admission.inflight_bytes,
        )
        self._store = RemoteStore(channel, self._note, lambda: families_of(registry), lambda: os._exit(LOST))
        self._pipeline = pipeline_of_batches(
            self._store,
            policies.group,
            policies.decode,
            CommitObserver(metrics, on_refused=self._store.note),
            self._fail,
        )
        ids = RequestIds()
        parts = ingest_parts(
            plan.ingest, self.admission, self._pipeline.submit, self._store.publish, self._keys, ids
        )
        self._app = FastAPI(lifespan=self._running, docs_url=None, redoc_url=None, openapi_url=None)
        endpoints = add_ingest_calls(self._app, plan.ingest, parts)
        install_error_responses(self._app, ids)
        wrong_keys = WrongKeys(plan.auth.wrong_key_delay_max_s, time.monotonic)
        add_late_refusals(self._app, wrong_keys, parts)
        http_metrics = HttpMetrics(registry)
        Instrumentator(registry=registry).add(http_metrics.count).instrument(self._app)
        self._paths = frozenset(call.path for call in INGEST_CALLS)
        self._clients = parts.clients
        self._app.add_middleware(TolerantPaths, exact=(), calls=self._clients)
        access = AccessLog(enabled=plan.log.requests)
        if access.enabled:
            self._app.add_middleware(AccessLogged, ids=ids, access=access)
        self.fast_lane = FastLane(parts, endpoints, http_metrics, plan.listening.connection, access)
        self._forward = LateRefusals(Forwarder(admin_address, ids), wrong_keys, parts.addresses)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else None
        own = path is None or path.rstrip("/") in self._paths or self._clients.serves(path)
        own = own and not (path == "/" and wants_start_page(scope))
        await (self._app if own else self._forward)(scope, receive, send)

    def reload(self) -> None:
        for reload in self._watched:
            reload()

    def _note(self, state: AdmissionState) -> None:
        self._levels = state.levels
        self._crowded = frozenset(state.crowded)
        self._quotas.told(state.in_excess)
        self.admission.closed = state.closed
        self._told.set()

    def _fail(self, error: BaseException) -> None:
        """A worker that hits a bug exits; another one replaces it."""
        os._exit(LOST)

    def _say_hello(self) -> socket.socket:
        try:
            self._channel.send(Hello())
            return self._channel.receive_socket()
        except OSError:
            os._exit(LOST)

    @contextlib.asynccontextmanager
    async def _running(self, app: FastAPI) -> AsyncIterator[None]:
        """No connection is accepted before it is known whether batches are accepted."""
        self.listeners.append(await asyncio.to_thread(self._say_hello))
        self._store.start()
        self._pipeline.start(asyncio.get_running_loop())
        await asyncio.to_thread(self._told.wait)
        look_less_often()
        watching = [asyncio.create_task(repeatedly(WATCH_INTERVAL_S, each)) for each in self._watched]
        try:
            yield
        finally:
            for task in watching:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(self._pipeline.close)


def _share(policy: AdmissionPolicy, workers: int, max_body_bytes: int) -> AdmissionPolicy:
    """The bytes that one worker may have in flight; at least one body."""
    return msgspec.structs.replace(
        policy,
        max_inflight_bytes=max(policy.max_inflight_bytes // workers, max_body_bytes),
        max_workspace_inflight_bytes=max(policy.max_workspace_inflight_bytes // workers, max_body_bytes),
    )
