"""The life of a composed service: what is started, done at regular times, and ended in which order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from fastapi import FastAPI

from app.api.api_keys import ApiKeys
from app.run.collector import look_less_often
from app.run.compose import AnyService
from app.run.listening import tell_manager
from app.run.start_patience import StartStopped
from app.run.workers import Workers

log = logging.getLogger(__name__)

SPACE_INTERVAL_S: Final = 1.0
WATCH_INTERVAL_S: Final = 0.5
"""How often files are checked: a changed key, quota or certificate takes effect within a second."""


@asynccontextmanager
async def running(
    app: FastAPI,
    service: AnyService,
    keys: ApiKeys,
    summary_interval_s: float | None,
    workers: Workers | None,
) -> AsyncIterator[None]:
    """Recovers in the background, serves, drains. The data directory is locked (Service.lock) before that.

    summary_interval_s: how often a summary line is logged; None for never.
    """
    if workers is not None:
        workers.start(asyncio.get_running_loop())
    tasks = [
        asyncio.create_task(_open(service)),
        asyncio.create_task(repeatedly(SPACE_INTERVAL_S, service.check_space)),
    ]
    # What `serve` says is watched: keys, and with them configuration and certificates.
    watched: Sequence[Callable[[], object]] = getattr(app.state, "watched", None) or [keys.reload_if_changed]
    tasks += [asyncio.create_task(repeatedly(WATCH_INTERVAL_S, each)) for each in watched]
    if summary_interval_s is not None:
        tasks.append(asyncio.create_task(repeatedly(summary_interval_s, service.log_summary)))
    tell_manager("READY=1")
    try:
        yield
    finally:
        tell_manager("STOPPING=1")
        # The opening runs in a thread, and ends sooner or later.
        service.stop_opening()
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if workers is not None:
            await asyncio.to_thread(workers.stop)
        await asyncio.to_thread(service.close)


async def _open(service: AnyService) -> None:
    try:
        await asyncio.to_thread(service.open, asyncio.get_running_loop())
        look_less_often()
    except StartStopped:
        log.info("stopped before the start was complete")
    except Exception as error:
        service.fail(error)


async def repeatedly(seconds: float, call: Callable[[], object]) -> None:
    """Calls a function periodically in a thread. Errors are logged, and calls continue."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(call)
        except Exception:
            log.exception("%s failed", getattr(call, "__qualname__", call))
