"""Every error has one form; statuses, headers and bodies of all answers."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, Query

from app import errors
from app.api.admin_auth import AdminUnauthenticated
from app.api.body import BodyTimeout
from app.api.error_responses import (
    STATUS_BY_ERROR,
    RequestIds,
    error_response,
    install_error_responses,
    receipt_response,
)
from app.kinds import Kind
from app.submission import Receipt, RowRefusal
from tests.api.serving import serving

REFUSALS = [RowRefusal(2, "device_id", "is not a UUID"), RowRefusal(5, "", "is not a JSON object")]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = FastAPI()
    install_error_responses(app, RequestIds())

    @app.get("/busy")
    async def busy() -> None:
        raise errors.Overloaded("full", retry_after_s=7)

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("secret detail")

    @app.get("/number")
    async def number(limit: int = Query(le=10)) -> int:
        return limit

    with serving(app) as client:
        yield client


def all_errors() -> Iterator[type[errors.RequestError]]:
    waiting = [errors.RequestError]
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(found.__subclasses__())


def test_every_error_has_a_status():
    for error in all_errors():
        if error is not errors.Refused:
            assert any(cls in STATUS_BY_ERROR for cls in error.__mro__[:2]), error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.MalformedBatch("m"), 400, "malformed_batch"),
        (errors.RequestError("m", code="invalid_parameter"), 400, "invalid_parameter"),
        (errors.Unauthenticated("m"), 401, "unauthenticated"),
        (AdminUnauthenticated("m"), 401, "unauthenticated"),
        (errors.Forbidden("m"), 403, "forbidden"),
        (errors.NotFound("m"), 404, "not_found"),
        (BodyTimeout("m"), 408, "request_timeout"),
        (errors.BatchIdReused("m"), 409, "batch_id_reused"),
        (errors.BodyTooLarge("m"), 413, "too_large"),
        (errors.UnsupportedMedia("m"), 415, "unsupported_media_type"),
        (errors.WorkspaceOverShare("m", retry_after_s=3), 429, "workspace_over_share"),
        (errors.Overloaded("m", retry_after_s=3), 503, "overloaded"),
        (errors.OutcomeUnknown("m"), 503, "outcome_unknown"),
        (errors.DiskFull("m", retry_after_s=3), 507, "disk_full"),
        (errors.DecoderFailed("m"), 500, "internal_error"),
    ],
)
def test_an_error_becomes_its_status_with_code_message_and_request_id(error, status, code):
    answer = error_response(error, "r-1")
    assert answer.status == status
    assert json.loads(answer.body) == {"error": code, "code": code, "message": "m", "request_id": "r-1"}
    headers = dict(answer.headers)
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"x-request-id"] == b"r-1"
    assert (headers.get(b"retry-after") == b"3") == isinstance(error, errors.Refused)
    assert (b"retry-after" in headers) == (status in (429, 503, 507))


def test_only_admin_calls_make_a_browser_ask_for_a_password():
    def challenges(error: errors.Unauthenticated) -> list[bytes]:
        return [v.split()[0] for n, v in error_response(error, "r").headers if n == b"www-authenticate"]

    assert challenges(errors.Unauthenticated("m")) == [b"Bearer"]
    assert challenges(AdminUnauthenticated("m")) == [b"Bearer", b"Basic"]


@pytest.mark.parametrize(
    ("receipt", "status", "body"),
    [
        (Receipt(Kind.EVENTS, 3), 202, {"accepted": 3, "request_id": "r"}),
        (Receipt(Kind.LOGS, 0), 202, {"accepted": 0, "request_id": "r"}),
        (
            Receipt(Kind.EVENTS, 3, duplicate=True),
            202,
            {"accepted": 3, "request_id": "r", "duplicate": True},
        ),
        (
            Receipt(Kind.EVENTS, 1, 3, REFUSALS),
            207,
            {
                "accepted": 1,
                "rejected": 3,
                "errors": [
                    {"line": 2, "error": "device_id: is not a UUID"},
                    {"line": 5, "error": "is not a JSON object"},
                ],
                "request_id": "r",
            },
        ),
    ],
)
def test_a_receipt_becomes_its_answer(receipt, status, body):
    answer = receipt_response(receipt, "r")
    assert (answer.status, json.loads(answer.body)) == (status, body)


def test_when_no_row_was_taken_the_message_names_the_first_row_and_its_field():
    answer = receipt_response(Receipt(Kind.EVENTS, 0, 2, REFUSALS), "r")
    body = json.loads(answer.body)
    assert (answer.status, body["error"]) == (400, "rows_refused")
    assert "row 2: device_id: is not a UUID" in body["message"]
    assert len(body["errors"]) == 2


def test_the_answer_to_a_wait_for_the_file_says_whether_it_is_published():
    for published in (True, False):
        answer = receipt_response(Receipt(Kind.EVENTS, 1), "r", published=published)
        assert json.loads(answer.body)["published"] is published


def test_a_refusal_of_overload_says_when_to_come_back(client):
    response = client.get("/busy")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert_form(response, "overloaded")


def test_an_unknown_path_and_a_wrong_method_have_the_same_form(client):
    assert_form(client.get("/nothing"), "not_found")
    response = client.post("/busy")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"
    assert_form(response, "method_not_allowed")


@pytest.mark.parametrize("value", ["many", "11", ""])
def test_a_wrong_parameter_is_named(client, value):
    response = client.get("/number", params={"limit": value})
    assert response.status_code == 400
    assert_form(response, "invalid_parameter")
    assert "query parameter `limit`" in response.json()["message"]


def test_a_bug_is_500_without_details_and_logged_once_with_its_traceback(client, caplog):
    with caplog.at_level(logging.ERROR):
        response = client.get("/bug", headers={"x-request-id": "the-bug"})
    assert response.status_code == 500
    assert_form(response, "internal_error")
    assert "secret detail" not in response.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.request_id == "the-bug"


def test_requests_get_ids_of_their_own_or_keep_a_sane_one(client):
    first, second = (client.get("/nothing").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert len(first) == 16
    kept = client.get("/nothing", headers={"x-request-id": "trace-7:a/b"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "trace-7:a/b"
    for odd in ('quo"te', "x" * 65, "a b", "", "\u00e9"):
        answer = client.get("/nothing", headers=[(b"x-request-id", odd.encode())])
        assert answer.headers["x-request-id"] not in (odd, "")


def test_answers_that_went_well_carry_the_id_too(client):
    assert client.get("/number", params={"limit": 1}).headers["x-request-id"]


def assert_form(response: httpx.Response, code: str) -> None:
    body = response.json()
    assert set(body) == {"error", "code", "message", "request_id"}
    assert body["error"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
