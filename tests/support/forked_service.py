"""The real service, started by a fork of a process that has imported it: a restart takes a tenth of a second.

Otherwise it is the same: a process of its own, on real directories, over a socket. It does not have root's
right to pass over permissions, so that a folder without permission is one for it, and its wall clock can be
set while it runs.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import httpx

from tests.support.bucket_service import BucketService
from tests.support.catalog_service import CatalogService, with_catalog
from tests.support.forking import OFFSET
from tests.support.service import REPOSITORY, START_SECONDS_MAX, Config, DidNotStart, Service

PASSES_OVER_PERMISSIONS: Final = "-dac_override,-dac_read_search"
FROZEN_SECONDS_MAX: Final = 10.0
READY_POLL_SECONDS: Final = 0.01


class Forks:
    """The process that forks. As a context manager it leaves no process behind.

    modules: what the service imports only as it is configured.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.forking", *self._modules]
        if os.geteuid() == 0:
            setpriv = shutil.which("setpriv")
            assert setpriv is not None, "as root this needs setpriv, of util-linux"
            caps = PASSES_OVER_PERMISSIONS
            command = [setpriv, f"--bounding-set={caps}", f"--inh-caps={caps}", *command]
        self._lock = threading.Lock()
        self._parent = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate()

    def ask(self, request: dict[str, Any]) -> Any:
        stdin, stdout = self._parent.stdin, self._parent.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())


class ForkedProcess:
    """As much of subprocess.Popen as a service needs."""

    def __init__(self, forks: Forks, request: dict[str, Any]) -> None:
        self._forks = forks
        self.pid: int = forks.ask(request)
        self._handle = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is not None:
            return self.returncode
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("the forked service", timeout or 0)
        code = self._forks.ask({"poll": self.pid})
        assert code is not None, "it has ended"
        os.close(self._handle)
        self.returncode = code
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forked(Service):
    """However it is configured."""

    def begin_with(self, forks: Forks) -> None:
        """forks: what starts it."""
        self._forks = forks
        self._offset = self.directory / "clock-offset"
        self._offset_ns = 0
        self.step_clock(0)

    def launch(self) -> Any:
        assert not self.running
        serve = ["serve", "--config", str(self._config_file)]
        request = {"start": serve, "stderr": str(self._stderr), "clock": str(self._offset)}
        process: Any = ForkedProcess(self._forks, request)
        self._process = process
        return process

    def start(self) -> Self:
        """As `Service.start`, which looks less often."""
        process = self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/ready").status_code == 200:
                    return self
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise DidNotStart(f"exit code {process.wait(READY_POLL_SECONDS)}:\n{self.stderr}")
        self.kill9()
        raise DidNotStart(f"not ready after {START_SECONDS_MAX} s:\n{self.stderr}")

    def step_clock(self, seconds: float) -> None:
        """Set its wall clock by so much from where it is; at once, also while it runs."""
        self._offset_ns = round(self._offset_ns + seconds * 1e9)
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(OFFSET.pack(self._offset_ns))

    @property
    def clock_is_off_s(self) -> float:
        return self._offset_ns / 1e9

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still, wherever it is; what has ended stands still anyway."""
        if not self.running:
            yield
            return
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + FROZEN_SECONDS_MAX
        while any(state not in "TtZ" for state in _states(self.process.pid)):
            assert time.monotonic() < deadline, "it does not stand still"
            time.sleep(0)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class ForkedService(Forked):
    """forks: what starts it."""

    def __init__(self, directory: Path, config: Config | None = None, *, forks: Forks) -> None:
        super().__init__(directory, config)
        self.begin_with(forks)


class ForkedBucketService(Forked, BucketService):
    """With its files on an object store. forks: what starts it, with credentials in its environment."""

    def __init__(self, directory: Path, config: Config | None = None, *, forks: Forks, endpoint: str) -> None:
        BucketService.__init__(self, directory, config, endpoint=endpoint)
        self.begin_with(forks)


class ForkedCatalogService(Forked, CatalogService):
    """With a catalog. forks: what starts it."""

    def __init__(self, directory: Path, config: Config | None = None, *, forks: Forks) -> None:
        CatalogService.__init__(self, directory, config)
        self._config = config or {}
        self.begin_with(forks)

    def promote(self, columns: list[dict[str, str]]) -> None:
        """From the next start on these fields of the payload are columns, and no others."""
        self.configure(with_catalog(self.directory, {**self._config, "sinks.parquet.promote": columns}))


def _states(pid: int) -> Iterator[str]:
    """Of all threads."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            yield stat.read_text().rpartition(")")[2].split()[0]
