"""A process that has imported the service, and forks it as often as it is told to: a start without imports.

    python -m tests.support.forking [MODULE …]

Reads a request a line from standard input and answers a line: {"start": [arguments…], "stderr": path,
"clock": path} with the process id; {"poll": pid} with its exit code, or null while it runs. `clock` is a file
of 8 bytes: by how many nanoseconds the wall clock is off, at every moment. It is a process of its own since
only one without other threads may fork. The modules are imported before that, too.
"""

import gc
import importlib
import json
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

OFFSET: Final = struct.Struct("<q")


class SteppedClock:
    """The wall clock, off by what a file says. Monotonic clocks run on."""

    def __init__(self) -> None:
        self._true_ns = time.time_ns
        self._memory: mmap.mmap | None = None

    def follow(self, path: Path) -> None:
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), OFFSET.size, prot=mmap.PROT_READ)

    def time_ns(self) -> int:
        offset: int = OFFSET.unpack_from(self._memory)[0] if self._memory is not None else 0
        return self._true_ns() + offset

    def time(self) -> float:
        return self.time_ns() / 1e9


def run(request: dict[str, Any], clock: SteppedClock) -> int:
    """What a forked process does; returns its exit code."""
    clock.follow(Path(request["clock"]))
    log = os.open(request["stderr"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    from app.cli import main

    return main(request["start"])


def start(request: dict[str, Any], clock: SteppedClock) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = run(request, clock)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def serve_requests() -> None:
    clock = SteppedClock()
    time.time_ns, time.time = clock.time_ns, clock.time
    import app.cli
    import app.run.serve
    import app.settings.planning  # noqa: F401

    for name in sys.argv[1:]:
        importlib.import_module(name)

    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        answer = start(request, clock) if "start" in request else poll(request["poll"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve_requests()
