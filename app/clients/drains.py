"""Log drains of platforms (Cloudflare Logpush, Vercel, Fastly) and pino-http-send, which wraps its records.

They post to the native path of logs, in their own formats, and expect 200.
"""

import re
from typing import Final

from msgspec import Raw

from app.clients.call import (
    Call,
    ClientAnswer,
    ClientRequest,
    Document,
    Family,
    FixedCall,
    Guide,
    Outcome,
    encoded,
    patient_status,
    refusals_of,
    refused_text,
    retry_headers,
)
from app.clients.lenient_json import Members, is_given, read_elements, read_object, read_stream
from app.clients.log_objects import LogLine, add_object
from app.errors import MalformedBatch
from app.kinds import Kind

_LOGPUSH_KEYS: Final = re.compile(rb'"(?:RayID|EdgeStartTimestamp|ClientRequestHost|ZoneName|AccountID)"\s*:')
_LOGPUSH_TEST: Final = re.compile(rb'\s*\{\s*"content"\s*:\s*"test')
_VERCEL_KEYS: Final = re.compile(rb'"(?:deploymentId|projectId)"\s*:\s*"')
_WRAPPED: Final = re.compile(rb'\s*\{\s*"logs"\s*:\s*\[')
_JSON: Final = frozenset({"application/json", "application/x-ndjson", "application/ndjson"})


def accepts_logpush(content_type: str, body: bytes) -> bool:
    """Logpush does not identify its bodies, so they are recognised by its field names."""
    return not content_type and (_LOGPUSH_KEYS.search(body) or _LOGPUSH_TEST.match(body)) is not None


def accepts_vercel(content_type: str, body: bytes) -> bool:
    return content_type in _JSON and _VERCEL_KEYS.search(body) is not None and b'"message"' in body


def accepts_wrapped(content_type: str, body: bytes) -> bool:
    return _WRAPPED.match(body) is not None


def read_logpush(request: ClientRequest) -> Document:
    """Lines, numbered from 1. The file that Logpush sends to test a destination is accepted but not
    stored."""
    document = Document()
    rows = document.of(Kind.LOGS)
    if _LOGPUSH_TEST.match(request.body):
        return document
    for number, record in read_stream(request.body, document):
        ray = record.get("RayID")
        rows.add(
            number, _line(record), bytes(ray) if is_given(ray) and "EdgeStartTimestamp" in record else b""
        )
    return document


def read_vercel(request: ClientRequest) -> Document:
    """An array or lines. Raises MalformedBatch."""
    document = Document()
    rows = document.of(Kind.LOGS)
    array = request.body.lstrip()[:1] == b"["
    entries = read_elements(request.body, document) if array else read_stream(request.body, document)
    for number, record in entries:
        entry_id = record.get("id")
        rows.add(number, _line(record), bytes(entry_id) if is_given(entry_id) else b"")
    return document


def read_wrapped(request: ClientRequest) -> Document:
    """`{"logs": […]}`. Raises MalformedBatch."""
    document = Document()
    rows = document.of(Kind.LOGS)
    logs = read_object(request.body, ("logs",)).get("logs")
    if logs is None:
        raise MalformedBatch("the body has no `logs`")
    for number, record in read_elements(logs, document):
        if "service" not in record and is_given(record.get("name")):
            record["service"] = record.pop("name")
        rows.add(number, _line(record))
    return document


def _line(record: Members) -> bytes:
    row = LogLine()
    uri = record.get("ClientRequestURI")
    if uri is not None and "message" not in record:
        record["message"] = Raw(bytes(uri))
    add_object(row, record)
    return row.line()


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 for stored records, with the refused ones listed."""
    verify = request.headers.get("x-vercel-verify")
    headers = {"x-vercel-verify": verify} if verify else {}
    if outcome.is_receipt and not outcome.all_refused:
        content: dict[str, object] = {"accepted": outcome.accepted}
        if outcome.rejected:
            content |= {"rejected": outcome.rejected, "errors": refusals_of(outcome)}
        return ClientAnswer(200, encoded(content), headers=headers)
    content = {"error": outcome.code or "rows_refused", "message": outcome.message or refused_text(outcome)}
    status = patient_status(outcome.status)
    return ClientAnswer(status, encoded(content), headers=headers | retry_headers(outcome))


def verified(request: ClientRequest) -> ClientAnswer:
    """Vercel verifies the ownership of an endpoint: the answer is the configured header."""
    verify = request.headers.get("x-vercel-verify")
    return ClientAnswer(200, headers={"x-vercel-verify": verify} if verify else {})


def fastly_challenge(request: ClientRequest) -> ClientAnswer:
    """Allows every Fastly service to send here; a key is required nevertheless."""
    return ClientAnswer(200, b"*\n", "text/plain; charset=utf-8")


LOGPUSH: Final = Family(
    "logpush",
    "Cloudflare Logpush",
    read_logpush,
    answer,
    Guide(
        "its documentation only",
        "`?token=KEY`, or `header_Authorization` in the destination",
        "`RayID` of HTTP requests",
        "destination_conf: https://sink.example.com/v1/logs?token=KEY",
    ),
)
VERCEL: Final = Family(
    "vercel",
    "Vercel log drains",
    read_vercel,
    answer,
    Guide("its documentation only", "`?token=KEY`", "`id`", "https://sink.example.com/v1/logs?token=KEY"),
)
PINO: Final = Family(
    "pino-http-send",
    "pino-http-send",
    read_wrapped,
    answer,
    Guide(
        "pino-http-send 0.4",
        "`?token=KEY`",
        "none: records have no ids",
        'node app.js | pino-http-send --url="https://sink.example.com/v1/logs?token=KEY"',
    ),
)

CALLS: Final = (
    Call("/v1/logs", PINO, accepts=accepts_wrapped),
    Call("/v1/logs", LOGPUSH, accepts=accepts_logpush),
    Call("/v1/logs", VERCEL, accepts=accepts_vercel),
)
FIXED: Final = (
    FixedCall("/v1/logs", verified),
    FixedCall("/v1/events", verified),
    FixedCall("/.well-known/fastly/logging/challenge", fastly_challenge),
)
