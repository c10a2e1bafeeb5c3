"""`parquet-sink keys`: what it changes in a key file, and that a running service follows."""

import re
from pathlib import Path

import httpx
import pytest

from app.cli import main
from tests.support.payloads import event
from tests.support.service import Service, running

LINES = "# ours\n000102030405060708090A0B0C0D0E0F:1:web # the site\n\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(LINES)
    return path


def keys(file: Path, *arguments: str) -> int:
    return main(["keys", *arguments, "--file", str(file)])


def test_a_key_is_added_and_the_rest_stays_as_it_is(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(file, "add", "--workspace", "7", "--name", "agents") == 0
    key = capsys.readouterr().out.strip()
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert file.read_text() == f"{LINES}{key}:7:agents\n"
    assert keys(file, "list") == 0
    listed = capsys.readouterr().out
    assert "workspace 7  agents" in listed
    assert key not in listed, "a listing may be shown to others"


def test_two_keys_count_until_the_old_one_is_revoked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(file, "rotate", "00010203") == 0
    new = capsys.readouterr().out.strip()
    assert file.read_text() == f"{LINES}{new}:1:web\n"
    assert keys(file, "revoke", "00010203") == 0
    assert file.read_text() == f"# ours\n\n{new}:1:web\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "ff"], "no key in"),
        (["rotate", "ff"], "no key in"),
        (["add", "--workspace", "1", "--name", "a:b"], "must not contain a colon"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    file: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(file, *arguments) == 1
    assert said in capsys.readouterr().err
    assert file.read_text() == LINES


def test_a_running_service_takes_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(Service(tmp_path)) as service:
        assert keys(tmp_path / "api-keys.txt", "add", "--workspace", "9") == 0
        headers = {"X-API-Key": capsys.readouterr().out.strip(), "Content-Type": "application/json"}

        def status() -> int:
            return httpx.post(f"{service.base_url}/v1/events", json=[event(1)], headers=headers).status_code

        service.wait_until(lambda: status() == 202, 10)
