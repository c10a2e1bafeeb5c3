"""OpenTelemetry logs over HTTP: an ExportLogsServiceRequest, as protocol buffer or as JSON."""

import re
from typing import Final

from app.clients import otlp_json, otlp_protobuf
from app.clients.call import (
    Call,
    ClientAnswer,
    ClientRequest,
    Document,
    Family,
    Guide,
    Outcome,
    encoded,
    patient_status,
    refused_text,
    retry_headers,
)

PROTOBUF: Final = frozenset(
    {"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"}
)
_TOP_KEY: Final = re.compile(rb'\s*\[?\s*\{\s*"resource_?[lL]ogs"')

_STATUS_CODES: Final = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}
"""Codes of google.rpc.Status by HTTP status."""


def accepts(content_type: str, body: bytes) -> bool:
    return content_type in PROTOBUF or _TOP_KEY.match(body) is not None


def read(request: ClientRequest) -> Document:
    """Log records, numbered over the whole request. Raises MalformedBatch."""
    if _is_protobuf(request):
        return otlp_protobuf.read(request.body)
    return otlp_json.read(request.body)


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 with refused records in `partial_success`; errors as a Status."""
    protobuf = _is_protobuf(request)
    content_type = "application/x-protobuf" if protobuf else "application/json"
    if outcome.is_receipt:
        refused = refused_text(outcome)
        if protobuf:
            body = otlp_protobuf.response(outcome.rejected, refused)
        else:
            partial = {"rejectedLogRecords": str(outcome.rejected), "errorMessage": refused}
            body = encoded({"partialSuccess": partial} if refused else {})
        return ClientAnswer(200, body, content_type)
    status = patient_status(outcome.status)
    code = _STATUS_CODES.get(status, 2)
    if protobuf:
        body = otlp_protobuf.status(code, outcome.message)
    else:
        body = encoded({"code": code, "message": outcome.message})
    return ClientAnswer(status, body, content_type, retry_headers(outcome))


def _is_protobuf(request: ClientRequest) -> bool:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type in PROTOBUF


OTLP: Final = Family(
    "otlp",
    "OpenTelemetry",
    read,
    answer,
    Guide(
        "opentelemetry-exporter-otlp-proto-http 1.45, @opentelemetry/exporter-logs-otlp-http 0.223, "
        "OpenTelemetry Collector 0.165",
        "`Authorization: Bearer KEY` or `X-API-Key`",
        "none: records have no ids",
        'export OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="https://sink.example.com/v1/logs"\n'
        'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20KEY"',
    ),
)

CALLS: Final = (Call("/v1/logs", OTLP, accepts=accepts),)
