"""Finds out which journal owns the files on a store, without delaying the start."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from app.run.start_patience import StartPatience, StartStopped

OWNER_WAIT_S: Final = 2.0
"""How long a start waits for the store to tell which journal owns the files."""


def claim_meanwhile(
    claim: Callable[[], None], patience: StartPatience, fail: Callable[[BaseException], None]
) -> None:
    """Claims ownership on a thread of its own, repeatedly while the store does not respond.

    Returns when that is done, or after a while. Errors until then are raised; later ones are passed to
    `fail`.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            patience.until_store_answers(claim, lambda: None)
        except StartStopped:
            pass
        except BaseException as error:
            outcome.set_exception(error)
            fail(error)
            return
        outcome.set_result(None)

    threading.Thread(target=run, name="owner-check", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        outcome.result(OWNER_WAIT_S)
