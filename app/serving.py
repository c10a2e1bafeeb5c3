"""Runs the service until it is told to stop: keys, socket, server, exit code."""

import json
import logging
import math
import multiprocessing
import os
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import uvicorn

from app.api.fast_lane import FastLane
from app.api_keys import ApiKeys
from app.data_directory_lock import DataDirectoryInUse
from app.development_key import development_key
from app.main import create_app
from app.settings import ConfigurationError, Settings
from app.workers.crew import Crew
from app.workers.entry import run_worker

STOPPED: Final = 0
DID_NOT_START: Final = 1
FAILED: Final = 3
STOPPED_AT_ONCE: Final = 130

SWITCH_INTERVAL_S: Final = 0.0005
"""How long one thread may keep the interpreter from another. The event loop's turns are short; the commit
thread's are not, and by default it would keep answers waiting ten times as long."""

STOPPING_S: Final = 5.0
"""What workers may take to end, beyond the time to drain."""

POOL_VARIABLE: Final = "ARROW_DEFAULT_MEMORY_POOL"
"""Arrow's own way to name its allocator; who sets it is obeyed."""

log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, or until the service stops itself; returns the exit code.

    Raises ConfigurationError and KeyFileError for what is found wrong before it serves.
    """
    prepare_process()
    settings, key = _with_keys(settings)
    listener = _listen(settings)
    url = _url(settings, listener)
    log.info(
        "listening on %s, journal in %s (acknowledge = %s), files in %s",
        url,
        settings.journal.path.resolve(),
        settings.journal.acknowledge,
        settings.sink.directory.resolve() if settings.sink.directory else settings.sink.path,
    )
    if key is not None:
        print(_first_steps(url, key, settings.auth.api_keys_file), flush=True)
    return _run(settings, listener)


def prepare_process() -> None:
    """What each process of the service does first."""
    _log_to_stderr()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _choose_memory_pool()


def _choose_memory_pool() -> None:
    """jemalloc keeps large short-lived buffers: fewer page faults than Arrow's default, and less memory."""
    if POOL_VARIABLE not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _run(settings: Settings, listener: socket.socket) -> int:
    def request_exit() -> None:
        server.should_exit = True

    crew = inner = None
    if settings.server.workers > 1:
        _check_certificate(settings)
        inner = _inner_socket()
        crew = _crew(settings, listener, inner)
    app = create_app(settings, request_exit, crew)
    try:
        app.state.service.lock()
    except DataDirectoryInUse as error:
        raise ConfigurationError([f"journal.path: {error}"]) from None
    server = uvicorn.Server(uvicorn_config(app, app.state.fast_lane, settings, inner=inner is not None))
    # uvicorn has handlers of its own while it serves. It raises the signal once more when it has stopped:
    # without a handler that would kill the process, with uvicorn's it would look like being told twice.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: request_exit())
    try:
        server.run(sockets=[inner or listener])
    except SystemExit:
        log.error("the service could not start")
    except ssl.SSLError as error:
        raise ConfigurationError([f"server.tls_certificate, server.tls_key: {error}"]) from None
    if app.state.service.fatal is not None:
        return FAILED
    if not server.started:
        return DID_NOT_START
    if server.force_exit:
        log.warning("stopped at once; what was acknowledged and is not in files yet is in the journal")
        return STOPPED_AT_ONCE
    log.info("stopped")
    return STOPPED


def _crew(settings: Settings, listener: socket.socket, inner: socket.socket) -> Crew:
    """Worker processes that accept on `listener`, and forward what is not a batch to `inner`."""
    context = multiprocessing.get_context("spawn")

    def spawn(index: int, connection: socket.socket) -> BaseProcess:
        arguments = (settings, connection, inner.getsockname())
        process = context.Process(target=run_worker, args=arguments, name=f"worker-{index}", daemon=True)
        process.start()
        return process

    server, sink = settings.server, settings.sink
    share_bytes = int(sink.max_buffered_size * server.workspace_share)
    return Crew(server.workers, listener, spawn, server.drain_timeout + STOPPING_S, share_bytes)


def _inner_socket() -> socket.socket:
    """Of no file, so that nothing is left behind. What comes by it is authorised like all else."""
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inner.bind(f"\0parquet-sink-{secrets.token_hex(16)}")
    inner.listen()
    return inner


def _check_certificate(settings: Settings) -> None:
    """Workers load it; what is wrong with it is to be said once, before they start."""
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError([f"server.tls_certificate, server.tls_key: {error}"]) from None


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


def _with_keys(settings: Settings) -> tuple[Settings, str | None]:
    """Settings that name a key file which can be read; and the development key where that was used."""
    for path in (settings.server.tls_certificate, settings.server.tls_key):
        if path is not None and not path.is_file():
            raise ConfigurationError([f"server.tls_certificate, server.tls_key: {path} is not a file"])
    if settings.auth.api_keys_file is not None:
        if not ApiKeys.load(settings.auth.api_keys_file):
            raise ConfigurationError([f"auth.api_keys_file: {settings.auth.api_keys_file} holds no key"])
        return settings, None
    directory = settings.journal.path.resolve().parent
    try:
        path, key = development_key(directory)
    except OSError as error:
        raise ConfigurationError(
            [f"no development key can be kept in {directory} ({error.strerror}); set auth.api_keys_file"]
        ) from None
    auth = settings.auth.model_copy(update={"api_keys_file": path})
    return settings.model_copy(update={"auth": auth}), key


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=settings.server.backlog)
    except OSError as error:
        raise ConfigurationError(
            [f"server.host, server.port: cannot listen on {host} port {port}: {error.strerror}"]
        ) from None


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.server.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _first_steps(url: str, key: str, path: Path | None) -> str:
    """Lines to paste into a shell."""
    event = {
        "type": "track",
        "event": "signed_up",
        "device_id": "9f86d081-884c-4d65-9a2f-eaa0c55ad015",
        "properties": {"plan": "pro"},
    }
    return f"""
No auth.api_keys_file is configured, so a development key for workspace 1 is kept in {path}:

  curl -sS {url}/v1/events -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -d '{json.dumps(event)}'
  curl -sS -X POST {url}/flush -H 'Authorization: Bearer {key}'
"""


def _log_to_stderr() -> None:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
