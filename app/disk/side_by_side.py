"""Calls that wait more than they work, made at the same time."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeAlias

Call: TypeAlias = Callable[[], None]


def failures_of(calls: Sequence[Call], threads_max: int) -> list[Exception]:
    """Make all these calls and return what they raise; none of them keeps another one from being made.

    With one thread they are made in their order, here. What is no Exception is raised.
    """
    threads = min(threads_max, len(calls))
    if threads <= 1:
        return _in_order(calls)
    with ThreadPoolExecutor(threads, "side-by-side") as pool:
        shares = [calls[start::threads] for start in range(threads)]
        return list(chain.from_iterable(pool.map(_in_order, shares)))


def _in_order(calls: Iterable[Call]) -> list[Exception]:
    failures: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as failure:
            failures.append(failure)
    return failures
