"""What can be known of the container image without an engine that builds it."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

from app.settings.settings import load

REPOSITORY: Final = Path(__file__).resolve().parents[1]
CONFIGURATION: Final = REPOSITORY / "docs" / "parquet-sink.container.toml"


def instructions(stage: int) -> list[tuple[str, str]]:
    """Name and arguments of each instruction of a stage, continued lines joined."""
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    joined = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages = re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)[1:]
    lines = [line for line in stages[stage].splitlines() if line.strip()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines]


def of(stage: int, name: str) -> list[str]:
    return [arguments for found, arguments in instructions(stage) if found == name]


def copied(stage: int) -> list[str]:
    """What a stage takes from the repository."""
    return [
        source
        for arguments in of(stage, "COPY")
        if not arguments.startswith("--from")
        for source in shlex.split(arguments)[:-1]
    ]


def test_what_is_copied_exists_and_is_sent_to_the_engine() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    sent = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]

    for source in copied(0) + copied(1):
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in sent), source
    assert sorted(sent) == sorted(copied(0) + copied(1))


def test_the_configuration_of_the_image_is_valid_and_fits_it() -> None:
    settings = load(CONFIGURATION, {})

    (volumes,) = of(1, "VOLUME")
    for path in (settings.journal.path, settings.sink.path):
        assert f'"{path.parent}"' in volumes
    assert of(1, "EXPOSE") == [str(settings.server.port)]
    assert f"127.0.0.1:{settings.server.port}/health" in of(1, "HEALTHCHECK")[0]
    assert not settings.server.on_loopback


def test_the_image_runs_as_nobody_in_particular_and_stops_in_order() -> None:
    names = [name for name, _ in instructions(1)]

    assert of(1, "USER") == ["parquet-sink"]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name == "RUN")
    assert of(1, "STOPSIGNAL") == ["SIGTERM"]
    assert of(1, "ENTRYPOINT") == ['["parquet-sink"]']
    assert of(1, "CMD") == ['["serve"]']


def test_the_package_is_built_from_what_is_copied(tmp_path: Path) -> None:
    """The build step of the image, by this environment's pip, on the copied files alone."""
    for source in copied(0):
        path = REPOSITORY / source
        ignored = shutil.ignore_patterns("__pycache__")
        if path.is_dir():
            shutil.copytree(path, tmp_path / source, ignore=ignored)
        else:
            shutil.copy(path, tmp_path)
    (build,) = [arguments for arguments in of(0, "RUN") if "pip wheel" in arguments]
    command = re.search(r"pip (wheel .*?) &&", build)
    assert command
    subprocess.run(
        [sys.executable, "-m", "pip", *shlex.split(command[1]), "--no-index"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {str(path.relative_to(tmp_path)) for path in (tmp_path / "app").rglob("*.py")}
    assert expected <= names
    assert not {name for name in names if name.startswith("tests")}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_what_is_installed_is_pinned_by_hash(lock: str) -> None:
    text = (REPOSITORY / lock).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    assert lines
    for line in lines:
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_every_dependency_is_in_the_lock() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (REPOSITORY / "requirements.lock").read_text("utf-8"), re.M))

    assert {re.split(r"[ ;<>=]", dependency)[0] for dependency in project["dependencies"]} <= locked
