"""507: the disk has less free space than it must keep."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.payloads import event
from tests.support.service import START_SECONDS_MAX, Service

MORE_THAN_ANY_DISK = "900000TB"


@pytest.fixture
def full_service(tmp_path: Path) -> Iterator[Service]:
    """A service for which every disk is too full; it is up, and not ready."""
    limits = {"min_free_space": MORE_THAN_ANY_DISK, "resume_free_space": MORE_THAN_ANY_DISK}
    with Service(tmp_path, {"journal": limits}) as service:
        service.launch()
        service.wait_until(lambda: "ready: " in service.stderr, START_SECONDS_MAX)
        yield service
        assert service.terminate() == 0, service.stderr


def test_a_full_disk_is_said_with_when_to_come_again(full_service: Service) -> None:
    for call, body in (("events", json.dumps(event(1)).encode()), ("ingest", b"\xff" * 100)):
        response = full_service.post(call, body)
        assert response.status_code == 507, response.text
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["error"] == "disk_full"


def test_a_full_disk_is_the_reason_why_it_is_not_ready(full_service: Service) -> None:
    ready = httpx.get(f"{full_service.base_url}/ready")

    assert ready.status_code == 503
    assert "disk" in ready.json()["reason"].lower() or "space" in ready.json()["reason"].lower()
    assert httpx.get(f"{full_service.base_url}/health").status_code == 200
    assert full_service.flush()["flushed_rows"] == 0, "flushing goes on, since it frees the journal"
