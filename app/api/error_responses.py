"""Answers to clients, and the only place that maps errors to status codes.

Every error is `{"error": code, "code": the same, "message": what to do, "request_id"}`: some clients' error
paths look for `code`. The answers are plain
(status, headers, body), so that an ASGI endpoint and a connection protocol can both send them.
"""

import itertools
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.api.admin_auth import AdminUnauthenticated
from app.api.body import BodyTimeout, ClientDisconnected
from app.api.headers import RawHeaders
from app.api.pages.errors import error_page, wants_page
from app.submission import Receipt, RowRefusal

STATUS_BY_ERROR: Final[Mapping[type[errors.RequestError], int]] = MappingProxyType(
    {
        errors.RequestError: 400,
        errors.MalformedBatch: 400,
        errors.Unauthenticated: 401,
        errors.Forbidden: 403,
        errors.NotFound: 404,
        BodyTimeout: 408,
        errors.BatchIdReused: 409,
        errors.BodyTooLarge: 413,
        errors.UnsupportedMedia: 415,
        errors.QueryLimit: 422,
        errors.WorkspaceOverShare: 429,
        errors.DecoderFailed: 500,
        errors.Overloaded: 503,
        errors.OutcomeUnknown: 503,
        errors.DiskFull: 507,
    }
)

CODE_BY_STATUS: Final = MappingProxyType(
    {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 416: "range_not_satisfiable"}
)
"""Codes for requests that the routing itself refuses; other statuses are `http_<status>`."""

REFUSED_HEADS: Final = MappingProxyType(
    {
        400: ("bad_request", "This is not a valid HTTP request; check the client."),
        408: ("request_timeout", "The request did not arrive in time; send it again."),
        414: ("uri_too_long", "The URL is longer than allowed; send long values in the body."),
        431: (
            "headers_too_large",
            "Request line and headers are larger than allowed; send fewer or shorter headers.",
        ),
        501: ("not_implemented", "The only supported transfer coding is `chunked`."),
        505: ("http_version_not_supported", "Send HTTP/1.1 or HTTP/1.0."),
    }
)
"""Code and message for a request whose head could not be read, by status."""

OUTCOME_RETRY_AFTER_S: Final = 5
"""After a disk failed or stalled: long enough for another process to have taken over."""

CLIENT_LEFT: Final = 499
"""The status recorded for a request whose client disconnected before it was sent completely."""

REQUEST_ID_HEADER: Final = b"x-request-id"
_REQUEST_ID_KEY: Final = "parquet_sink.request_id"
WORKSPACE_KEY: Final = "parquet_sink.workspace_id"
"""The key in the scope of a request, set once its API key has been read."""

_SANE_REQUEST_ID: Final = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,64}", re.ASCII)

_log = logging.getLogger(__name__)


class HttpAnswer(NamedTuple):
    """A complete response. headers: names in lower case, including content-length."""

    status: int
    headers: RawHeaders
    body: bytes


class RequestIds:
    """Makes request ids: the client's X-Request-ID if it is valid, else 16 hex digits."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def of(self, headers: RawHeaders) -> str:
        for name, value in headers:
            if name == REQUEST_ID_HEADER and _SANE_REQUEST_ID.fullmatch(value):
                return value.decode("ascii")
        return f"{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"


def request_id_of(scope: Scope, ids: RequestIds) -> str:
    """The id of a request: assigned at the first call, and then the same."""
    known: str | None = scope.get(_REQUEST_ID_KEY)
    if known is None:
        known = scope[_REQUEST_ID_KEY] = ids.of(scope["headers"])
    return known


def fields_of(request_id: str, scope: Scope | None) -> dict[str, object]:
    """The `extra` of a log line: the request that it is about."""
    return {"request_id": request_id, "workspace_id": scope.get(WORKSPACE_KEY) if scope else None}


def json_answer(
    status: int, content: object, request_id: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> HttpAnswer:
    body = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
    return HttpAnswer(
        status,
        [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (REQUEST_ID_HEADER, request_id.encode("ascii")),
            *headers,
        ],
        body,
    )


def _error_content(code: str, message: str, request_id: str, **more: object) -> dict[str, object]:
    return {"error": code, "code": code, "message": message, **more, "request_id": request_id}


def methods_answer(request_id: str) -> HttpAnswer:
    """The answer to HEAD, and to OPTIONS that is not a preflight, on an ingest call: it exists."""
    headers = [(b"allow", b"POST, HEAD, OPTIONS"), (b"content-length", b"0")]
    return HttpAnswer(200, [*headers, (REQUEST_ID_HEADER, request_id.encode("ascii"))], b"")


def rows_refused_response(rejected: int, refusals: Sequence[RowRefusal], request_id: str) -> HttpAnswer:
    """400: no row could be accepted. The message names the first refused row and its field."""
    message = "No row could be taken"
    if refusals:
        message += f"; the first refused is row {refusals[0].row}: {refusals[0]}"
    content = _error_content(
        "rows_refused", message, request_id, rejected=rejected, errors=_reported(refusals)
    )
    return json_answer(400, content, request_id)


def receipt_response(
    receipt: Receipt, request_id: str, *, published: bool | None = None, only_200: bool = False
) -> HttpAnswer:
    """202, 207 or 400, depending on how many rows were accepted and refused.

    published: for `?wait=file`, whether the rows are in published files already; the answer then says so.
    only_200: 200 instead of 202 and 207, for clients that treat these as errors.
    """
    status = receipt_status(receipt.accepted, receipt.rejected)
    if status == 400:
        return rows_refused_response(receipt.rejected, receipt.refusals, request_id)
    content: dict[str, object] = {"accepted": receipt.accepted}
    if receipt.rejected:
        content["rejected"] = receipt.rejected
        content["errors"] = _reported(receipt.refusals)
    if receipt.duplicate:
        content["duplicate"] = True
    if published is not None:
        content["published"] = published
    content["request_id"] = request_id
    return json_answer(200 if only_200 else status, content, request_id)


def receipt_status(accepted: int, rejected: int) -> int:
    """202 if all rows were accepted, 207 for some, 400 for none."""
    if not rejected:
        return 202
    return 207 if accepted else 400


def error_response(error: errors.RequestError, request_id: str) -> HttpAnswer:
    """The answer to a refused request."""
    headers: RawHeaders = []
    if isinstance(error, errors.Refused):
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    elif isinstance(error, errors.OutcomeUnknown):
        headers.append((b"retry-after", b"%d" % OUTCOME_RETRY_AFTER_S))
    elif isinstance(error, errors.Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="parquet-sink"'))
        if isinstance(error, AdminUnauthenticated):
            # Makes a browser ask its user; not wanted on a page that sends events.
            headers.append((b"www-authenticate", b'Basic realm="parquet-sink"'))
    elif isinstance(error, BodyTimeout):
        headers.append((b"connection", b"close"))
    content = _error_content(error.code, error.message, request_id)
    return json_answer(_status_of(error), content, request_id, headers)


def refused_head_response(status: int, request_id: str) -> HttpAnswer:
    """The answer to a refused head, from REFUSED_HEADS. The connection is closed."""
    code, message = REFUSED_HEADS[status]
    content = _error_content(code, message, request_id)
    return json_answer(status, content, request_id, [(b"connection", b"close")])


def unexpected_response(error: BaseException, request_id: str, scope: Scope | None = None) -> HttpAnswer:
    """500 for a bug in the service: logged with its traceback, no details for the client."""
    _log.error("a request failed unexpectedly", exc_info=error, extra=fields_of(request_id, scope))
    content = _error_content(
        "internal_error",
        "The service failed on this request; its log has details under the request id.",
        request_id,
    )
    return json_answer(500, content, request_id)


class AnswerErrors:
    """ASGI middleware: assigns request ids, adds X-Request-ID, and answers requests that failed unexpectedly.

    An error after the response has begun cannot be answered: it is logged and passed on, so that the server
    closes the connection and the client sees that the response is incomplete.
    """

    def __init__(self, app: ASGIApp, ids: RequestIds) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope, self._ids)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_request_id(message, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except (ClientDisconnected, ClientDisconnect):
            _log.debug("the client disconnected", extra=fields_of(request_id, scope))
            if not started:
                # Nobody gets it, but it is counted: a request without an answer counts as a 500.
                await send({"type": "http.response.start", "status": CLIENT_LEFT, "headers": []})
                await send({"type": "http.response.body", "body": b""})
        except Exception as error:
            if started:
                _log.error(
                    "an answer could not be completed", exc_info=error, extra=fields_of(request_id, scope)
                )
                raise
            await send_answer(send_with_id, _answer_to(error, request_id, scope))


async def send_answer(send: Send, answer: HttpAnswer) -> None:
    """Send a complete response over ASGI."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def install_error_responses(app: FastAPI, ids: RequestIds) -> None:
    """Make `app` answer every error in the service's own form."""

    async def answer(request: Request, error: Exception) -> Response:
        answer = _answer_to(error, request_id_of(request.scope, ids), request.scope)
        response = Response(answer.body, answer.status)
        response.raw_headers = list(answer.headers)
        return response

    for handled in (errors.RequestError, HTTPException, RequestValidationError):
        app.add_exception_handler(handled, answer)
    app.add_middleware(AnswerErrors, ids=ids)


def _answer_to(error: Exception, request_id: str, scope: Scope) -> HttpAnswer:
    answer = _plain_answer_to(error, request_id, scope)
    if not wants_page(scope):
        return answer
    headers, body = error_page(scope, answer.status, answer.body)
    replaced = {name for name, _ in headers}
    # A page asks for the key itself; the browser's own window would come before it.
    kept = [pair for pair in answer.headers if pair[0] not in replaced and not pair[1].startswith(b"Basic ")]
    return HttpAnswer(answer.status, [*headers, *kept], body)


def _plain_answer_to(error: Exception, request_id: str, scope: Scope) -> HttpAnswer:
    if isinstance(error, errors.RequestError):
        return error_response(error, request_id)
    if isinstance(error, RequestValidationError):
        return error_response(errors.RequestError(_invalid(error), code="invalid_parameter"), request_id)
    if isinstance(error, HTTPException):
        return _routing_answer(error, request_id)
    return unexpected_response(error, request_id, scope)


def _routing_answer(error: HTTPException, request_id: str) -> HttpAnswer:
    headers = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    code = CODE_BY_STATUS.get(error.status_code, f"http_{error.status_code}")
    message = str(error.detail)
    if error.status_code == 404:
        message = "There is nothing at this path; /docs lists the calls."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"This path does not support this method; use {allowed}."
    content = _error_content(code, message, request_id)
    return json_answer(error.status_code, content, request_id, headers)


def _invalid(error: RequestValidationError) -> str:
    return "; ".join(_invalid_parameter(entry) for entry in error.errors())


def _invalid_parameter(entry: Mapping[str, Any]) -> str:
    where, *names = [str(part) for part in entry["loc"]]
    message = str(entry["msg"])
    return f"{where} parameter `{'.'.join(names)}`: {message[:1].lower()}{message[1:]}"


def _status_of(error: errors.RequestError) -> int:
    return next(STATUS_BY_ERROR[cls] for cls in type(error).__mro__ if cls in STATUS_BY_ERROR)


def _reported(refusals: Sequence[RowRefusal]) -> list[dict[str, object]]:
    return [{"line": refusal.row, "error": str(refusal)} for refusal in refusals]


def _add_request_id(message: Message, request_id: str) -> None:
    headers: RawHeaders = message.setdefault("headers", [])
    if not any(name == REQUEST_ID_HEADER for name, _ in headers):
        message["headers"] = [*headers, (REQUEST_ID_HEADER, request_id.encode("ascii"))]
