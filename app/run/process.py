"""What each process of the service does first, and how its HTTP server is configured."""

import contextlib
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import uvicorn

from app.api.connection.fast_lane import FastLane
from app.run.log_output import StandardError
from app.settings.settings import Settings

SWITCH_INTERVAL_S: Final = 0.0005
"""How long one thread may keep the interpreter from another. The event loop's turns are short; the commit
thread's are not, and by default it would keep answers waiting ten times as long."""


POOL_VARIABLE: Final = "ARROW_DEFAULT_MEMORY_POOL"
"""Arrow's own way to name its allocator; who sets it is obeyed."""


def prepare_process() -> None:
    """What each process of the service does first."""
    _log_to_stderr()
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _choose_memory_pool()


def _raise_descriptor_limit() -> None:
    """A soft limit of 1,024 is for programs that use `select`; connections and files need more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _choose_memory_pool() -> None:
    """jemalloc keeps large short-lived buffers: fewer page faults than Arrow's default, and less memory."""
    if POOL_VARIABLE not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def uvicorn_config(
    app: Callable[..., Any], lane: FastLane, settings: Settings, *, inner: bool = False
) -> uvicorn.Config:
    """inner: for requests that a worker has accepted, and taken out of TLS."""
    server = settings.server
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
        backlog=server.backlog,
        limit_concurrency=server.max_connections,
        timeout_keep_alive=math.ceil(server.keep_alive_timeout),
        timeout_graceful_shutdown=math.ceil(server.drain_timeout),
        ssl_certfile=None if inner else server.tls_certificate,
        ssl_keyfile=None if inner else server.tls_key,
    )


def _log_to_stderr() -> None:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = StandardError()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
