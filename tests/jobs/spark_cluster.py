"""A Spark cluster of processes on this machine: a master, and workers of one core each."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

from tests.support.service import REPOSITORY, free_port

START_SECONDS_MAX: Final = 60.0
JOB_SECONDS_MAX: Final = 120.0
POLL_SECONDS: Final = 0.05

SHORT_LIVED: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For Java programs that end before an optimising compiler has paid for itself."""

JOB_SETTINGS: Final = {
    "spark.driver.extraJavaOptions": SHORT_LIVED,
    "spark.executor.extraJavaOptions": SHORT_LIVED,
    "spark.executor.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
}


def spark_python() -> Path:
    """The interpreter that has pyspark: the one that HEAVY_PYTHON names, or that of .venv-heavy."""
    named = Path(os.environ.get("HEAVY_PYTHON") or REPOSITORY / ".venv-heavy" / "bin" / "python")
    assert named.exists(), "install requirements-heavy.lock, or name an interpreter in HEAVY_PYTHON"
    return named


class Job:
    """A submitted program. lines: what it has written to stdout so far."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self.process = process
        self.lines: list[str] = []
        self._stderr = stderr

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    def read_until(self, start: str) -> str:
        """The next line that begins so; fails when the program ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(start):
                return line
        raise AssertionError(f"ended without {start!r}: {self.lines}\n{self.stderr[-3000:]}")

    def kill(self) -> None:
        """SIGKILL for the driver's JVM and its Python."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=JOB_SECONDS_MAX)

    def wait(self) -> int:
        rest, _ = self.process.communicate(timeout=JOB_SECONDS_MAX)
        self.lines += rest.splitlines()
        return self.process.returncode


class SparkCluster:
    """As a context manager it leaves no process behind."""

    def __init__(self, directory: Path, workers: int) -> None:
        self._directory = directory
        self._port = free_port()
        self._home = _spark_home()
        self._jobs: list[Job] = []
        self._master = self._launch(
            "master", "master.Master", "--host", "127.0.0.1", "--port", str(self._port)
        )
        self._wait_for("I have been elected leader", 1)
        self.workers = [self._worker(number) for number in range(workers)]
        self._wait_for("Registering worker", workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        processes: list[subprocess.Popen[Any]] = [job.process for job in self._jobs]
        for process in (*processes, *self.workers, self._master):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=START_SECONDS_MAX)

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self._port}"

    def submit(self, program: Path, *arguments: str) -> Job:
        settings = [text for name, value in JOB_SETTINGS.items() for text in ("--conf", f"{name}={value}")]
        command = [str(self._home / "bin" / "spark-submit"), "--master", self.url, "--driver-memory", "512m"]
        stderr = self._directory / f"job-{len(self._jobs)}.txt"
        with stderr.open("wb") as log:
            process = subprocess.Popen(
                [*command, *settings, str(program), *arguments],
                cwd=self._directory,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._jobs.append(Job(process, stderr))
        return self._jobs[-1]

    def kill_worker(self, number: int) -> None:
        """SIGKILL for a worker and its executors, as when their machine is lost."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait(START_SECONDS_MAX)

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        work = ("--work-dir", str(self._directory / f"work-{number}"))
        return self._launch(
            f"worker-{number}", "worker.Worker", "--cores", "1", "--memory", "1g", *work, self.url
        )

    def _launch(self, name: str, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._directory / f"{name}.txt").open("wb") as log:
            return subprocess.Popen(
                [
                    str(self._home / "bin" / "spark-class"),
                    f"org.apache.spark.deploy.{role}",
                    "--webui-port",
                    "0",
                    *arguments,
                ],
                cwd=self._directory,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SPARK_HOME": str(self._home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED,
            "PYSPARK_PYTHON": str(spark_python()),
        }

    def _wait_for(self, text: str, times: int) -> None:
        """Until the master has logged it so often."""
        log = self._directory / "master.txt"
        deadline = time.monotonic() + START_SECONDS_MAX
        while log.read_text().count(text) < times:
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"exit code {self._master.wait(POLL_SECONDS)}: {log.read_text()}")


def _spark_home() -> Path:
    program = "import pyspark; print(pyspark.__path__[0])"
    done = subprocess.run(
        [spark_python(), "-c", program], capture_output=True, text=True, check=True, timeout=START_SECONDS_MAX
    )
    return Path(done.stdout.strip())
