"""The service's command under a wall clock that is set to another time and goes on from there.

    python -m tests.support.shifted_clock 2026-03-01T12:00:00+00:00 serve --config FILE

So files of several days are written by the real service, over HTTP. Only the wall clock is moved (time.time,
time.time_ns), as an operator's `date -s` would; monotonic clocks, and so all timeouts, run on.
"""

import datetime
import sys
import time


def shift(start: datetime.datetime) -> None:
    """Makes `start` the present time of this process."""
    real_time_ns = time.time_ns
    offset_ns = round(start.timestamp() * 1e9) - real_time_ns()

    def time_ns() -> int:
        return real_time_ns() + offset_ns

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    shift(datetime.datetime.fromisoformat(sys.argv.pop(1)))
    from app.cli import main

    sys.exit(main())
