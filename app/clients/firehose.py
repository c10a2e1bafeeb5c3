"""Amazon Data Firehose with an HTTP endpoint: base64 records, each with one or many log lines."""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Raw

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
from app.clients.forms import from_base64
from app.clients.lenient_json import (
    Members,
    quoted,
    read_elements,
    read_object,
    read_stream,
    repaired,
    text_of,
)
from app.clients.log_objects import LogLine, add_object, event_line, is_event
from app.clients.repeated_keys import earlier_texts
from app.clients.times import moment_ms
from app.decode.utf8 import utf8_of
from app.errors import BodyTooLarge, MalformedBatch
from app.kinds import Kind


def read(request: ClientRequest) -> Document:
    """Records, numbered from 1; each may give several rows. Raises MalformedBatch."""
    document = Document()
    top = read_object(request.body, ("records",))
    request_id = text_of(top.get("requestId")) or ""
    document.notes = request_id
    document.batch_id = f"firehose:{request_id}".encode() if request_id else b""
    records = top.get("records")
    if records is None:
        raise MalformedBatch("the body has no `records`")
    document.of(Kind.LOGS)
    unpacked_bytes = 0
    for number, record in read_elements(records, document):
        for data in (*earlier_texts(record, "data"), record.get("data")):
            content = _content(request, document, number, text_of(data))
            unpacked_bytes += len(content)
            if unpacked_bytes > UNPACKED_BYTES_MAX:
                raise BodyTooLarge(
                    "the records are too large once they are decompressed; send smaller batches"
                )
            _add(document, number, content)
    return document


_UNPACKED_MAX: Final = 2
_OBJECTS: Final = re.compile(rb"\[?\s*\{")

UNPACKED_BYTES_MAX: Final = 64 << 20
"""Size of all records of a request together; each one must stay within the limit for one body."""


def _content(request: ClientRequest, document: Document, number: int, text: str | None) -> bytes:
    try:
        content = from_base64((text or "").encode())
        for _ in range(_UNPACKED_MAX):
            if (unpacked := request.unpack(content, "")) == content:
                break
            content = unpacked
        return utf8_of(content).strip()
    except (binascii.Error, ValueError):
        document.refuse(number, "data", "must be base64")
    except MalformedBatch as error:
        document.refuse(number, "data", error.message)
    return b""


def _add(document: Document, number: int, content: bytes) -> None:
    objects = Document()
    records = list(_records(content, objects)) if _OBJECTS.match(content) else []
    if not records:
        # A line of text may begin with a bracket, too.
        for line in content.splitlines():
            if line.strip():
                row = LogLine()
                row.message(quoted(repaired(line).decode()))
                document.of(Kind.LOGS).add(number, row.line())
        return
    for record in records:
        if "logEvents" in record and "logGroup" in record:
            _add_log_events(document, number, record)
        elif text_of(record.get("messageType")) == "CONTROL_MESSAGE":
            continue
        elif is_event(record):
            document.of(Kind.EVENTS).add(number, event_line(record))
        else:
            row = LogLine()
            add_object(row, record)
            document.of(Kind.LOGS).add(number, row.line())
    for refusal in objects.refused:
        document.refuse(number, refusal.field, refusal.message)


def _records(content: bytes, document: Document) -> Iterator[Members]:
    stream = content.strip(b"[]") if content[:1] == b"[" else content
    for _, record in read_stream(stream, document, ("logEvents",)):
        yield record


def _add_log_events(document: Document, number: int, record: Members) -> None:
    """CloudWatch Logs: many events of one group and stream."""
    if text_of(record.get("messageType")) == "CONTROL_MESSAGE":
        return
    group, stream = text_of(record.get("logGroup")), text_of(record.get("logStream"))
    events = record.get("logEvents")
    for _, event in read_elements(events if events is not None else Raw(b"[]"), document):
        row = LogLine()
        row.message(event.pop("message", None))
        row.timestamp(moment_ms(event.pop("timestamp", None)))
        row.source(stream)
        row.service(group)
        row.add_all(event)
        document.of(Kind.LOGS).add(number, row.line())


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """The request's own id, the time, and the reason of a failure."""
    request_id = (
        document.notes if document is not None else request.headers.get("x-amz-firehose-request-id", "")
    )
    content: dict[str, object] = {"requestId": request_id, "timestamp": request.received_ms}
    if outcome.is_receipt and not outcome.all_refused:
        return ClientAnswer(200, encoded(content))
    content["errorMessage"] = outcome.message or refused_text(outcome)
    return ClientAnswer(patient_status(outcome.status), encoded(content), headers=retry_headers(outcome))


FIREHOSE: Final = Family(
    "firehose",
    "Amazon Data Firehose",
    read,
    answer,
    Guide(
        "its documentation only: HTTP endpoint destination; CloudWatch Logs records are unpacked",
        "the destination's access key (`X-Amz-Firehose-Access-Key`)",
        "the request's id",
        "HttpEndpointDestinationConfiguration:\n"
        "  EndpointConfiguration:\n"
        "    Url: https://sink.example.com/firehose\n"
        "    AccessKey: KEY",
    ),
)

CALLS: Final = (Call("/firehose", FIREHOSE),)
