"""The command as an operator runs it: what it prints, what it keeps, how it ends."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from openapi_spec_validator import validate

KEY: Final = "000102030405060708090a0b0c0d0e0f"
COMMAND: Final = Path(sys.executable).with_name("parquet-sink")
ENVIRONMENT: Final = {name: text for name, text in os.environ.items() if not name.startswith("PARQUET_SINK")}


def run(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Running:
    """A service that was started in a directory and is ready; `said` is what it wrote so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said = ""
        self.url = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.said += line
            if found := re.search(r"listening on (\S+),", line):
                self.url = found[1]
            if " ready:" in line:
                return
        pytest.fail(f"ended with {process.wait()} before it was ready:\n{self.said}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        self.said += self.process.communicate()[0]
        return self.process.returncode


@contextlib.contextmanager
def serving(directory: Path, *arguments: str, before: Callable[[], None] | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def config(directory: Path, text: str) -> None:
    (directory / "parquet-sink.toml").write_text(text, "utf-8")


# --- commands that do not serve -----------------------------------------------------------------------------


def test_it_tells_its_version_and_its_commands(tmp_path: Path) -> None:
    assert re.fullmatch(r"parquet-sink \d+\.\d+\.\d+\n", run(tmp_path, "--version").stdout)
    assert {"serve", "check-config", "openapi"} <= set(re.findall(r"[\w-]+", run(tmp_path, "--help").stdout))
    assert run(tmp_path).returncode == 2


def test_check_config_prints_what_is_in_force(tmp_path: Path) -> None:
    config(tmp_path, '[auth]\nadmin_token = "hunter2hunter2hunter2"\napi_keys_file = "missing"\n')

    done = run(tmp_path, "check-config", "--host", "0.0.0.0")

    assert done.returncode == 0
    assert 'host = "0.0.0.0"' in done.stdout
    assert "hunter2" not in done.stdout
    assert done.stderr == "parquet-sink: missing does not exist yet; serve needs it\n"


def test_check_config_says_what_spark_does_not_read(tmp_path: Path) -> None:
    config(tmp_path, '[sinks.parquet]\npath = "p"\nannotate = ["ids", "timestamps"]\n')

    done = run(tmp_path, "check-config")

    assert done.returncode == 0
    assert "Spark (4.3 and before) refuses every file with a UUID column" in done.stderr


def test_check_config_names_every_mistake(tmp_path: Path) -> None:
    config(tmp_path, '[server]\nprot = 1\n[journal]\nacknowledge = "maybe"\n')

    done = run(tmp_path, "check-config")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'parquet-sink: journal.acknowledge: "maybe" is not allowed; '
        'allowed: "fsync", "write" or "memory" (in parquet-sink.toml)',
        "parquet-sink: server.prot: unknown key; did you mean port? (in parquet-sink.toml)",
    ]


def test_openapi_goes_to_a_file_or_to_standard_output(tmp_path: Path) -> None:
    printed = run(tmp_path, "openapi").stdout
    assert run(tmp_path, "openapi", "api.json").returncode == 0

    assert (tmp_path / "api.json").read_text("utf-8") == printed
    validate(json.loads(printed))


# --- a service that must not start --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1\n", "server.prot: unknown key; did you mean port?"),
        ('[server]\nhost = "0.0.0.0"\n', "there are no API keys"),
        ('[auth]\napi_keys_file = "missing"\n', "missing: cannot be read"),
        ('[auth]\napi_keys_file = "empty"\n', "empty contains no keys"),
        ('[auth]\napi_keys_file = "placeholder"\n', "placeholder, line 1: the key must have exactly 32 hex"),
        ('[server]\ntls_certificate = "missing"\ntls_key = "empty"\n', "missing is not a file"),
        (
            '[server]\ntls_certificate = "empty"\ntls_key = "empty"\n',
            "server.tls_certificate, server.tls_key:",
        ),
        ('[server]\nhost = "::1"\n[journal]\npath = "empty/journal"\n', "cannot store a development key in"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_started(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "placeholder").write_text("REPLACE_WITH_32_HEX_CHARACTERS:1:example\n")
    config(tmp_path, text)

    done = run(tmp_path, "serve", "--port", "0")

    assert done.returncode == 1, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, "serve", "--port", str(port))

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


# --- a service that runs ------------------------------------------------------------------------------------


def test_the_printed_lines_work_when_pasted(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        script = service.said[service.said.index("  curl ") : service.said.rindex("\n\n")]
        done = subprocess.run(["bash", "-e"], input=script, capture_output=True, text=True, check=True)
        assert service.end(signal.SIGTERM) == 0, service.said

    assert '"accepted":1' in done.stdout
    assert '"flushed_rows":1' in done.stdout
    assert len(list((tmp_path / "parquet").rglob("events.parquet"))) == 1


def test_the_development_key_is_private_and_used_again(tmp_path: Path) -> None:
    said = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving(tmp_path) as service:
            assert service.end(number) == 0, service.said
            said.append(set(re.findall(r"Bearer ([0-9a-f]{32})", service.said)))

    assert said[0] == said[1]
    assert len(said[0]) == 1
    assert stat.S_IMODE((tmp_path / "api-keys.txt").stat().st_mode) == 0o600


def test_no_key_is_made_or_printed_where_a_key_file_is_configured(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}:7\n")
    config(tmp_path, '[auth]\napi_keys_file = "keys"\n')

    with serving(tmp_path) as service:
        assert service.end(signal.SIGTERM) == 0, service.said

    assert not (tmp_path / "api-keys.txt").exists()
    assert KEY not in service.said
    assert "curl" not in service.said


def test_the_address_can_be_an_ipv6_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "::1") as service:
        assert service.url.startswith("http://[::1]:")
        assert httpx.get(f"{service.url}/ready").status_code == 200
        assert service.end(signal.SIGTERM) == 0, service.said


def test_a_journal_that_cannot_be_written_ends_the_service_with_3(tmp_path: Path) -> None:
    """The kernel refuses to let any file of the process grow beyond the limit, as a failing disk would."""

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

    (tmp_path / "keys").write_text(f"{KEY}:7\n")
    config(tmp_path, '[auth]\napi_keys_file = "keys"\n')
    row = {"message": os.urandom(150_000).hex(), "source": "test"}
    with serving(tmp_path, before=limit_file_size) as service:
        answer = httpx.post(
            f"{service.url}/v1/logs", json=row, headers={"Authorization": f"Bearer {KEY}"}, timeout=30
        )
        code = service.end()

    assert answer.status_code == 503
    assert answer.json()["error"] == "outcome_unknown"
    assert code == 3, service.said
    assert "File too large" in service.said


@pytest.mark.heavy
def test_it_serves_with_tls(tmp_path: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    config(tmp_path, '[server]\ntls_certificate = "tls.crt"\ntls_key = "tls.key"\n')

    with serving(tmp_path) as service:
        assert service.url.startswith("https://127.0.0.1:")
        done = subprocess.run(
            ["curl", "-sS", "--cacert", "tls.crt", f"{service.url}/ready"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        assert json.loads(done.stdout)["ready"] is True
        assert service.end(signal.SIGTERM) == 0, service.said


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["check-config"]])
def test_commands_that_need_no_arrow_do_not_load_it(command: list[str], tmp_path: Path) -> None:
    """The service is up in a second because what it imports is what it uses; so is a look at its version."""
    program = (
        "import sys, contextlib\nfrom app.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(sorted({'pyarrow', 'numpy', 'fastapi', 'uvicorn'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
