"""The tour in the README does what it says, line by line, with a service that nobody configured."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service import POLL_SECONDS, REPOSITORY, START_SECONDS_MAX, STOP_SECONDS_MAX, free_port

PORT_OF_THE_TOUR = "8080"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a service that was started as `make run` does it, in an empty directory."""
    port = free_port()
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PARQUET_SINK__SERVER__PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(port, process)
        yield port
    finally:
        process.terminate()
        assert process.wait(STOP_SECONDS_MAX) == 0


def test_the_tour_of_the_readme(tmp_path: Path, port: int) -> None:
    (tour,) = re.findall(r"^```sh tour\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = python.with_name("parquet-sink")
    command.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m app.cli "$@"\n')
    command.chmod(0o755)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour.replace(PORT_OF_THE_TOUR, str(port))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    event, logs, flushed, first, second, *_ = json_objects(done.stdout)
    assert event["accepted"] == 1
    assert (logs["accepted"], [error["line"] for error in logs["errors"]]) == (2, [2])
    assert (first["published"], second["duplicate"]) == (True, True)
    assert flushed["flushed_rows"] == 3
    for shown in (
        "signed_up",
        '{"plan":"pro"}',
        "warning",
        "disk full",
        "/snapshots.parquet",
        '"stored": 2',
        '{"plan":"pro","n":2}',
    ):
        assert shown in done.stdout
    assert "parquet_sink_event_rows_written_total 1.0" in done.stdout


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the service ended with {process.wait(POLL_SECONDS)}")
    raise AssertionError(f"not ready after {START_SECONDS_MAX} s")


def json_objects(text: str) -> list[dict[str, object]]:
    """The objects at the beginning of a text, one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while text.startswith("{"):
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found
