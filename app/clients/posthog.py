"""PostHog: events with `distinct_id` and `properties`, one or more per body."""

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
from app.clients.event_line import EventLine
from app.clients.forms import json_of
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
from app.clients.times import corrected_ms, moment_ms, skew_ms
from app.kinds import Kind

_TYPES: Final = {
    "$identify": "identify",
    "$set": "identify",
    "$groupidentify": "group",
    "$create_alias": "alias",
}
_KEYS: Final = ("api_key", "token")


def read(request: ClientRequest) -> Document:
    """A batch, a list, or one event. Raises MalformedBatch."""
    document = Document()
    body, fields = json_of(request)
    top: Members = {}
    if body[:1] == b"[":
        messages = read_elements(body, document)
    else:
        top = read_object(body, ("batch",))
        batch = top.get("batch")
        messages = read_elements(batch, document) if batch is not None else iter([(1, dict(top))])
    document.key = _key(top) or fields.get("api_key")
    skew = skew_ms(request.received_ms, top.get("sent_at") or top.get("sentAt"))
    rows = document.of(Kind.EVENTS)
    numbered = list(messages)
    inner = read_objects([taken_object(message, "properties") for _, message in numbered])
    for (number, message), properties in zip(numbered, inner, strict=True):
        if document.key is None:
            document.key = _key(message) or _key(properties)
        for name in (*_KEYS, "sent_at", "sentAt"):
            message.pop(name, None)
        properties.pop("token", None)
        message_id = message.get("uuid")
        if not is_given(message_id):
            message_id = properties.get("$insert_id")
        line = _line(message, properties, skew, request.received_ms)
        rows.add(number, line, bytes(message_id) if is_given(message_id) else b"")
    return document


def _key(members: Members) -> str | None:
    return next((text for name in _KEYS if (text := text_of(members.get(name))) is not None), None)


def _line(message: Members, properties: Members, skew: int, received_ms: int) -> bytes:
    event = message.pop("event", None)
    type_name = _TYPES.get(text_of(event) or "", "track")
    row = EventLine(type_name)
    if type_name == "track":
        row.event(event)
    time = moment_ms(message.pop("timestamp", None))
    if time is None:
        time = moment_ms(properties.get("$time"))
    if time is not None:
        row.timestamp(corrected_ms(time, skew, received_ms))
    user = message.pop("distinct_id", None)
    if user is None:
        user = message.pop("$distinct_id", None)
    if user is None:
        user = properties.get("distinct_id")
    device = properties.get("$device_id")
    device_text = text_of(device)
    row.device(device if device_text is not None and is_uuid(device_text) else user)
    row.session(properties.get("$session_id"))
    row.add("user_id", user)
    row.properties(properties)
    for name, value in message.items():
        row.add(name, value)
    return row.line()


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """Exactly 200 and status 1 for stored events."""
    if outcome.is_receipt and not outcome.all_refused:
        content: dict[str, object] = {"status": 1}
        if outcome.rejected:
            content |= {"rejected": outcome.rejected, "errors": refusals_of(outcome)}
        return ClientAnswer(200, encoded(content))
    content = {
        "type": "authentication_error" if outcome.status in (401, 403) else "validation_error",
        "code": outcome.code or "rows_refused",
        "detail": outcome.message or refused_text(outcome),
        "status": 0,
    }
    return ClientAnswer(patient_status(outcome.status), encoded(content), headers=retry_headers(outcome))


def flags(request: ClientRequest) -> ClientAnswer:
    """Answers requests for feature flags, which the libraries also make: there are none."""
    content: dict[str, object] = {
        "featureFlags": {},
        "featureFlagPayloads": {},
        "flags": {},
        "errorsWhileComputingFlags": False,
        "supportedCompression": ["gzip", "gzip-js"],
        "config": {},
        "requestId": "parquet-sink",
    }
    return ClientAnswer(200, encoded(content))


def configuration(request: ClientRequest) -> ClientAnswer:
    """Answers the browser library's first request: only events should be sent."""
    content: dict[str, object] = {
        "token": request.parameters["key"],
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": False,
        "capturePerformance": False,
        "autocapture_opt_out": False,
        "autocaptureExceptions": False,
        "sessionRecording": False,
        "heatmaps": False,
        "surveys": False,
        "siteApps": [],
    }
    return ClientAnswer(200, encoded(content))


POSTHOG: Final = Family(
    "posthog",
    "PostHog",
    read,
    answer,
    Guide(
        "posthog 7.9 (Python), posthog-node 5.70, posthog-js 1.449",
        "`api_key`, `token` or `properties.token` in the body",
        "`uuid`, else `$insert_id`",
        "from posthog import Posthog\n"
        'posthog = Posthog("KEY", host="https://sink.example.com")\n'
        'posthog.capture("signed_up", distinct_id="user-1", properties={"plan": "pro"})\n'
        "posthog.shutdown()",
    ),
)

CALLS: Final = (
    *(Call(f"{path}{end}", POSTHOG) for path in ("/capture", "/e", "/i/v0/e", "/s") for end in ("/", "")),
    *(Call(path, POSTHOG) for path in ("/batch/", "/batch")),
)
FIXED: Final = (
    *(
        FixedCall(f"/{name}{end}", flags, ("GET", "POST"))
        for name in ("flags", "decide")
        for end in ("/", "")
    ),
    FixedCall("/array/{key}/config", configuration),
)
