"""Runs the service until it is told to stop: keys, socket, server, exit code."""

import json
import logging
import multiprocessing
import secrets
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import msgspec
import uvicorn

from app.api.api_keys import ApiKeys
from app.disk.data_directory_lock import DataDirectoryInUse
from app.errors import ConfigurationError
from app.publish.ownership import TreeRefused
from app.run.application import create_app
from app.run.development_key import development_key
from app.run.gauges import observe_certificate
from app.run.listening import listen
from app.run.log_lines import LevelsInForce
from app.run.process import prepare_process, tls_of, uvicorn_config
from app.run.reload import Reload
from app.run.signals import handle_signals
from app.run.start_report import cannot_start
from app.run.tls import ReloadedTls
from app.run.worker_entry import run_worker
from app.run.workers import Workers
from app.settings.plan import Configuration, Plan

STOPPED: Final = 0
DID_NOT_START: Final = 1
FAILED: Final = 3
STOPPED_AT_ONCE: Final = 130


STOPPING_S: Final = 5.0
"""How long workers may take to exit after the time to drain."""


log = logging.getLogger(__name__)


def serve(configuration: Configuration) -> int:
    """Serves until SIGTERM or SIGINT, or until the service stops itself; returns the exit code.

    Raises ConfigurationError and KeyFileError for what is found wrong before it serves.
    """
    prepare_process(configuration.plan.log)
    plan, key = _with_keys(configuration.plan)
    tls = tls_of(plan.listening)
    listener = listen(plan.listening)
    url = _url(plan, listener)
    paths = plan.storage.paths
    log.info(
        "listening on %s, journal in %s (acknowledge = %s), files in %s",
        url,
        paths.state.resolve(),
        plan.policies.journal.acknowledge,
        plan.storage.shown if paths.data is None else paths.data.resolve(),
    )
    if key is not None:
        for handler in logging.getLogger().handlers:
            handler.flush()  # so that the lines stand in their order where both go to one terminal
        print(_first_steps(url, key, plan.auth.api_keys_file), flush=True)
    return _run(plan, listener, tls, configuration)


def _run(plan: Plan, listener: socket.socket, tls: ReloadedTls | None, configuration: Configuration) -> int:
    def request_exit() -> None:
        server.should_exit = True

    workers = inner = None
    if plan.listening.workers > 1:
        inner = _inner_socket()
        workers = _workers(plan, listener, inner, configuration)
    app = create_app(plan, request_exit, workers, lambda: server.should_exit)
    service, keys = app.state.service, app.state.keys
    reload = Reload(
        configuration,
        [LevelsInForce(plan.log), lambda new: service.accounts.quotas.replace(new.policies.quotas)],
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
    config = uvicorn_config(app, app.state.fast_lane, plan.listening, None if inner is not None else tls)
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


def _workers(
    plan: Plan, listener: socket.socket, inner: socket.socket, configuration: Configuration
) -> Workers:
    """Worker processes that accept on `listener`, and forward all calls but batches to `inner`."""
    context = multiprocessing.get_context("spawn")

    def spawn(index: int, connection: socket.socket) -> BaseProcess:
        # The configuration includes what was reloaded since the start, but not a development key.
        arguments = (configuration, plan.auth, connection, inner.getsockname())
        process = context.Process(target=run_worker, args=arguments, name=f"worker-{index}", daemon=True)
        process.start()
        return process

    drain_s = plan.listening.drain_timeout_s + STOPPING_S
    share_bytes = plan.policies.admission.max_workspace_journal_bytes
    return Workers(plan.listening.workers, listener, spawn, drain_s, share_bytes)


def _inner_socket() -> socket.socket:
    """An anonymous Unix socket, which leaves no file behind. Its requests are authorised like all others."""
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inner.bind(f"\0parquet-sink-{secrets.token_hex(16)}")
    inner.listen()
    return inner


def _with_keys(plan: Plan) -> tuple[Plan, str | None]:
    """A plan with a readable key file; and the development key if that was used."""
    keys_file = plan.auth.api_keys_file
    if keys_file is not None:
        if not ApiKeys.load(keys_file):
            raise ConfigurationError([f"auth.api_keys_file: {keys_file} contains no keys"])
        return plan, None
    directory = plan.storage.paths.state.resolve().parent
    try:
        path, key = development_key(directory)
    except OSError as error:
        raise ConfigurationError(
            [f"cannot store a development key in {directory} ({error.strerror}); set auth.api_keys_file"]
        ) from None
    auth = msgspec.structs.replace(plan.auth, api_keys_file=path)
    return msgspec.structs.replace(plan, auth=auth), key


def _url(plan: Plan, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if plan.listening.tls is None else "https"
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
