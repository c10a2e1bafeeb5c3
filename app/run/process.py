"""The setup of each process of the service, and the configuration of its HTTP server."""

import contextlib
import logging
import math
import os
import resource
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import uvicorn
from prometheus_client import disable_created_metrics

from app.api.connection.fast_lane import FastLane
from app.errors import ConfigurationError
from app.run.log_lines import formatter_of, set_levels
from app.run.log_output import StandardError
from app.run.tls import ReloadedTls
from app.settings.plan import ListeningPlan, LogPlan

SWITCH_INTERVAL_S: Final = 0.0005
"""How long one thread may keep another from the interpreter. The event loop's turns are short; the commit
thread's are not, and by default it would keep answers waiting ten times as long."""


log = logging.getLogger(__name__)

DESCRIPTORS_KEPT: Final = 512
"""Descriptors of the process that are kept free for files and for SPARE_CONNECTIONS_MAX."""

POOL_VARIABLE: Final = "ARROW_DEFAULT_MEMORY_POOL"
"""Arrow's own variable for its allocator; if an operator has set it, that is respected."""


def prepare_process(plan: LogPlan) -> None:
    """Sets up a process of the service."""
    _log_to_stderr(plan)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _choose_memory_pool()


def _raise_descriptor_limit() -> None:
    """Raises the soft limit of descriptors: 1,024 is for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_of(max_connections: int) -> int:
    """How many connections may be open: the configured number, unless there are too few descriptors.

    Some are kept for the journal, publishing and the operator's calls, whatever clients do.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return max_connections
    allowed = max(limit - min(DESCRIPTORS_KEPT, limit // 2), 1)
    if allowed < max_connections:
        log.warning(
            "this process may open only %d descriptors: connections are limited to %d instead of "
            "server.max_connections = %d",
            limit,
            allowed,
            max_connections,
        )
    return min(allowed, max_connections)


def _choose_memory_pool() -> None:
    """Selects jemalloc, which keeps large short-lived buffers: fewer page faults than Arrow's default, and
    less memory."""
    if POOL_VARIABLE not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def tls_of(plan: ListeningPlan) -> ReloadedTls | None:
    """None without TLS. Raises ConfigurationError."""
    files = plan.tls
    if files is None:
        return None
    for path in filter(None, (files.certificate, files.key, files.client_ca)):
        if not path.is_file():
            raise ConfigurationError(
                [f"server.tls_certificate, server.tls_key, server.tls_client_ca: {path} is not a file"]
            )
    try:
        return ReloadedTls(files)
    except (ssl.SSLError, OSError) as error:
        names = "server.tls_certificate, server.tls_key" + (
            ", server.tls_client_ca" if files.client_ca is not None else ""
        )
        raise ConfigurationError([f"{names}: {error}"]) from None


def uvicorn_config(
    app: Callable[..., Any], lane: FastLane, plan: ListeningPlan, tls: ReloadedTls | None
) -> uvicorn.Config:
    """tls: also None for requests that a worker has accepted and decrypted."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=lane,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=plan.backlog,
        limit_concurrency=connections_of(plan.max_connections),
        timeout_keep_alive=math.ceil(plan.connection.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(plan.drain_timeout_s),
        ssl_context_factory=None if tls is None else lambda config, default: tls.context,
    )


def _log_to_stderr(plan: LogPlan) -> None:
    handler = StandardError()
    handler.setFormatter(formatter_of(plan))
    logging.basicConfig(handlers=[handler])
    set_levels(plan)
