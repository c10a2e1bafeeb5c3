"""Splunk's HTTP event collector: concatenated JSON objects, or raw lines."""

import re
from typing import Final

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
from app.clients.lenient_json import (
    Members,
    is_given,
    is_object,
    quoted,
    read_object,
    read_stream,
    repaired,
    text_of,
)
from app.clients.log_objects import LogLine, add_object
from app.clients.times import moment_ms
from app.errors import MalformedBatch
from app.kinds import Kind

_LINE_END: Final = re.compile(r"[\r\n]+")
_KEPT: Final = ("source", "sourcetype", "index")


def read(request: ClientRequest) -> Document:
    """Events, numbered from 1. Raises MalformedBatch for a body without any."""
    document = Document()
    rows = document.of(Kind.LOGS)
    body = request.body.strip()
    if body.startswith(b"[") and body.endswith(b"]"):
        body = body[1:-1]
    for number, event in read_stream(body, document):
        if "event" not in event:
            document.refuse(number, "event", "is required: the text of the log")
        else:
            rows.add(number, _line(event))
    if not rows.lines and not document.refused:
        raise MalformedBatch("the body contains no events")
    return document


def _line(event: Members) -> bytes:
    row = LogLine()
    content = event.pop("event")
    time = moment_ms(event.get("time"))
    if time is not None or not is_given(event.get("time")):
        event.pop("time", None)
    host = event.pop("host", None)
    row.source(text_of(host))
    if host is not None and bytes(host)[:1] in (b"{", b"["):
        event["host"] = host
    if is_object(content):
        record = read_object(bytes(content))
        if time is not None:
            row.timestamp(time)
            for name in ("time", "timestamp", "@timestamp", "ts"):
                if name in record:
                    row.add(name, record.pop(name))
        source = record.pop("source", None)
        if source is not None:
            row.add("source", source)
            event.pop("source", None)
        add_object(row, record)
    else:
        row.timestamp(time)
        row.message(content)
    for name in _KEPT:
        if name in event:
            row.add(name, event.pop(name))
    row.add_all(event)
    return row.line()


def read_raw(request: ClientRequest) -> Document:
    """Lines of text, each an event; the query names their source. Raises MalformedBatch for none."""
    document = Document()
    rows = document.of(Kind.LOGS)
    text = repaired(request.body).decode()
    for number, line in enumerate((line for line in _LINE_END.split(text) if line.strip()), 1):
        row = LogLine()
        row.message(quoted(line))
        row.source(request.query.get("host"))
        for name in _KEPT:
            if value := request.query.get(name):
                row.add(name, quoted(value))
        rows.add(number, row.line())
    if not rows.lines:
        raise MalformedBatch("the body contains no lines")
    return document


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 and code 0, with the refused events listed; errors with the collector's own codes."""
    if outcome.is_receipt and not outcome.all_refused:
        content: dict[str, object] = {"text": "Success", "code": 0}
        if outcome.rejected:
            content |= {"accepted": outcome.accepted, "rejected": outcome.rejected}
            content["errors"] = refusals_of(outcome)
        return ClientAnswer(200, encoded(content))
    if outcome.is_receipt:
        first = outcome.refusals[0].row if outcome.refusals else 1
        content = {"text": refused_text(outcome), "code": 6, "invalid-event-number": first}
        return ClientAnswer(400, encoded(content))
    status = patient_status(outcome.status, over_share=503)
    code = {401: 4, 403: 4, 413: 27, 500: 8, 503: 9}.get(status, 6)
    if status == 401 and request.headers.get("authorization"):
        status = 403  # what the collector says to a token that it does not know
    elif status == 401:
        code = 2
    content = {"text": outcome.message, "code": code}
    return ClientAnswer(status, encoded(content), headers=retry_headers(outcome))


def health(request: ClientRequest) -> ClientAnswer:
    return ClientAnswer(200, encoded({"text": "HEC is healthy", "code": 17}))


_GUIDE: Final = Guide(
    "splunk-handler 3.0 (Python), and agents according to the collector's documentation",
    "`Authorization: Splunk KEY`, `?token=`, or HTTP Basic",
    "none: events have no ids",
    "from splunk_handler import SplunkHandler\n"
    "logging.getLogger().addHandler(SplunkHandler(\n"
    '    host="sink.example.com", port=443, token="KEY", index="main"))',
)
HEC: Final = Family("splunk", "Splunk HTTP event collector", read, answer, _GUIDE)
RAW: Final = Family("splunk-raw", "Splunk HTTP event collector, raw lines", read_raw, answer, _GUIDE)

CALLS: Final = (
    *(Call(f"/services/collector{path}", HEC) for path in ("", "/event", "/event/1.0")),
    *(Call(f"/services/collector{path}", RAW) for path in ("/raw", "/raw/1.0")),
)
FIXED: Final = (
    FixedCall("/services/collector/health", health),
    FixedCall("/services/collector/health/1.0", health),
)
