"""A real S3 server as a process of its own: SeaweedFS, with its directory and ports of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from app.object_store.policy import StorePolicy
from app.object_store.store import ObjectStore
from app.object_store.url import Provider, StoreUrl

BUCKET: Final = "bucket"
REGION: Final = "eu-central-1"
ACCESS_KEY: Final = "an-access-key"
SECRET_KEY: Final = "a-secret-key-of-tests"
START_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.05

CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
}
"""What a client of it has in its environment."""

OPTIONS: Final = (
    f"-bucket={BUCKET}",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-admin.ui=false",
    "-webdav=false",
)

PORTS: Final = ("s3", "master", "volume", "filer", "admin")
"""Each has a second one, for the server's own calls."""


PORT_TAKEN: Final = "Port allocation failed"
"""In the log when another process has taken a port since it was found free."""


def free_ports() -> dict[str, tuple[int, int]]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(10)]
        numbers = [each.getsockname()[1] for each in sockets]
    return dict(zip(PORTS, zip(numbers[:5], numbers[5:], strict=True), strict=True))


class S3Server:
    """One bucket. As a context manager it leaves no process behind.

    directory: where it keeps the objects. port: where it listens.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "weed.log"
        self._ports = free_ports()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_run = False

    @property
    def port(self) -> int:
        return self._ports["s3"][0]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the bucket is there."""
        try:
            self._start()
        except AssertionError as error:
            if self._has_run or PORT_TAKEN not in str(error):
                raise
            self._ports = free_ports()
            self._start()
        self._has_run = True

    def _start(self) -> None:
        ports = [
            option
            for name, (http, own) in self._ports.items()
            for option in (f"-{name}.port={http}", f"-{name}.port.grpc={own}")
        ]
        # The program is none of Python's: it stands beside the interpreter, as the package installs it.
        program = Path(sys.executable).with_name("weed")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "mini", f"-dir={self.directory}", *OPTIONS, *ports],
                cwd=self.directory,
                env={**os.environ, **CREDENTIALS, "HOME": str(self.directory)},
                stdout=log,
                stderr=log,
            )
        self._await_bucket(self._process)

    def _await_bucket(self, process: subprocess.Popen[bytes]) -> None:
        store = ObjectStore(policy_of(self.endpoint, "start", request_timeout_s=1.0))
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                store.create("started", b"yes", 0)
                return
            except OSError as error:
                problem = str(error)
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"exit code {process.wait(POLL_SECONDS)}:\n{self.log.read_text()}")
        raise AssertionError(f"no bucket after {START_SECONDS_MAX} s: {problem}\n{self.log.read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


@contextlib.contextmanager
def running_s3_server(directory: Path) -> Iterator[S3Server]:
    server = S3Server(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def policy_of(endpoint: str, prefix: str, **others: float) -> StorePolicy:
    """How the product speaks to this server, below a prefix of one's own."""
    url = StoreUrl(Provider.S3, BUCKET, prefix)
    return StorePolicy(url=url, endpoint=endpoint, region=REGION, **others)  # type: ignore[arg-type]
