"""The real packages against the real service, which answers 503 twice and is restarted while they send."""

import subprocess
from collections import Counter
from typing import Final

import pytest

from tests.clients.test_captures import rows_of
from tests.clients.unsteady_proxy import unsteady_proxy
from tests.support.service import KEYS, REPOSITORY, Service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

PYTHON: Final = (
    str(REPOSITORY / ".venv-clients" / "bin" / "python"),
    "-m",
    "tests.clients.send_with_package",
)
NODE: Final = ("node", str(REPOSITORY / ".npm-clients" / "send_with_package.js"))
COUNT: Final = 1_000
ODD_TEXT: Final = 'Zürich ✓ 🎉 "q" \\ \n שלום'

HALF: Final = "cut \ufffd"
"""What is stored of a text that ends within an emoji."""

PATIENT: Final = (
    *("segment", "rudder", "posthog", "opentelemetry", "splunk", "amplitude"),
    *("segment in Node", "posthog in Node", "opentelemetry in Node"),
)
"""Packages that send again for longer than a restart takes."""

HASTY: Final = ("rudder in Node",)
"""Packages that give up sooner than a restart may take on a busy machine: their requests wait for it."""

NEVER_AGAIN: Final = ("loki", "mixpanel")
"""Packages that send nothing a second time; mixpanel does so over TLS alone."""

EVENTS: Final = ("segment", "rudder", "posthog", "amplitude", "mixpanel")


def command(package: str) -> tuple[str, ...]:
    name, _, place = package.partition(" in ")
    return (*(NODE if place == "Node" else PYTHON), name)


@pytest.mark.parametrize("package", [*PATIENT, *HASTY, *NEVER_AGAIN, "elasticsearch"])
def test_all_records_of_a_package_are_stored_once(own_service: Service, package: str) -> None:
    refusals = 0 if package in NEVER_AGAIN else 2
    with unsteady_proxy(own_service.port, refusals, waits=package in HASTY) as proxy:
        sender = subprocess.Popen(
            [*command(package), proxy.url, KEYS[1], str(COUNT)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if package in (*PATIENT, *HASTY):
            assert proxy.wait_until_served(1, 60), sender.communicate()
            own_service.restart()
        said, _ = sender.communicate(timeout=240)
    assert sender.returncode == 0, said

    events = package.split()[0] in EVENTS
    rows = rows_of(own_service, 1, "events" if events else "logs")
    names = [row["event_name"] if events else row["payload"]["message"] for row in rows]
    found = Counter(names)
    assert found == Counter(f"record {number}" for number in range(COUNT)), said[-2000:]
    if events:
        assert {row["payload"]["text"] for row in rows} == {ODD_TEXT}
        assert {str(row["payload"]["deep"]) for row in rows} == {"{'a': [1, {'b': None}]}"}
        assert len({row["device_id"] for row in rows}) == COUNT
    elif package != "elasticsearch":
        assert {row["level"] for row in rows} <= {"warning", "info"}
    if package.endswith("in Node"):
        assert {(row["payload"] if events else row["payload"]["attributes"])["half"] for row in rows} == {
            HALF
        }
