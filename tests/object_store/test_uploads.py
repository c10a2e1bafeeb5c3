"""Calls that are made some at a time."""

import threading

import pytest

from app.object_store.uploads import make_calls


@pytest.mark.parametrize("threads", [1, 3])
def test_every_call_is_made_whatever_another_raises(threads: int) -> None:
    made: list[int] = []

    def call(number: int) -> None:
        made.append(number)
        if number % 2:
            raise OSError(number)

    failures = make_calls([lambda number=number: call(number) for number in range(7)], threads)  # type: ignore[misc]
    assert sorted(made) == list(range(7))
    assert sorted(str(failure) for failure in failures) == ["1", "3", "5"]


def test_no_more_than_so_many_are_under_way_and_as_many_as_that_are() -> None:
    together = threading.Barrier(3, timeout=30)
    lock = threading.Lock()
    running, most = 0, 0

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()
        with lock:
            running -= 1
        together.wait()

    assert make_calls([call] * 6, 3) == []
    assert most == 3
