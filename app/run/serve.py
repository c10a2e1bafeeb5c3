"""Runs the service until it is told to stop: keys, socket, server, exit code."""

import json
import logging
import multiprocessing
import secrets
import socket
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import uvicorn

from app.api.api_keys import ApiKeys
from app.disk.data_directory_lock import DataDirectoryInUse
from app.publish.ownership import TreeRefused
from app.run.application import create_app
from app.run.crew import Crew
from app.run.development_key import development_key
from app.run.gauges import observe_certificate
from app.run.listening import listen
from app.run.log_lines import LevelsInForce
from app.run.process import prepare_process, tls_of, uvicorn_config
from app.run.reload import Apply, Reload, Source
from app.run.signals import handle_signals
from app.run.tls import ReloadedTls
from app.run.told import cannot_start
from app.run.worker_entry import run_worker
from app.settings.plan import policies
from app.settings.settings import ConfigurationError, Settings

STOPPED: Final = 0
DID_NOT_START: Final = 1
FAILED: Final = 3
STOPPED_AT_ONCE: Final = 130


STOPPING_S: Final = 5.0
"""How long workers may take to exit after the time to drain."""


log = logging.getLogger(__name__)


def serve(settings: Settings, source: Source) -> int:
    """Serves until SIGTERM or SIGINT, or until the service stops itself; returns the exit code.

    source: where `settings` were read from, for reloading.

    Raises ConfigurationError and KeyFileError for errors found before it serves.
    """
    prepare_process(settings)
    configured = settings
    settings, key = _with_keys(settings)
    tls = tls_of(settings)
    listener = listen(settings)
    url = _url(settings, listener)
    log.info(
        "listening on %s, journal in %s (acknowledge = %s), files in %s",
        url,
        settings.journal.path.resolve(),
        settings.journal.acknowledge,
        settings.sink.directory.resolve() if settings.sink.directory else settings.sink.path,
    )
    if key is not None:
        for handler in logging.getLogger().handlers:
            handler.flush()  # so that the lines stand in their order where both go to one terminal
        print(_first_steps(url, key, settings.auth.api_keys_file), flush=True)
    return _run(settings, listener, tls, lambda apply: Reload(source, configured, apply), source)


def _run(
    settings: Settings,
    listener: socket.socket,
    tls: ReloadedTls | None,
    new_reload: Callable[[Sequence[Apply]], Reload],
    source: Source,
) -> int:
    def request_exit() -> None:
        server.should_exit = True

    crew = inner = None
    if settings.server.workers > 1:
        inner = _inner_socket()
        crew = _crew(settings, listener, inner, source)
    app = create_app(settings, request_exit, crew, lambda: server.should_exit)
    service, keys = app.state.service, app.state.keys
    reload = new_reload(
        [LevelsInForce(settings.log), lambda new: service.accounts.quotas.replace(policies(new).quotas)]
    )
    watched = [keys.reload_if_changed, reload.if_changed]
    if tls is not None:
        # With workers, theirs are in use, which look at the same files.
        watched.append(tls.reload_if_changed)
        observe_certificate(app.state.metrics, tls)
    app.state.watched = watched
    try:
        app.state.service.lock()
    except DataDirectoryInUse as error:
        raise ConfigurationError([f"journal.path: {error}"]) from None
    except TreeRefused as error:
        raise ConfigurationError([str(error)]) from None
    except OSError as error:
        raise ConfigurationError([cannot_start(error)]) from None
    config = uvicorn_config(app, app.state.fast_lane, settings, None if inner is not None else tls)
    server = uvicorn.Server(config)
    # uvicorn has handlers of its own while it serves. It raises the signal once more when it has stopped:
    # without a handler that would kill the process, with uvicorn's it would look like being told twice.

    def reload_all() -> None:
        keys.reload_if_changed()
        reload.now()
        if tls is not None:
            tls.reload()

    handle_signals(request_exit, reload_all)
    try:
        server.run(sockets=[inner or listener])
    except SystemExit:
        log.error("the service could not start")
    if app.state.service.fatal is not None:
        return FAILED
    if not server.started:
        return DID_NOT_START
    if server.force_exit:
        log.warning("stopped immediately; rows that are acknowledged but not in files yet are in the journal")
        return STOPPED_AT_ONCE
    log.info("stopped")
    return STOPPED


def _crew(settings: Settings, listener: socket.socket, inner: socket.socket, source: Source) -> Crew:
    """Worker processes that accept on `listener`, and forward all calls but batches to `inner`."""
    context = multiprocessing.get_context("spawn")

    def spawn(index: int, connection: socket.socket) -> BaseProcess:
        arguments = (settings, connection, inner.getsockname(), source)
        process = context.Process(target=run_worker, args=arguments, name=f"worker-{index}", daemon=True)
        process.start()
        return process

    server = settings.server
    share_bytes = int(settings.journal.max_size * server.workspace_share)
    return Crew(server.workers, listener, spawn, server.drain_timeout + STOPPING_S, share_bytes)


def _inner_socket() -> socket.socket:
    """An anonymous Unix socket, which leaves no file behind. Its requests are authorised like all others."""
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inner.bind(f"\0parquet-sink-{secrets.token_hex(16)}")
    inner.listen()
    return inner


def _with_keys(settings: Settings) -> tuple[Settings, str | None]:
    """Settings with a readable key file; and the development key if that was used."""
    if settings.auth.api_keys_file is not None:
        if not ApiKeys.load(settings.auth.api_keys_file):
            raise ConfigurationError([f"auth.api_keys_file: {settings.auth.api_keys_file} contains no keys"])
        return settings, None
    directory = settings.journal.path.resolve().parent
    try:
        path, key = development_key(directory)
    except OSError as error:
        raise ConfigurationError(
            [f"cannot store a development key in {directory} ({error.strerror}); set auth.api_keys_file"]
        ) from None
    auth = settings.auth.model_copy(update={"api_keys_file": path})
    return settings.model_copy(update={"auth": auth}), key


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.server.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _first_steps(url: str, key: str, path: Path | None) -> str:
    """Commands to paste into a shell."""
    event = {
        "type": "track",
        "event": "signed_up",
        "device_id": "9f86d081-884c-4d65-9a2f-eaa0c55ad015",
        "properties": {"plan": "pro"},
    }
    return f"""
No auth.api_keys_file is configured, so a development key for workspace 1 was stored in {path}:

  curl -sS {url}/v1/events -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -d '{json.dumps(event)}'
  curl -sS -X POST {url}/flush -H 'Authorization: Bearer {key}'
"""
