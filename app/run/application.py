"""The application: its routes, error answers and lifespan. Nothing happens at import."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from app.api.access_log import AccessLog, AccessLogged
from app.api.admin_auth import AdminAuth
from app.api.api_keys import ApiKeys
from app.api.client_address import ClientAddresses
from app.api.client_calls import ClientCalls, ClientEndpoint
from app.api.connection.fast_lane import FastLane
from app.api.docs import docs_router
from app.api.error_responses import RequestIds, install_error_responses
from app.api.files.opened_object import OpenedObject
from app.api.files.response import OpenedFile
from app.api.files.routes import OpenFile, files_router
from app.api.flush import flush_router
from app.api.forget import forget_router
from app.api.health import health_router
from app.api.http_metrics import HttpMetrics
from app.api.ingest import IngestEndpoint
from app.api.ingest_request import INGEST_CALLS, IngestParts
from app.api.metrics import metrics_router
from app.api.openapi.document import openapi_document
from app.api.pages.history import STEP_S, History
from app.api.pages.live import live_router
from app.api.pages.login import login_router, secure_by
from app.api.pages.overview import PATH as START_PAGE
from app.api.pages.overview import OverviewSources, overview_router
from app.api.pages.query import query_page_router
from app.api.pages.static_files import static_router
from app.api.sessions import Sessions
from app.api.sql import QueryEndpoint
from app.api.status import status_router
from app.api.tail import TailEndpoint
from app.api.tolerant_paths import TolerantPaths
from app.api.usage import usage_router
from app.api.wrong_keys import LateRefusals, WrongKeys
from app.clients.mapped import calls_of
from app.clients.table import CALLS, Table
from app.commit.admission import Admission
from app.metrics import Metrics
from app.run.asking import Asking
from app.run.compose import AnyService, build_service
from app.run.lifespan import repeatedly, running
from app.run.local_service import Service
from app.run.workers import Workers
from app.settings.plan import IngestPlan, Plan
from app.submission import Reply, Submission


def create_app(
    plan: Plan,
    request_exit: Callable[[], None] = lambda: None,
    workers: Workers | None = None,
    is_ending: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """request_exit: asks the server to exit when the service cannot continue (app.state.service.fatal says
        why).
    workers: the processes that take batches, if this one does not. is_ending: whether the server is about to
        exit.

    Raises KeyFileError when the key file cannot be used.
    """
    keys_file = plan.auth.api_keys_file
    keys = ApiKeys.load(keys_file) if keys_file else ApiKeys({})
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    asking = Asking(plan)
    metrics = Metrics(registry, plan.metrics.workspaces)
    if workers is None:
        service = build_service(plan, metrics, request_exit, watch=asking.tap.offer)
    else:
        service = build_service(plan, metrics, request_exit, workers.new_pipeline, asking.tap.offer)
        assert isinstance(service, Service), "the settings guarantee this"
        workers.serve(service, metrics)
    ids = RequestIds()
    history = History(registry if workers is None else workers.merged(registry), time.monotonic)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        interval = plan.metrics.interval_s if plan.metrics.enabled else None
        async with running(app, service, keys, interval, workers):
            await asyncio.to_thread(history.note)
            noting = asyncio.create_task(repeatedly(STEP_S, history.note))
            yield
            noting.cancel()
            await asking.close()

    app = FastAPI(
        title="Parquet Sink",
        version=version("parquet-sink"),
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.keys = keys
    app.state.metrics = metrics
    submit = service.submit if workers is None else workers.refuse
    parts = ingest_parts(plan.ingest, service.admission, submit, service.publish, keys, ids)
    endpoints = add_ingest_calls(app, plan.ingest, parts) if plan.ingest.is_taken else {}
    _add_admin_calls(app, plan, service, keys, ids, registry, workers, asking, is_ending, history)
    install_error_responses(app, ids)
    if workers is None:  # otherwise they hold refusals back: they know the addresses
        add_late_refusals(app, WrongKeys(plan.auth.wrong_key_delay_max_s, time.monotonic), parts)
    http_metrics = HttpMetrics(registry)
    Instrumentator(registry=registry).add(http_metrics.count).instrument(app)
    exact = {path for route in app.routes if (path := getattr(route, "path", "")).endswith("/")}
    app.add_middleware(TolerantPaths, exact=exact, calls=parts.clients, start_page=START_PAGE)
    access = AccessLog(enabled=plan.log.requests)
    if access.enabled:
        app.add_middleware(AccessLogged, ids=ids, access=access)
    app.state.fast_lane = FastLane(parts, endpoints, http_metrics, plan.listening.connection, access)
    app.openapi = cache(lambda: openapi_document(app))  # type: ignore[method-assign]
    return app


def add_late_refusals(app: FastAPI, wrong_keys: WrongKeys, parts: IngestParts) -> None:
    app.add_middleware(LateRefusals, wrong_keys=wrong_keys, addresses=parts.addresses)


def ingest_parts(
    plan: IngestPlan,
    admission: Admission,
    submit: Callable[[Submission, Reply], None],
    publish: Callable[[int], Awaitable[bool]],
    keys: ApiKeys,
    ids: RequestIds,
) -> IngestParts:
    """State shared by all ingest calls."""
    return IngestParts(
        keys=keys,
        admission=admission,
        addresses=ClientAddresses(plan.trusted_proxies),
        request_ids=ids,
        submit=submit,
        publish=publish,
        policy=plan.policy,
        clients=Table([*calls_of(plan.maps), *CALLS]),
    )


def add_ingest_calls(app: FastAPI, plan: IngestPlan, parts: IngestParts) -> dict[str, ClientEndpoint]:
    """The ingest calls as routes, with CORS. Returns those of other clients' protocols by path."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=plan.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "PUT"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Retry-After"],
        max_age=7200,
    )
    shared, table = ClientCalls(parts), parts.clients
    endpoints = {path.path: ClientEndpoint(path, shared) for path in table}
    for call in INGEST_CALLS:
        path = table.at(call.path)
        endpoint = IngestEndpoint(call, parts, endpoints.get(call.path))
        own = path.methods if path is not None else ()
        methods = tuple(dict.fromkeys(("POST", *own)))
        app.router.routes.append(Route(call.path, endpoint, methods=[*methods, "OPTIONS"], middleware=[cors]))
    for path in table:
        if not path.shared:
            methods = path.methods
            app.router.routes.append(
                Route(
                    path.path,
                    endpoints[path.path],
                    methods=[*methods, "OPTIONS"],
                    middleware=[cors],
                )
            )
    return endpoints


def _add_admin_calls(
    app: FastAPI,
    plan: Plan,
    service: AnyService,
    keys: ApiKeys,
    ids: RequestIds,
    registry: CollectorRegistry,
    workers: Workers | None,
    asking: Asking,
    is_ending: Callable[[], bool],
    history: History,
) -> None:
    token, timeout_s = plan.auth.admin_token, plan.listening.request_timeout_s
    sessions = Sessions(time.monotonic)
    auth = AdminAuth(
        keys,
        token.get_secret_value() if token else None,
        bound_to_loopback=plan.listening.on_loopback,
        sessions=sessions,
    )
    app.include_router(flush_router(service.flush, service.problem, auth.authorise, timeout_s))
    app.include_router(forget_router(service.forget, auth.authorise_admin, timeout_s))
    app.include_router(files_router(service, _file_opener(plan, service), auth.authorise))
    questions = QueryEndpoint(asking.ask, asking.absent, auth.authorise, timeout_s)
    app.router.routes.append(Route("/query", questions, methods=["POST"]))
    tail = TailEndpoint(asking.watched, asking.not_watched, auth.authorise, is_ending)
    app.router.routes.append(Route("/tail", tail, methods=["GET"]))
    app.include_router(status_router(service.status, auth.authorise_admin, service.refusals, auth.authorise))
    knows_bytes = plan.kafka is None
    app.include_router(usage_router(service.accounts.of_days, auth.authorise, knows_bytes=knows_bytes))
    reasons = service.reasons_not_ready if workers is None else workers.reasons_not_ready
    app.include_router(health_router(reasons, ids))
    over_tls = plan.listening.tls is not None
    app.include_router(static_router())
    app.include_router(login_router(auth, sessions, over_tls=over_tls))
    sources = OverviewSources(
        history, service.refusals, service.status, reasons, secure_by(over_tls=over_tls)
    )
    app.include_router(overview_router(sources, auth.authorise))
    app.include_router(query_page_router(asking.ask, asking.absent, auth.authorise))
    app.include_router(live_router(service.refusals, asking.not_watched, auth.authorise))
    app.include_router(docs_router(lambda: app.openapi(), auth.authorise, sources.is_secure))
    if plan.metrics.enabled:
        merged = registry if workers is None else workers.merged(registry)
        app.include_router(metrics_router(merged, auth.authorise_admin))


def _file_opener(plan: Plan, service: AnyService) -> OpenFile:
    directory, store = plan.storage.paths.data, service.store
    if store is not None:
        return lambda path: OpenedObject.open(store, path)
    assert directory is not None, "files are in a directory or in a bucket"
    return lambda path: OpenedFile.open(directory / path)
