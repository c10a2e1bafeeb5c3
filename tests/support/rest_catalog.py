"""Iceberg's REST catalog server, as a process of its own, with its tables in a directory."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.service import REPOSITORY, free_port

START_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.1


class RestCatalogServer:
    """Begins with `start`; `stop` is a SIGKILL, and another `start` goes on with the same tables."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        place = Path(os.environ.get("REST_CATALOG_JARS") or REPOSITORY / ".iceberg" / "rest")
        assert place.exists(), "make iceberg-engines, or name a directory of jars in REST_CATALOG_JARS"
        environment = {
            **os.environ,
            "CATALOG_URI": f"jdbc:sqlite:{self._directory / 'rest.db'}",
            "CATALOG_WAREHOUSE": f"file://{self._directory / 'warehouse'}",
            "CATALOG_REST_PORT": str(self._port),
        }
        server = "org.apache.iceberg.rest.RESTCatalogServer"
        with (self._directory / "rest.txt").open("ab") as log:
            self._process = subprocess.Popen(
                ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{place}/*", server],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._await(self._process)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
                raise AssertionError((self._directory / "rest.txt").read_text())
        raise AssertionError("the REST catalog did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS_MAX)
            self._process = None


@contextlib.contextmanager
def running_rest_catalog(directory: Path) -> Iterator[RestCatalogServer]:
    server = RestCatalogServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
