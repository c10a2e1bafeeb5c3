"""Flush, status, health and readiness over a real socket."""

from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from app.api.admin_auth import AdminAuth
from app.api.answers import BufferLevel, Remembered, Status
from app.api.api_keys import ApiKeys
from app.api.error_responses import RequestIds, install_error_responses
from app.api.flush import flush_router
from app.api.health import health_router
from app.api.status import status_router
from app.commit.recent_refusals import RecentRefusals
from app.errors import OutcomeUnknown
from app.parquet.data_file import DataFile
from tests.api.data_files import data_file
from tests.api.serving import serving

TOKEN = "a-secret-of-sixteen-characters"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
KEY = {"x-api-key": bytes(range(16)).hex()}

STATUS = Status(
    rows=[],
    buffer=BufferLevel(rows=3, bytes=30),
    deduplication=Remembered(batches=0, messages=0),
    files=0,
    last_flush_ms=None,
    problem=None,
)


class Flushed(msgspec.Struct):
    flushed_rows: int
    files: list[DataFile]


class Running:
    """What the calls ask: answers can be set, questions are kept."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.flushes: list[int | None] = []
        self.flushing: Future[Flushed] = Future()

    def flush(self, workspace_id: int | None) -> Future[Flushed]:
        self.flushes.append(workspace_id)
        return self.flushing


@pytest.fixture
def running() -> Running:
    return Running()


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    ids = RequestIds()
    auth = AdminAuth(ApiKeys({bytes(range(16)): 7}), TOKEN, bound_to_loopback=True)
    app = FastAPI()
    install_error_responses(app, ids)
    app.include_router(flush_router(running.flush, lambda: None, auth.authorise, timeout_s=0.2))
    app.include_router(status_router(lambda: STATUS, auth.authorise_admin, RecentRefusals(), auth.authorise))
    app.include_router(health_router(lambda: running.reasons, ids))
    with serving(app) as client:
        yield client


def test_a_flush_answers_with_its_rows_and_files(client, running):
    running.flushing.set_result(Flushed(5, [data_file(rows=5)]))
    body = client.post("/flush", headers=ADMIN).json()
    assert body["flushed_rows"] == 5
    assert body["files"][0]["path"] == data_file().path
    assert {"path", "rows", "bytes"} <= set(body["files"][0])
    assert running.flushes == [None]


def test_a_flush_can_be_of_one_workspace_and_with_its_key_only_of_its_own(client, running):
    running.flushing.set_result(Flushed(0, []))
    client.post("/flush?workspace_id=3", headers=ADMIN)
    client.post("/flush", headers=KEY)
    client.post("/flush?workspace_id=7", headers=KEY)
    assert client.post("/flush?workspace_id=3", headers=KEY).status_code == 403
    assert client.post("/flush").status_code == 401
    assert client.post("/flush?workspace_id=x", headers=ADMIN).status_code == 400
    assert running.flushes == [3, 7, 7]


def test_a_flush_that_takes_too_long_is_503_and_goes_on(client, running):
    response = client.post("/flush", headers=ADMIN)
    assert response.status_code == 503
    assert response.json()["error"] == "flush_timeout"
    assert int(response.headers["retry-after"]) > 0
    assert not running.flushing.cancelled()
    try:
        running.flushing.set_result(Flushed(1, []))
    except InvalidStateError:
        pytest.fail("the writer's future was touched")
    assert client.post("/flush", headers=ADMIN).json()["flushed_rows"] == 1


def test_a_flush_that_fails_says_so(client, running):
    running.flushing.set_exception(OutcomeUnknown("the disk failed"))
    response = client.post("/flush", headers=ADMIN)
    assert response.status_code == 503
    assert response.json()["message"] == "the disk failed"


def test_a_flush_is_not_a_get(client):
    assert client.get("/flush", headers=ADMIN).status_code == 405


def test_status_is_for_the_admin_alone(client):
    assert client.get("/status", headers=ADMIN).json() == STATUS.model_dump(exclude_unset=True)
    assert client.get("/status", headers=KEY).status_code == 403
    assert client.get("/status").status_code == 401


def test_health_is_up_also_when_not_ready(client, running):
    running.reasons = ["disk full"]
    assert client.get("/health").json() == {"status": "up"}


def test_ready_follows_the_reasons(client, running):
    assert client.get("/ready").json() == {"ready": True}
    running.reasons = ["starting", "disk full"]
    response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert response.json()["reason"] == "starting; disk full"
    running.reasons = []
    assert client.get("/ready").status_code == 200
