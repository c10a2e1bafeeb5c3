"""Calls that wait for a store, some at a time, on threads that never keep the process from ending."""

import threading
from collections.abc import Callable, Iterable, Iterator


def make_calls(calls: Iterable[Callable[[], None]], threads_max: int) -> list[Exception]:
    """Make all these calls, at most a limited number at a time, and return what they raise.

    None of them keeps another one from being made. Python waits at its end for the threads of a pool, and a
    store that does not answer would hold up the end of a drained process; so these are threads of their own.
    """
    queue = iter(list(calls))
    lock = threading.Lock()
    failures: list[Exception] = []
    if threads_max <= 1:
        _work(queue, lock, failures)
        return failures
    workers = [
        threading.Thread(target=_work, args=(queue, lock, failures), name="upload", daemon=True)
        for _ in range(threads_max)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return failures


def _work(queue: Iterator[Callable[[], None]], lock: threading.Lock, failures: list[Exception]) -> None:
    while True:
        with lock:
            call = next(queue, None)
        if call is None:
            return
        try:
            call()
        except Exception as failure:
            failures.append(failure)
