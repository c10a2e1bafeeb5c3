"""POST /forget and `parquet-sink forget`: no byte of the rows is left below the service's directories."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.payloads import event, log_line, numbers
from tests.support.service import ADMIN_TOKEN, KEYS, REPOSITORY, Service, running_service

PLAIN = {"sinks.parquet": {"compression": "uncompressed"}}
"""So that a text in a payload is one in the files."""

ONE, TWO = uuid.UUID(int=0x11111111_2222_4333_8444_555555555555), uuid.UUID(int=7)


def secret(who: str) -> str:
    return f"what {who} has said to nobody else"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("forget"), PLAIN) as service:
        yield service


def fill(service: Service, who: uuid.UUID, workspace: int, first: int) -> None:
    """Rows of somebody and of others: in files that grow, and in the journal alone."""
    for turn in range(3):
        rows = [
            event(
                first + 10 * turn + each,
                device_id=str(who if each == 3 else uuid.UUID(int=1000 + first + each)),
                user_id=f"user-{who.int % 1000}" if each == 3 else "another",
                properties={
                    "number": first + 10 * turn + each,
                    "text": secret(str(who)) if each == 3 else "",
                },
            )
            for each in range(10)
        ]
        service.post_json("events", rows, workspace=workspace)
        if turn < 2:
            service.flush()
    service.post_json("logs", [log_line(first)], workspace=workspace)


def traces(service: Service, who: uuid.UUID) -> list[str]:
    looked_for = [who.bytes, secret(str(who)).encode()]
    return [
        str(path.relative_to(service.directory))
        for place in (service.parquet, service.journal)
        for path in place.rglob("*")
        if path.is_file() and any(each in path.read_bytes() for each in looked_for)
    ]


def account(service: Service, workspace: int) -> dict[str, int]:
    (line,) = [
        row for row in service.status()["rows"] if (row["workspace_id"], row["kind"]) == (workspace, "events")
    ]
    return line


def command(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments, "--url", service.base_url, "--token", ADMIN_TOKEN],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_left_of_a_device(service: Service) -> None:
    fill(service, ONE, 1, 0)
    usage = service.admin("GET", "/usage").json()
    assert traces(service, ONE)
    answer = service.admin("POST", "/forget", json={"device": str(ONE), "now": True})
    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    assert (receipt["complete"], receipt["rows"], receipt["left"]) == (True, 3, [])
    assert all(file["are_zeros"] for file in receipt["files"])
    assert str(ONE) not in answer.text, "a receipt does not bring it back"
    assert json.loads((service.journal / receipt["receipt"]).read_bytes()) == receipt
    assert traces(service, ONE) == []
    left = numbers(service.table(workspace=1))
    assert sorted(left) == [number for number in range(30) if number % 10 != 3]
    assert account(service, 1) == {
        "workspace_id": 1,
        "kind": "events",
        "accepted": 30,
        "published": 27,
        "buffered": 0,
        "quarantined": 0,
        "removed": 3,
    }
    assert service.admin("GET", "/usage").json() == usage
    again = service.admin("POST", "/forget", json={"device": str(ONE)}).json()
    assert (again["rows"], again["files"], again["complete"]) == (0, [], True)


def test_a_user_of_one_workspace_by_the_command(service: Service) -> None:
    fill(service, TWO, 2, 100)
    fill(service, TWO, 3, 200)
    done = command(service, "forget", "--user", "user-7", "--workspace", "2", "--now")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rows removed" in done.stdout
    assert (account(service, 2)["removed"], account(service, 3)["removed"]) == (3, 0)
    assert all(trace.startswith("parquet/3/") for trace in traces(service, TWO))
    done = command(service, "forget", "--where", f"$.text={secret(str(TWO))}", "--now", "--json")
    assert json.loads(done.stdout)["rows"] == 3
    assert traces(service, TWO) == []


def test_a_restart_knows_it(tmp_path: Path) -> None:
    with running_service(tmp_path, PLAIN | {"sinks.parquet.final": {"grace": "2s"}}) as service:
        fill(service, ONE, 1, 0)
        assert traces(service, ONE)
        receipt = service.admin("POST", "/forget", json={"device": str(ONE)}).json()
        assert (receipt["rows"], receipt["complete"]) == (3, True)
        service.kill9()
        service.start()
        service.wait_until(lambda: traces(service, ONE) == [], 30)
        assert account(service, 1)["removed"] == 3
        assert service.status()["lost_files"] == []
        assert len(numbers(service.table(workspace=1))) == 27


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"{}", "name the rows by"),
        (b"[1]", "`body`"),
        (b'{"divice": "x"}', "`divice`"),
        (b'{"device": 7}', "`device`"),
        (b'{"where": {"colour": "red"}}', '"colour" must be one of'),
        (b'{"where": {"timestamp": "noon"}}', "must be a number"),
        (b'{"workspace_id": 1}', "name the rows by"),
        (b'{"device": "x", "workspace_id": -1}', "`workspace_id`"),
    ],
)
def test_what_cannot_be_meant_is_refused(service: Service, body: bytes, said: str) -> None:
    answer = service.admin("POST", "/forget", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert said in answer.json()["message"]


def test_a_body_without_end_and_a_workspaces_key_are_refused(service: Service) -> None:
    assert service.admin("POST", "/forget", content=b" " * (65 << 10)).status_code == 413
    key = {"Authorization": f"Bearer {KEYS[1]}"}
    assert service.http.post("/forget", content=b'{"device": "x"}', headers=key).status_code == 403
