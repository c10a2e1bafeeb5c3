"""Lets a start wait while files cannot be written, until it succeeds or is told to stop."""

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from app.object_store.store import StoreUnavailable

RETRY_S: Final = 2.0
"""The intervals at which an interrupted upload is tried again, and at which a stop is noticed."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class StartStopped(Exception):
    """The service must stop before it has started. Nothing is lost: the next start does the same again."""


class StartPatience:
    """Waits on the starting thread; `stop` is called from another one."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def until_store_answers(self, step: Callable[[], T], on_outage: Callable[[], None]) -> T:
        """Retry a step that needs an object store. Raises StartStopped."""
        while True:
            try:
                return step()
            except StoreUnavailable as error:
                log.warning("an interrupted upload must be finished first and is retried: %s", error)
            on_outage()
            if self._stop.wait(RETRY_S):
                raise StartStopped

    def until_done(self, future: Future[T]) -> T:
        """Wait for a flush that is delayed only by a full disk or a store. Raises StartStopped."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                return future.result(RETRY_S)
        raise StartStopped
