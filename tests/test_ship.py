"""What is handed to others works as it is: the wheel, the units of systemd, the compose file."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml

from app.cli import command_line
from app.errors import ConfigurationError
from app.settings.settings import load
from tests.support.service import REPOSITORY, free_port

DEPLOY = REPOSITORY / "deploy"
TOKEN = "a-token-of-the-operator"


def release(into: Path, **environment: str) -> Path:
    subprocess.run(
        [sys.executable, str(DEPLOY / "release.py"), str(into)],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
        cwd=into.parent,
    )
    return into


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("release") / "dist")


def test_whoever_builds_a_commit_gets_the_same_bytes(released: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        again = release(tmp_path / "elsewhere", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1")
    finally:
        os.umask(old)
    names = sorted(path.name for path in released.iterdir())

    assert len(names) == 7
    assert names == sorted(path.name for path in again.iterdir())
    for name in names:
        assert (released / name).read_bytes() == (again / name).read_bytes(), name


def test_the_archives_hold_what_they_should(released: Path) -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    with zipfile.ZipFile(released / f"parquet_sink-{version}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    with tarfile.open(released / f"parquet_sink-{version}.tar.gz") as source:
        sources = source.getnames()
    sums = (released / "SHA256SUMS").read_text().splitlines()

    assert "app/cli.py" in names
    assert f"parquet_sink-{version}.data/data/share/man/man1/parquet-sink.1" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert f"parquet_sink-{version}/pyproject.toml" in sources
    assert [line.split()[1] for line in sums] == sorted(
        path.name for path in released.iterdir() if path.suffix in (".whl", ".gz", ".json")
    )
    assert (released / "CHANGES.md").read_text().startswith("- ")


def test_the_sbom_lists_all_that_the_lock_pins(released: Path) -> None:
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    pinned = set(re.findall(r"^([a-z0-9._-]+)==([^ \\\n]+)", lock, re.MULTILINE))
    bom = json.loads((released / "parquet-sink.cdx.json").read_text("utf-8"))

    assert {(each["name"], each["version"]) for each in bom["components"]} == pinned
    assert {each["purl"] for each in bom["components"]} >= {f"pkg:pypi/{name}@{at}" for name, at in pinned}
    assert bom["metadata"]["component"]["name"] == "parquet-sink"


def test_the_man_page_knows_every_command_and_option() -> None:
    """Its lines break where each version of Python has them; what it says is the same."""
    page = (REPOSITORY / "deploy/data/share/man/man1/parquet-sink.1").read_text("utf-8")
    said = page.replace("\\-", "-")
    for command, options in commands_of(command_line()).items():
        assert f"'parquet-sink {command}'" in said
        section = said.split(f".SH COMMAND \\fI\\,'parquet-sink {command}'", 1)[1].split(".SH COMMAND", 1)[0]
        missing = [option for option in options if option not in section]
        assert not missing, f"{command}: make man-page"


def commands_of(parser: argparse.ArgumentParser, before: str = "") -> dict[str, list[str]]:
    """The options of each command and of those below it, by its words."""
    found: dict[str, list[str]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found[f"{before}{name}"] = [
                    option
                    for each in below._actions
                    for option in each.option_strings
                    if each.help != argparse.SUPPRESS and option not in ("-h", "--help")
                ]
                found |= commands_of(below, f"{before}{name} ")
    return found


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_the_wheel_serves_in_an_empty_environment(released: Path, tmp_path: Path) -> None:
    """As `pipx install` would: an environment of its own, nothing of this repository."""
    environment, place = tmp_path / "venv", tmp_path / "place"
    place.mkdir()
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    pinned = re.findall(r"^([a-z0-9-]+==[^\\\n]+?) *\\?$", lock, re.MULTILINE)
    (tmp_path / "versions.txt").write_text("\n".join(pinned))
    (wheel,) = released.glob("parquet_sink-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    subprocess.run(
        [
            *(str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"),
            *("--no-compile", "--constraint", str(tmp_path / "versions.txt"), f"{wheel}[query]"),
        ],
        check=True,
        cwd=place,
    )
    command = str(environment / "bin" / "parquet-sink")
    bare = {"PATH": os.environ["PATH"], "HOME": str(place)}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [command, *arguments], cwd=place, env=bare, check=True, capture_output=True, text=True
        ).stdout

    assert "[server]" in run("check-config")
    port = free_port()
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "serve", "--port", str(port)], cwd=place, env=bare, stdout=log, stderr=log
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8), timeout=30
            ) as http:
                while http.get("/ready").status_code != 200:
                    assert process.poll() is None, (place / "log").read_text()
                (key,) = re.findall(r"^([0-9a-f]{32}):", (place / "api-keys.txt").read_text(), re.M)
                event = {"type": "track", "event": "first", "plan": "pro"}
                answer = http.post("/v1/events", json=event, headers={"X-API-Key": key})
            assert answer.status_code == 202
            found = run("query", "SELECT event_name, payload->>'plan' AS plan FROM events", "--format", "csv")
        finally:
            process.terminate()
            assert process.wait(60) == 0, (place / "log").read_text()

    assert found.splitlines() == ["event_name,plan", "first,pro"]
    assert [path.name for path in (place / "parquet").rglob("*.parquet")] == ["events.parquet"]


# --- systemd ------------------------------------------------------------------------------------------------


def unit(name: str) -> dict[str, list[str]]:
    """Values by key, of all sections."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_agrees_with_the_service() -> None:
    service, listener = unit("parquet-sink.service"), unit("parquet-sink.socket")
    settings = load(None, {})

    assert listener["ListenStream"] == [str(settings.server.port)]
    assert int(listener["Backlog"][0]) == settings.server.backlog
    assert int(service["TimeoutStopSec"][0].removesuffix("s")) > 2 * settings.server.drain_timeout
    assert service["ExecStart"][0].split()[1:] == ["serve", "--config", "/etc/parquet-sink/parquet-sink.toml"]
    assert service["Type"] == ["notify"]


@pytest.mark.heavy
def test_systemd_takes_the_units_and_finds_them_hardened(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "this test needs Debian's package systemd"
    for name in ("parquet-sink.service", "parquet-sink.socket"):
        text = (DEPLOY / "systemd" / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/parquet-sink/bin/parquet-sink", sys.executable))
    paths = [str(tmp_path / name) for name in ("parquet-sink.service", "parquet-sink.socket")]
    verified = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", paths[0]],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")
    assert exposed.returncode == 0, exposed.stdout


# --- compose ------------------------------------------------------------------------------------------------


def test_the_compose_file_configures_what_the_service_knows(tmp_path: Path) -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
    service = compose["services"]["parquet-sink"]
    secrets = {f"/run/secrets/{name}": tmp_path / name for name in compose["secrets"]}
    for path in secrets.values():
        path.write_text(TOKEN + "\n")
    environment = {
        name: str(secrets.get(value, value)) if name.endswith("__FILE") else value
        for name, value in service["environment"].items()
    }
    settings = load(REPOSITORY / "docs" / "parquet-sink.container.toml", environment)

    assert settings.auth.admin_token is not None
    assert settings.auth.admin_token.get_secret_value() == TOKEN
    assert settings.sink.url is not None
    assert str(settings.auth.api_keys_file) in secrets
    assert settings.journal.path.is_relative_to(service["volumes"][0].partition(":")[2])
    assert int(service["stop_grace_period"].removesuffix("s")) > 2 * settings.server.drain_timeout
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert service["image"] == f"parquet-sink:{version}"


def test_every_image_of_the_compose_file_is_pinned_and_every_mount_exists() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).is_file(), source
            else:
                assert source in compose["volumes"]


# --- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_may_be_a_mounted_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    settings = load(None, {"PARQUET_SINK__AUTH__ADMIN_TOKEN__FILE": str(file)})

    assert settings.auth.admin_token is not None
    assert settings.auth.admin_token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PARQUET_SINK__AUTH__ADMIN_TOKEN": TOKEN}, "set only one of them"),
        ({}, "cannot be read: No such file or directory"),
    ],
)
def test_a_secret_that_is_not_to_be_had_is_said(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    wrong = {"PARQUET_SINK__AUTH__ADMIN_TOKEN__FILE": str(tmp_path / "missing"), **variables}

    with pytest.raises(ConfigurationError, match=said):
        load(None, wrong)
