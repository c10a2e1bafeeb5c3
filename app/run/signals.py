"""Signal handling of the service's processes: some signals drain it, and no other signal kills it by
accident."""

import logging
import signal
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED: Final = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


def handle_signals(end: Callable[[], None], reload: Callable[[], object]) -> None:
    """end: starts a drain. reload: reloads keys, certificates and the configuration (SIGHUP)."""

    def on_end(number: int, _: Any) -> None:
        if number == signal.SIGQUIT:  # the others are the usual way
            log.warning("SIGQUIT: stopping as with SIGTERM")
        end()

    def on_reload(*_: Any) -> None:
        log.info("SIGHUP: reloading keys, certificates and the configuration")
        reload()

    def on_ignored(number: int, _: Any) -> None:
        log.warning("%s has no meaning for this service and is ignored", signal.Signals(number).name)

    for number in ENDING:
        signal.signal(number, on_end)
    signal.signal(signal.SIGHUP, on_reload)
    for number in IGNORED:
        signal.signal(number, on_ignored)
