"""The service's command on a disk that takes so many bytes a second from each thread that writes.

    python -m tests.support.slow_disk 2000000 serve --config FILE

Only the time that a write takes is changed; all else is the real service on the real disk.
"""

import os
import sys
import time


def slow_down(bytes_per_second: int) -> None:
    """From now on writes of this process take as long as that."""
    real_writev = os.writev

    def writev(fd, buffers):  # type: ignore[no-untyped-def]
        written = real_writev(fd, buffers)
        time.sleep(written / bytes_per_second)
        return written

    os.writev = writev


if __name__ == "__main__":
    slow_down(int(sys.argv.pop(1)))
    from app.cli import main

    sys.exit(main())
