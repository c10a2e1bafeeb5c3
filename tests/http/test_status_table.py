"""Each answer that the SDKs act upon, from the real service over a socket (wire-format.md, section 4)."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.payloads import ROW_OF, event, json_lines, numbers
from tests.support.service import KEYS, Service, running_service

CONFIG = {"server": {"max_body_size": "64KB", "max_rows_per_request": 200}}
BACKENDS = (
    "directory",
    "bucket",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("kafka", "tables", "workers")),
)
REQUEST_ID = re.compile(r"^[0-9A-Za-z_-]{8,64}$")


def problem(response: httpx.Response) -> dict[str, object]:
    """The answer's error, after checking that it has the form every error has."""
    body = response.json()
    assert set(body) >= {"error", "message", "request_id"}, body
    assert re.fullmatch(r"[a-z0-9_]+", body["error"]), body
    assert len(body["message"]) > 10, body
    assert REQUEST_ID.match(body["request_id"]), body
    return dict(body)


@pytest.mark.parametrize("call", ["events", "logs", "snapshots"])
def test_202_names_the_accepted_rows(service: Service, call: str) -> None:
    response = service.post(call, json.dumps([ROW_OF[call](1), ROW_OF[call](2)]))

    assert response.status_code == 202
    body = response.json()
    assert body["accepted"] == 2
    assert REQUEST_ID.match(body["request_id"])


@pytest.mark.parametrize("call", ["events", "logs", "snapshots"])
def test_207_names_each_refused_line(service: Service, call: str) -> None:
    row = ROW_OF[call]
    body = json_lines([row(1)]) + b"\n" + b"{not json\n" + json_lines([row(3)]) + b'{"a": 1}\n'

    response = service.post(call, body, content_type="application/x-ndjson")

    assert response.status_code == 207, response.text
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [error["line"] for error in answer["errors"]] == [3, 5], "lines count from 1, blank ones too"
    assert all(error["error"] for error in answer["errors"])
    assert REQUEST_ID.match(answer["request_id"])


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("events", b"{not json"),
        ("events", b""),
        ("events", b"\n\n\n"),
        ("events", b"17"),
        ("events", b'"text"'),
        ("events", b"[1, 2]"),
        ("events", b'[{"type": "track"}'),
        ("events", b'{"type": "launch", "device_id": "550e8400e29b41d4a716446655440000"}'),
        ("logs", b'{"level": "error"}'),
        ("snapshots", b'{"source": "github"}'),
        ("ingest", b""),
        ("ingest", b"\x04\x00\x00\x00"),
        ("ingest", b"\xff" * 64),
        ("ingest", b'{"type": "track"}'),
    ],
)
def test_400_when_nothing_can_be_taken(service: Service, call: str, body: bytes) -> None:
    response = service.post(call, body)

    assert response.status_code == 400, response.text
    problem(response)


def test_400_names_row_and_field(service: Service) -> None:
    response = service.post("events", json.dumps([event(1, timestamp="yesterday")]))

    assert response.status_code == 400
    message = str(problem(response)["message"])
    assert "1" in message
    assert "timestamp" in message


@pytest.mark.parametrize("call", ["ingest", "events", "logs", "snapshots"])
def test_401_without_a_key(service: Service, call: str) -> None:
    response = service.http.post(f"/v1/{call}", content=b"{}", headers={"Content-Type": "application/json"})

    assert response.status_code == 401
    problem(response)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer 99999999999999999999999999999999",
        "Bearer too-short",
        "Bearer",
        "Basic !!!",
        "Digest abc",
        f"Bearer {KEYS[1]}00",
    ],
)
def test_401_or_403_with_a_key_that_is_unknown(service: Service, authorization: str) -> None:
    response = service.post("events", b"{}", headers={"Authorization": authorization})

    assert response.status_code in (401, 403)
    problem(response)


def test_403_when_the_batch_holds_another_key(service: Service) -> None:
    vector = Path(__file__).resolve().parents[1] / "vectors" / "events-service.fbs"

    response = service.post("ingest", vector.read_bytes(), workspace=2)

    assert response.status_code == 403
    problem(response)
    service.flush()
    assert service.data_files("events", 2) == []


@pytest.mark.parametrize("call", ["ingest", "events"])
def test_413_when_the_body_is_too_large(service: Service, call: str) -> None:
    response = service.post(call, b" " * 65_537)

    assert response.status_code == 413
    assert "64" in str(problem(response)["message"]), "the message names the limit"


def test_413_when_a_body_without_a_length_grows_too_large(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    response = service.http.post(
        "/v1/events",
        content=chunks(),
        headers={"X-API-Key": KEYS[1], "Content-Type": "application/json"},
    )

    assert response.status_code == 413
    problem(response)


def test_413_when_there_are_too_many_rows(service: Service) -> None:
    lines = b'{"message":"x"}\n'

    assert service.post("logs", lines * 200).status_code == 202
    response = service.post("logs", lines * 201)

    assert response.status_code == 413, response.text
    assert "200" in str(problem(response)["message"]), "the message names the limit"


@pytest.mark.parametrize(
    ("call", "content_type"),
    [
        ("ingest", "application/json"),
        ("ingest", "text/html"),
        ("events", "application/x-flatbuffers"),
        ("events", "application/xml"),
        ("events", "multipart/form-data; boundary=x"),
        ("logs", "image/png"),
    ],
)
def test_415_for_another_content_type(service: Service, call: str, content_type: str) -> None:
    response = service.post(call, b"{}", content_type=content_type)

    assert response.status_code == 415, response.text
    problem(response)


@pytest.mark.parametrize("encoding", ["compress", "rot13", "gzip, gzip, gzip, gzip, gzip, gzip"])
def test_415_for_an_unknown_content_encoding(service: Service, encoding: str) -> None:
    response = service.post("events", b"{}", headers={"Content-Encoding": encoding})

    assert response.status_code == 415, response.text
    problem(response)


def test_404_and_405_have_the_same_form(service: Service) -> None:
    missing = service.admin("GET", "/v1/nothing")
    wrong_method = service.admin("DELETE", "/v1/events")

    assert missing.status_code == 404
    problem(missing)
    assert wrong_method.status_code == 405
    problem(wrong_method)


@pytest.mark.parametrize("wait", ["", "disk", "file,journal"])
def test_400_for_an_unknown_wait(service: Service, wait: str) -> None:
    response = service.post("events", json.dumps(event(1)), params={"wait": wait})

    assert response.status_code == 400, response.text
    assert "journal" in str(problem(response)["message"]), "the message names what is allowed"


@pytest.fixture(scope="module")
def tight_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A journal so small that batches meet backpressure: nothing is flushed before it is full."""
    config = {
        "journal": {"max_size": "256KB", "segment_size": "64KB"},
        "sinks.parquet": {"flush_interval": "3600s"},
    }
    with running_service(tmp_path_factory.mktemp("tight"), config) as service:
        yield service


def post_until_refused(service: Service, first: int) -> tuple[int, httpx.Response]:
    """Posts 4 KB batches numbered from `first` on; how many were taken, and the refusal."""
    for number in range(first, first + 2_000):
        response = service.post("events", json.dumps([event(number, noise=noise(number))]))
        if response.status_code != 202:
            return number - first, response
    raise AssertionError("a journal of 256 KB took 2,000 batches of 4 KB")


def post_until_taken(service: Service, number: int) -> None:
    """Sends one batch again and again, as a client does that was told to."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        response = service.post("events", json.dumps([event(number)]))
        if response.status_code == 202:
            return
        assert response.status_code in (429, 503, 507), response.text
    raise AssertionError(f"still refused: {response.text}")


def test_backpressure_says_when_to_come_again_and_a_flush_ends_it(tight_service: Service) -> None:
    accepted, refused = post_until_refused(tight_service, 0)

    assert refused.status_code in (429, 503, 507)
    assert int(refused.headers["Retry-After"]) >= 1
    problem(refused)
    tight_service.flush()
    post_until_taken(tight_service, accepted)
    tight_service.flush()
    assert numbers(tight_service.table()) == list(range(accepted + 1)), "what was refused is not stored"


def test_a_full_journal_is_emptied_without_being_asked(tight_service: Service) -> None:
    """Otherwise clients would be refused until the flush interval has passed: here, an hour."""
    first = tight_service.table().num_rows
    accepted, _ = post_until_refused(tight_service, first)

    post_until_taken(tight_service, first + accepted)


def noise(number: int) -> str:
    """4,000 characters that do not compress."""
    return "".join(f"{(number * 7_919 + i) * 2_654_435_761 % 2**32:08x}" for i in range(500))
