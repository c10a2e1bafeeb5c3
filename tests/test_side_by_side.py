"""Calls side by side: all of them, at most so many at a time, and no failure lost."""

import threading
from collections.abc import Callable

import pytest

from app.disk.side_by_side import failures_of
from tests.support.faults import Crash

WAIT_SECONDS_MAX = 30.0


def test_as_many_calls_as_allowed_wait_at_the_same_time() -> None:
    barrier = threading.Barrier(4)

    def wait_for_the_others() -> None:
        barrier.wait(WAIT_SECONDS_MAX)

    assert failures_of([wait_for_the_others] * 8, 4) == []


def test_never_more_than_allowed() -> None:
    free = threading.Semaphore(3)
    crowded = threading.Event()

    def call() -> None:
        if not free.acquire(blocking=False):
            crowded.set()
            return
        free.release()

    assert failures_of([call] * 300, 3) == []
    assert not crowded.is_set()


@pytest.mark.parametrize("threads", [1, 2, 7, 100])
def test_every_call_is_made_and_every_failure_returned(threads: int) -> None:
    made = []

    def call(number: int) -> Callable[[], None]:
        def run() -> None:
            made.append(number)
            if number % 10 == 3:
                raise OSError(number, "no")

        return run

    failures = failures_of([call(number) for number in range(50)], threads)
    assert sorted(made) == list(range(50))
    assert {str(failure) for failure in failures} == {f"[Errno {n}] no" for n in (3, 13, 23, 33, 43)}
    assert len(failures) == 5


def test_one_thread_keeps_the_order() -> None:
    threads = []
    made = []

    def call(number: int) -> Callable[[], None]:
        def run() -> None:
            threads.append(threading.current_thread())
            made.append(number)

        return run

    assert failures_of([call(number) for number in range(9)], 1) == []
    assert made == list(range(9))
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("threads", [1, 4])
def test_the_end_of_the_process_is_no_failure_among_others(threads: int) -> None:
    def crash() -> None:
        raise Crash("now")

    with pytest.raises(Crash):
        failures_of([crash] * 5, threads)


def test_nothing_to_do_is_done() -> None:
    assert failures_of([], 16) == []
