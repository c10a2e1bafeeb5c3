"""Amplitude's HTTP API: `api_key` and `events`."""

import re
from typing import Final

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
    refusals_of,
    refused_text,
    retry_headers,
)
from app.clients.event_line import EventLine
from app.clients.ids import is_uuid
from app.clients.lenient_json import (
    Members,
    is_given,
    read_elements,
    read_object,
    read_objects,
    taken_object,
    text_of,
)
from app.errors import MalformedBatch
from app.kinds import Kind

_TYPES: Final = {"$identify": "identify", "$groupidentify": "group"}
_NO_SESSION: Final = "-1"
_EVENTS: Final = re.compile(rb'"events"\s*:\s*\[')


def accepts(content_type: str, body: bytes) -> bool:
    """Distinguishes bodies from PostHog's, which have `batch` on the same path."""
    return _EVENTS.search(body) is not None and b'"batch"' not in body[:1000]


def read(request: ClientRequest) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    top = read_object(request.body, ("events",))
    events = top.get("events")
    if events is None and "event_type" not in top:
        raise MalformedBatch("the body has no `events`")
    document.key = text_of(top.get("api_key"))
    rows = document.of(Kind.EVENTS)
    if events is None:
        top.pop("api_key", None)
        numbered = [(1, top)]
    else:
        numbered = list(read_elements(events, document))
    kinds = [_TYPES.get(text_of(event.get("event_type")) or "", "track") for _, event in numbered]
    inner = read_objects(
        [taken_object(event, _inside(kind)) for (_, event), kind in zip(numbered, kinds, strict=True)]
    )
    for (number, event), kind, properties in zip(numbered, kinds, inner, strict=True):
        insert_id = event.get("insert_id")
        rows.add(number, _line(event, kind, properties), bytes(insert_id) if is_given(insert_id) else b"")
    return document


def _inside(type_name: str) -> str:
    return "user_properties" if type_name == "identify" else "event_properties"


def _line(event: Members, type_name: str, properties: Members) -> bytes:
    name = event.pop("event_type", None)
    row = EventLine(type_name)
    if type_name == "track":
        row.event(name)
    row.timestamp(row.time_in(event, "time"))
    user = event.pop("user_id", None)
    device, session = event.pop("device_id", None), event.pop("session_id", None)
    row.device(device, user)
    if is_given(device) and not is_uuid(text_of(device) or ""):
        row.properties({"device_id": device})
    if is_given(session) and text_of(session) != _NO_SESSION:
        row.session(session)
        row.properties({"session_id": session})
    row.add("user_id", user)
    row.properties(properties)
    for key, value in event.items():
        row.add(key, value)
    return row.line()


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 for stored messages; a wrong key is 400 with the text that the libraries look for."""
    if outcome.is_receipt and not outcome.all_refused:
        content: dict[str, object] = {
            "code": 200,
            "events_ingested": outcome.accepted,
            "payload_size_bytes": len(request.body),
            "server_upload_time": request.received_ms,
        }
        if outcome.rejected:
            content |= {"events_refused": outcome.rejected, "errors": refusals_of(outcome)}
        return ClientAnswer(200, encoded(content))
    status = patient_status(outcome.status)
    message = outcome.message or refused_text(outcome)
    if status in (401, 403):
        status, message = 400, f"Invalid API key: {message}"
    content = {"code": status, "error": message}
    return ClientAnswer(status, encoded(content), headers=retry_headers(outcome))


AMPLITUDE: Final = Family(
    "amplitude",
    "Amplitude",
    read,
    answer,
    Guide(
        "amplitude-analytics 1.3 (Python), @amplitude/analytics-node 1.5",
        "`api_key` in the body",
        "`insert_id`",
        "from amplitude import Amplitude, BaseEvent\n"
        'client = Amplitude("KEY")\n'
        'client.configuration.server_url = "https://sink.example.com/2/httpapi"\n'
        'client.track(BaseEvent("signed_up", user_id="user-1"))\n'
        "client.shutdown()",
    ),
)

CALLS: Final = (
    Call("/2/httpapi", AMPLITUDE),
    *(Call(path, AMPLITUDE, accepts=accepts) for path in ("/batch", "/batch/")),
)
