"""A listening socket that somebody else holds: it is served on, and a restart refuses no connection."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, REPOSITORY, Service
from tests.support.workers_service import WorkersService

PASS_ON = (
    "import os, sys; fd = int(sys.argv[1]); os.dup2(fd, 3); os.set_inheritable(3, True); "
    "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'http'}; "
    "os.execv(sys.executable, [sys.executable, '-m', 'app.cli', *sys.argv[2:]])"
)
"""What a service manager does between fork and exec."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as held:
        yield held


class Managed:
    """A service that is started by a manager. states: what it has told that."""

    def __init__(self, service: Service, listener: socket.socket, directory: Path) -> None:
        self.service = service
        self.listener = listener
        service.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{service.port}"
        service.http.close()
        service.http = httpx.Client(base_url=self.url, timeout=60)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = str(directory / "notify")
        self.notified.bind(self.address)
        self.notified.settimeout(60)

    def start(self) -> subprocess.Popen[bytes]:
        arguments = [
            str(self.listener.fileno()),
            "serve",
            "--config",
            str(self.service.directory / "parquet-sink.toml"),
        ]
        with (self.service.directory / "stderr.txt").open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", PASS_ON, *arguments],
                cwd=REPOSITORY,
                pass_fds=[self.listener.fileno()],
                env={**os.environ, "NOTIFY_SOCKET": self.address},
                stderr=stderr,
            )
        assert self.notified.recv(100) == b"READY=1"
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.service.stderr
        assert self.notified.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    "kind", [Service, pytest.param(WorkersService, marks=pytest.mark.heavy)], ids=["one", "workers"]
)
def test_a_restart_refuses_no_connection(
    tmp_path: Path, listener: socket.socket, kind: type[Service]
) -> None:
    service = kind(tmp_path)
    managed = Managed(service, listener, tmp_path)
    stop = threading.Event()
    answers: list[int] = []
    failures: list[Exception] = []

    def post() -> None:
        """A new connection for each batch, sent again as a client does when it is told to."""
        while not stop.is_set():
            with contextlib.suppress(
                httpx.ReadError, httpx.RemoteProtocolError
            ):  # the old one has ended under it
                try:
                    response = httpx.post(
                        f"{managed.url}/v1/events",
                        content=json.dumps([event(1)]),
                        headers={"X-API-Key": KEYS[1]},
                        timeout=60,
                    )
                except httpx.ConnectError as error:
                    failures.append(error)
                    return
                answers.append(response.status_code)

    with service:
        process = managed.start()
        client = threading.Thread(target=post)
        client.start()
        while len(answers) < 5 and not failures:
            stop.wait(0.01)
        managed.stop(process)
        process = managed.start()
        while answers.count(202) < 20 and not failures:
            stop.wait(0.01)
        stop.set()
        client.join()
        assert failures == []
        assert set(answers) <= {202, 503}, "503 while it drains or replays: those are sent again"
        assert "listening on http://127.0.0.1:" in service.stderr
        managed.stop(process)
        managed.notified.close()
    assert answers.count(202) <= service.table("events").num_rows


@pytest.mark.parametrize(
    ("count", "said"),
    [("2", "LISTEN_FDS: 2 sockets were passed"), ("1", "LISTEN_FDS: the passed descriptor is not")],
)
def test_what_cannot_be_served_on_is_said(tmp_path: Path, count: str, said: str) -> None:
    service = Service(tmp_path)
    with service, (tmp_path / "a-file").open("wb") as file:
        program = PASS_ON.replace("'1'", f"'{count}'")
        done = subprocess.run(
            [
                *(sys.executable, "-c", program, str(file.fileno()), "serve"),
                *("--config", str(tmp_path / "parquet-sink.toml")),
            ],
            cwd=REPOSITORY,
            pass_fds=[file.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert said in done.stderr
