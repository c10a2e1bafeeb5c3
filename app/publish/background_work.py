"""Runs long tasks on a thread of their own, one after the other."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeAlias, TypeVar

Rest: TypeAlias = Callable[[float], None]
"""Called between steps with the CPU seconds of the last one; sleeps to leave the core to others. Raises
Stopped."""

T = TypeVar("T")

PAUSE_S_MAX: Final = 10.0
"""The longest pause after a step, however long it took: a clock that jumps must not stop the work."""

STOP_S: Final = 1.0
"""How long a stop waits for the current step."""


class Stopped(Exception):
    """The service is stopping."""


class BackgroundWork(Generic[T]):
    """`begin` and `outcome` are for the writer thread. Without `start`, tasks run within `begin`.

    share: of one core, at most. wake: called when an outcome is available.
    """

    def __init__(self, name: str, share: float, wake: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._wake = wake
        self._share = share
        self._tasks: SimpleQueue[Callable[[Rest], T] | None] = SimpleQueue()  # one at a time
        self._outcomes: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_busy = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The current task is cancelled."""
        self._ended.set()
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(STOP_S)

    def begin(self, task: Callable[[Rest], T]) -> None:
        self.is_busy = True
        if self._thread is None:
            self._outcomes.put((task(lambda seconds: None), None))
        else:
            self._tasks.put(task)

    def outcome(self) -> T | None:
        """The outcome of the current task; None while it runs. Raises whatever the task has raised."""
        try:
            outcome, error = self._outcomes.get_nowait()
        except Empty:
            return None
        self.is_busy = False
        if error is not None:
            raise error
        return outcome

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._outcomes.put((task(self._rest), None))
            except Stopped:
                return
            except BaseException as error:
                self._outcomes.put((None, error))
            self._wake()

    def _rest(self, worked_s: float) -> None:
        pause_s = worked_s * (1 - self._share) / self._share
        if self._ended.wait(min(pause_s, PAUSE_S_MAX)):
            raise Stopped
