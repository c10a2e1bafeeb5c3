"""Mixpanel: events and profiles, as a form's `data`, as JSON or as lines."""

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
from app.clients.forms import json_of
from app.clients.ids import is_uuid
from app.clients.lenient_json import (
    Members,
    is_given,
    read_elements,
    read_objects,
    read_stream,
    taken_object,
    text_of,
)
from app.clients.times import moment_ms
from app.kinds import Kind

_PROFILE_TYPES: Final = {"engage": "identify", "groups": "group"}


def read(request: ClientRequest) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    body, fields = json_of(request)
    document.key = fields.get("token")
    profile = _PROFILE_TYPES.get(request.path.strip("/").partition("/")[0])
    messages = read_elements(body, document) if body[:1] == b"[" else read_stream(body, document)
    rows = document.of(Kind.EVENTS)
    if profile is not None:
        for number, message in messages:
            document.key = document.key or text_of(message.get("$token"))
            rows.add(number, _profile(message, profile))
        return document
    numbered = list(messages)
    inner = read_objects([taken_object(message, "properties") for _, message in numbered])
    for (number, message), properties in zip(numbered, inner, strict=True):
        document.key = document.key or text_of(properties.get("token"))
        insert_id = properties.get("$insert_id")
        line = _event(message, properties)
        rows.add(number, line, bytes(insert_id) if is_given(insert_id) else b"")
    return document


def _event(message: Members, properties: Members) -> bytes:
    row = EventLine("track")
    row.event(message.pop("event", None))
    row.timestamp(moment_ms(properties.pop("time", None)))
    properties.pop("token", None)
    user = properties.get("distinct_id")
    device = properties.get("$device_id")
    row.device(device, user)
    named = properties.get("$user_id")
    row.add("user_id", named if is_given(named) else user)
    row.properties(properties)
    for name, value in message.items():
        row.add(name, value)
    return row.line()


def _profile(message: Members, type_name: str) -> bytes:
    row = EventLine(type_name)
    message.pop("$token", None)
    row.timestamp(moment_ms(message.pop("$time", None)))
    user = message.pop("$distinct_id", None)
    device = message.get("$device_id")
    device_text = text_of(device)
    row.device(device if device_text is not None and is_uuid(device_text) else user)
    row.add("user_id", user)
    if type_name == "group":
        row.add("group_id", message.get("$group_id"))
    row.properties(message)
    return row.line()


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 and status 1 if everything is stored; status 0 and the reason if not."""
    if outcome.is_receipt and not outcome.all_refused:
        content: dict[str, object] = {"status": 1, "error": None}
        if request.path.startswith("/import"):
            content |= {"code": 200, "num_records_imported": outcome.accepted}
        if outcome.rejected:
            content["failed_records"] = refusals_of(outcome)
        return ClientAnswer(200, encoded(content))
    status = patient_status(outcome.status)
    content = {"status": 0, "code": status, "error": outcome.message or refused_text(outcome)}
    return ClientAnswer(status, encoded(content), headers=retry_headers(outcome))


MIXPANEL: Final = Family(
    "mixpanel",
    "Mixpanel",
    read,
    answer,
    Guide(
        "mixpanel 5.1 (Python)",
        "`properties.token` (profiles: `$token`) in the body, or user name of HTTP Basic",
        "`$insert_id`",
        "from mixpanel import Consumer, Mixpanel\n"
        'sink = Consumer(api_host="sink.example.com")\n'
        'mp = Mixpanel("KEY", consumer=sink)\n'
        'mp.track("user-1", "signed_up", {"plan": "pro"})',
    ),
)

CALLS: Final = tuple(
    Call(f"/{name}{end}", MIXPANEL) for name in ("track", "engage", "groups", "import") for end in ("", "/")
)
