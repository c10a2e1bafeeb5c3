"""The real service as a process of its own, on a free port, with directories and keys of its own.

Tests talk to it as a client does: over a socket, and by reading the files it publishes.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from app.kinds import Kind
from app.schema import SCHEMAS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.02

FRESH_WORKSPACES: Final = range(1_000, 1_100)
"""For tests that share a service, and want a workspace in which nothing has happened yet."""

KEYS: Final[Mapping[int, str]] = {
    1: "000102030405060708090a0b0c0d0e0f",
    2: "20212223242526272829" + "2a2b2c2d2e2f",
    3: "ffeeddccbbaa99887766554433221100",
    4294967295: "fffffffffffffffffffffffffffffffe",
    **{workspace: f"{workspace:032x}" for workspace in FRESH_WORKSPACES},
}
"""API key by workspace. The first is the key inside the batches of tests/vectors."""

ADMIN_TOKEN: Final = "an-admin-token-for-tests"
FLATBUFFER: Final = "application/x-flatbuffers"

Config = Mapping[str, Any]
"""Sections by name: of a table its keys, of an array of tables a list of these."""


class DidNotStart(AssertionError):
    """The process ended, or was not ready in time; the message holds what it wrote to stderr."""


class Service:
    """One service on directories of its own. As a context manager it leaves no process behind.

    config: sections of the configuration file that differ from the test defaults, for example
        {"server": {"max_body_size": "1KB"}, "sinks.parquet": {"rotation": "hourly"}}.
    clock: RFC 3339 time that the next start takes for the present; None for the true one.
    tables: those of its catalog, as tests.support.catalog_service makes them; None without one.
    disk_bytes_per_second: how fast the next start can write; None for as fast as it goes.
    """

    def __init__(self, directory: Path, config: Config | None = None, clock: str | None = None) -> None:
        self.directory = directory
        self.parquet = directory / "parquet"
        self.journal = directory / "journal"
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.base_url, timeout=30.0)
        self.clock = clock
        self.tables: Any = None
        self.disk_bytes_per_second: int | None = None
        self._stderr = directory / "stderr.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._config_file = directory / "parquet-sink.toml"
        self.configure(config or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.kill9()
        self.http.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the service was never started"
        return self._process

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace") if self._stderr.exists() else ""

    def configure(self, config: Config) -> None:
        """Replaces the configuration file, as an operator does."""
        self._write_config(config)

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process and does not wait until it is ready."""
        assert not self.running
        program = ["app.cli"] if self.clock is None else ["tests.support.shifted_clock", self.clock]
        if self.disk_bytes_per_second is not None:
            program = ["tests.support.slow_disk", str(self.disk_bytes_per_second)]
        with self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *program, "serve", "--config", str(self._config_file)],
                cwd=REPOSITORY,
                stdout=stderr,
                stderr=stderr,
            )
        return self._process

    def start(self) -> Self:
        """Starts the process and returns when /ready says 200. Raises DidNotStart."""
        process = self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        answer = "no connection"
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                response = self.http.get("/ready")
                if response.status_code == 200:
                    return self
                answer = f"{response.status_code} {response.text}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(POLL_SECONDS)
                raise DidNotStart(f"exit code {code}:\n{self.stderr}")
        self.kill9()
        raise DidNotStart(f"not ready after {START_SECONDS_MAX} s ({answer}):\n{self.stderr}")

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Returns when it holds; fails after so many seconds, or at once when the process has ended."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.stderr}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"exit code {self.process.wait(POLL_SECONDS)}:\n{self.stderr}")

    def terminate(self) -> int:
        """SIGTERM, as an orderly stop; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)

    def restart(self) -> Self:
        """Starts it again on the same directories and port, after an orderly stop if it still runs."""
        if self.running:
            code = self.terminate()
            assert code == 0, self.stderr
        return self.start()

    def post(
        self,
        call: str,
        body: bytes | str,
        *,
        workspace: int = 1,
        content_type: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One ingest call, whatever it answers. `call` is "ingest", "events", "logs" or "snapshots"."""
        if content_type is None:
            content_type = FLATBUFFER if call == "ingest" else "application/json"
        return self.http.post(
            f"/v1/{call}",
            content=body,
            params=dict(params or {}),
            headers={
                "Authorization": f"Bearer {KEYS[workspace]}",
                "Content-Type": content_type,
                **(headers or {}),
            },
        )

    def post_json(
        self, call: str, rows: list[dict[str, Any]], *, workspace: int = 1, wait: str | None = None
    ) -> int:
        """Posts rows as a JSON array that must be taken whole; returns how many rows were accepted."""
        params = {"wait": wait} if wait else None
        response = self.post(call, json.dumps(rows), workspace=workspace, params=params)
        assert response.status_code == 202, response.text
        return int(response.json()["accepted"])

    def post_flatbuffer(self, batch: bytes, *, workspace: int = 1, wait: str | None = None) -> int:
        """Posts a FlatBuffer batch that must be taken whole; returns how many rows were accepted."""
        response = self.post("ingest", batch, workspace=workspace, params={"wait": wait} if wait else None)
        assert response.status_code == 202, response.text
        return int(response.json()["accepted"])

    def admin(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A call with the admin token, whatever it answers."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", **arguments.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **arguments)

    def flush(self, workspace: int | None = None) -> dict[str, Any]:
        params = {} if workspace is None else {"workspace_id": str(workspace)}
        return _json(self.admin("POST", "/flush", params=params))

    def files(self, **filters: str) -> list[dict[str, Any]]:
        """Every published file that /files lists, newest first, over all its pages."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {**filters, **({"cursor": cursor} if cursor else {})}
            page = _json(self.admin("GET", "/files", params=params))
            found += page["files"]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def status(self) -> dict[str, Any]:
        return _json(self.admin("GET", "/status"))

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels, as they are written there."""
        response = self.admin("GET", "/metrics")
        assert response.status_code == 200, response.text
        lines = (line for line in response.text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def data_files(self, kind: Kind | str = "", workspace: int | str = "*") -> list[Path]:
        """Parquet files on disk, of every kind or one, found by a glob below the data directory."""
        return sorted(self.parquet.glob(f"{workspace}/**/{kind}*.parquet"))

    def table(self, kind: Kind | str = Kind.EVENTS, workspace: int | str = "*") -> pa.Table:
        """All rows of a kind that are in files now, read by pyarrow alone, file after file by name."""
        schema = SCHEMAS[Kind(kind)]
        tables = [pq.read_table(path, partitioning=None) for path in self.data_files(kind, workspace)]
        return pa.concat_tables(
            [table.replace_schema_metadata() for table in tables] or [schema.empty_table()]
        )

    def _write_config(self, config: Config) -> None:
        keys = self.directory / "api-keys.txt"
        keys.write_text("".join(f"{key}:{workspace}:test-{workspace}\n" for workspace, key in KEYS.items()))
        sections: dict[str, Any] = {
            "server": {"host": "127.0.0.1", "port": self.port},
            "auth": {"api_keys_file": str(keys), "admin_token": ADMIN_TOKEN},
            "journal": {"path": str(self.journal)},
            "sinks.parquet": {"type": "parquet", "path": str(self.parquet)},
        }
        for section, values in config.items():
            if isinstance(values, list):
                sections[section] = values
            else:
                sections.setdefault(section, {}).update(values)
        self._config_file.write_text(to_toml(sections))


NewService = Callable[..., Service]
"""Makes a service of a directory and a configuration."""


def to_toml(sections: Config) -> str:
    """Sections of strings, numbers, booleans, lists of them and tables of strings, as TOML."""
    lines: list[str] = []
    for section, values in sections.items():
        header = f"[[{section}]]" if isinstance(values, list) else f"[{section}]"
        for table in values if isinstance(values, list) else [values]:
            lines.append(header)
            lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running_service(
    directory: Path, config: Config | None = None, clock: str | None = None
) -> Iterator[Service]:
    """`running` of a service with files in a directory."""
    with running(Service(directory, config, clock)) as service:
        yield service


@contextlib.contextmanager
def running(new: Service) -> Iterator[Service]:
    """A started service that must also stop in order: exit code 0, and no traceback in what it logged."""
    with new as service:
        service.start()
        yield service
        if service.running:
            code = service.terminate()
            assert code == 0, service.stderr
        assert "Traceback" not in service.stderr, service.stderr


def _json(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, f"{response.status_code} {response.text}"
    body = response.json()
    assert isinstance(body, dict)
    return body
