"""Writes log lines to standard error without ever blocking on its reader."""

import logging
import queue
import sys
import threading
import time
from typing import Final

LINES_MAX: Final = 10_000
"""Lines that may wait for a reader; further lines are dropped and counted."""

FLUSH_S: Final = 2.0
"""How long the end of the process waits for the last lines to be read."""


class StandardError(logging.Handler):
    """Writes on a thread of its own. dropped: number of dropped lines."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self._lines: queue.Queue[str] = queue.Queue(LINES_MAX)
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._writer is None:  # called with the handler's lock held
            self._writer = threading.Thread(target=self._write, name="log", daemon=True)
            self._writer.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Returns when all is written, or after FLUSH_S."""
        deadline = time.monotonic() + FLUSH_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        said = 0
        while True:
            line = self._lines.get()
            try:
                sys.stderr.write(line + "\n")
                if self.dropped > said:
                    lost, said = self.dropped - said, self.dropped
                    sys.stderr.write(f"{lost} log lines were dropped because standard error was not read\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                self.dropped += 1
            finally:
                self._lines.task_done()
