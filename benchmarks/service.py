"""The real service as a process of its own, for a benchmark: started, put under load, drained, verified.

What a run gives is only worth something when all rows that were acknowledged are in the files: `finish` fails
otherwise.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import pyarrow.parquet as pq

from tests.support.service import free_port, to_toml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
ADMIN_TOKEN: Final = "an-admin-token-for-benchmarks"
START_SECONDS_MAX: Final = 30.0
WORKSPACES_MAX: Final = 1000
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


class RowsLost(Exception):
    """Files do not hold what was acknowledged: the figures of this run mean nothing."""


class ServerProcess:
    """A server process on a free port of the loopback interface."""

    def __init__(self, command: list[str], directory: Path, port: int, ready_path: str = "/ready") -> None:
        self.port = port
        self.directory = directory
        self._ready_path = ready_path
        self._log = (directory / "server.log").open("ab")
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=self._log, stderr=self._log)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):  # refused, or answered 503
                self.request("GET", self._ready_path)
                return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError((self.directory / "server.log").read_text(errors="replace")[-2000:])

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    def request(self, method: str, path: str, timeout_s: float = 120.0) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            body = response.read()
        return json.loads(body) if body.startswith(b"{") else body

    def pids(self) -> list[int]:
        """The process, and those that it has started."""
        found = [self.process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found

    def cpu_s(self) -> float:
        """User and system time so far."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total * TICK_S

    def threads_cpu_s(self) -> dict[str, float]:
        """The same by thread name."""
        found: dict[str, float] = {}
        for task in (task for pid in self.pids() for task in Path(f"/proc/{pid}/task").iterdir()):
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) * TICK_S
        return found

    def memory_bytes(self, field: str = "VmHWM") -> int:
        """VmHWM: the most each ever held, added; VmRSS: what they hold now."""
        lines = (line for pid in self.pids() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))

    def load(self, keys: Path, **options: object) -> dict[str, Any]:
        """Runs the load generator with these options; adds the server's CPU seconds meanwhile."""
        before = self.cpu_s()
        command = [sys.executable, "-m", "benchmarks.load_generator"]
        command += ["--port", str(self.port), "--keys", str(keys)]
        for name, value in options.items():
            if value is not None:
                command += [f"--{name}", str(value)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        result: dict[str, Any] = json.loads(done.stdout)
        result["server_cpu_s"] = self.cpu_s() - before
        return result


class BenchmarkedService(ServerProcess):
    """`parquet-sink serve` on a directory of its own. config: sections that differ from the defaults."""

    def __init__(self, directory: Path, config: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.keys = write_keys(directory)
        self.parquet = directory / "parquet"
        self.journal = directory / "journal"
        port = free_port()
        sections: dict[str, dict[str, Any]] = {
            "server": {"host": "127.0.0.1", "port": port},
            "auth": {"api_keys_file": str(self.keys), "admin_token": ADMIN_TOKEN},
            "journal": {"path": str(self.journal)},
            "sinks.parquet": {"type": "parquet", "path": str(self.parquet)},
        }
        for section, values in (config or {}).items():
            sections.setdefault(section, {}).update(values)
        path = directory / "parquet-sink.toml"
        path.write_text(to_toml(sections))
        super().__init__([sys.executable, "-m", "app.cli", "serve", "--config", str(path)], directory, port)
        self.acknowledged = 0

    def run(self, **options: object) -> dict[str, Any]:
        """Load, then a flush: rates until everything is in files, which are then counted."""
        started_cpu = self.cpu_s()
        threads = self.threads_cpu_s()
        result = self.load(self.keys, **options)
        self.acknowledged += result["rows"]
        began = time.perf_counter()
        self.request("POST", "/flush")
        result["flush_s"] = time.perf_counter() - began
        result["server_cpu_s"] = self.cpu_s() - started_cpu
        result["threads_cpu_s"] = {
            name: cpu - threads.get(name, 0.0) for name, cpu in self.threads_cpu_s().items()
        }
        result["peak_rss_bytes"] = self.memory_bytes()
        self.verify()
        return rates(result)

    def rows_in_files(self) -> int:
        return sum(pq.read_metadata(path).num_rows for path in self.parquet.rglob("*.parquet"))

    def verify(self) -> None:
        """Raises RowsLost unless the files hold exactly what was acknowledged."""
        found = self.rows_in_files()
        if found != self.acknowledged:
            raise RowsLost(f"{self.acknowledged} rows were acknowledged, {found} are in files")


def rates(result: dict[str, Any]) -> dict[str, Any]:
    """Adds what a run comes to. published_rows_per_s counts the time of the last flush, too."""
    rows = max(result["rows"], 1)
    result["rows_per_s"] = result["rows"] / result["seconds"]
    result["requests_per_s"] = result["requests"] / result["seconds"]
    result["published_rows_per_s"] = result["rows"] / (result["seconds"] + result.get("flush_s", 0.0))
    result["cpu_us_per_row"] = result["server_cpu_s"] / rows * 1e6
    result["cpu_us_per_request"] = result["server_cpu_s"] / max(result["requests"], 1) * 1e6
    result["load_cpu_us_per_row"] = result["cpu_s"] / rows * 1e6
    return result


def write_keys(directory: Path) -> Path:
    """A key file with WORKSPACES_MAX workspaces."""
    path = directory / "api-keys.txt"
    path.write_text("".join(f"{0xABCD0000 + n:032x}:{n}\n" for n in range(1, WORKSPACES_MAX + 1)))
    return path
