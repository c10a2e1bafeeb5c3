"""Segment, RudderStack and Jitsu: messages with `type`, `anonymousId`, `messageId`, one or more per body."""

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
    retry_headers,
)
from app.clients.ids import id_member, named
from app.clients.lenient_json import Members, is_given, quoted, read_elements, read_object, text_of
from app.clients.times import corrected_ms, moment_ms, skew_ms
from app.kinds import Kind

_TYPE_OF_PATH: Final = {
    **{name: name for name in ("track", "identify", "page", "group", "alias", "screen")},
    "t": "track",
    "i": "identify",
    "p": "page",
    "g": "group",
    "a": "alias",
    "s": "screen",
}
_AS_TRACK: Final = frozenset({"page", "screen"})
_OF_THE_TRANSPORT: Final = frozenset(
    {"writeKey", "sentAt", "timestamp", "originalTimestamp", "receivedAt", "integrations", "_metadata"}
)
"""Members about a message's transport, not about what happened."""

_AS_THEY_ARE: Final = frozenset({"properties", "traits", "name", "category", "channel"})
_TYPES: Final = {
    b'"%b"' % name.encode(): name for name in ("track", "identify", "group", "alias", "page", "screen")
}

_RENAMED: Final = (
    ("userId", b"user_id"),
    ("groupId", b"group_id"),
    ("previousId", b"previous_id"),
    ("messageId", b"message_id"),
)


def read(request: ClientRequest) -> Document:
    """A batch, or one message. Raises MalformedBatch."""
    document = Document()
    array = request.body.lstrip()[:1] == b"["
    top: Members = {"batch": Raw(request.body)} if array else read_object(request.body, ("batch",))
    key = text_of(top.get("writeKey"))
    document.key = key.partition(":")[0] if key else None
    batch = top.get("batch")
    if batch is None or "type" in top:
        messages = iter([(1, top)])
        sent_at = None
    else:
        messages = read_elements(batch, document)
        sent_at = top.get("sentAt")
    batch_skew = skew_ms(request.received_ms, sent_at)
    default_type = _TYPE_OF_PATH.get(request.path.rstrip("/").rpartition("/")[2], "")
    rows = document.of(Kind.EVENTS)
    for number, message in messages:
        sent = message.get("sentAt")
        skew = batch_skew if sent is None else skew_ms(request.received_ms, sent)
        message_id = message.get("messageId")
        line = _row(message, default_type, skew, request.received_ms)
        rows.add(number, line, bytes(message_id) if is_given(message_id) else b"")
    return document


def _row(message: Members, default_type: str, skew: int, received_ms: int) -> bytes:
    take = message.pop
    time = moment_ms(message.get("timestamp") or None)
    if time is None:
        time = moment_ms(message.get("originalTimestamp"))
    pieces = []
    type_text = take("type", None)
    type_name = _TYPES.get(bytes(type_text)) if type_text is not None else None
    if type_name is None:
        type_name = (text_of(type_text) or default_type).lower()
    event = take("event", None)
    if type_name in _AS_TRACK:
        pieces.append(b'"type":"track","event":"%s"' % type_name.encode())
    else:
        pieces.append(b'"type":%b' % quoted(type_name))
        if event is not None:
            pieces.append(b'"event":%b' % event)
    if time is not None:
        pieces.append(b'"timestamp":%d' % corrected_ms(time, skew, received_ms))
    anonymous = take("anonymousId", None)
    device, is_uuid = id_member(anonymous)
    if device is None and (user := text_of(message.get("userId"))) is not None:
        device = named(user)
    elif device is not None and not is_uuid and anonymous is not None:
        pieces.append(b'"anonymous_id":%b' % anonymous)
    if device is not None:
        pieces.append(b'"device_id":' + device)
    context = take("context", None)
    if context is not None:
        _add_context(context, type_name, message, pieces)
    for name, column in _RENAMED:
        value = take(name, None)
        if is_given(value):
            pieces.append(b'"%b":%b' % (column, value))
    for name, value in message.items():
        if name in _AS_THEY_ARE:
            pieces.append(b'"%b":%b' % (name.encode(), value))
        elif name not in _OF_THE_TRANSPORT:
            pieces.append(b"%b:%b" % (quoted(name), value))
    return b"{%b}" % b",".join(pieces)


def _add_context(context: Raw, type_name: str, message: Members, pieces: list[bytes]) -> None:
    text = bytes(context)
    pieces.append(b'"context":' + text)
    wants_traits = type_name == "identify" and bytes(message.get("traits") or b"") in (b"", b"null", b"{}")
    if not text.startswith(b"{") or not (wants_traits or b'"sessionId"' in text):
        return
    inside = read_object(text)
    session, _ = id_member(inside.get("sessionId"))
    if session is not None:
        pieces.append(b'"session_id":' + session)
    if wants_traits and (traits := inside.get("traits")) is not None:
        message["traits"] = traits


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 for messages that a retry would not help: some of these clients terminate their host process on 400
    or 413. Only a wrong key is answered 4xx."""
    if outcome.is_receipt:
        content: dict[str, object] = {"success": not outcome.all_refused, "accepted": outcome.accepted}
        if outcome.rejected:
            content |= {"rejected": outcome.rejected, "errors": refusals_of(outcome)}
        return ClientAnswer(200, encoded(content))
    content = {"success": False, "code": outcome.code, "message": outcome.message}
    status = patient_status(outcome.status)
    if status < 500 and status not in (401, 403, 429):
        status = 200
    return ClientAnswer(status, encoded(content), headers=retry_headers(outcome))


def settings(request: ClientRequest) -> ClientAnswer:
    """Answers the browser library's first request: where to send to, with its own key."""
    key = request.parameters["key"]
    return ClientAnswer(200, encoded({"integrations": {"Segment.io": {"apiKey": key}}}))


def source_configuration(request: ClientRequest) -> ClientAnswer:
    """Answers RudderStack's browser library's first request: a source without destinations."""
    source = {
        "id": "parquet-sink",
        "name": "parquet-sink",
        "writeKey": request.query.get("writeKey", ""),
        "enabled": True,
        "workspaceId": "parquet-sink",
        "destinations": [],
        "connections": [],
        "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
    }
    content = {"source": source, "updatedAt": "2026-01-01T00:00:00.000Z"}
    return ClientAnswer(200, encoded(content))


_DEDUPLICATION: Final = "`messageId`"

SEGMENT: Final = Family(
    "segment",
    "Segment and RudderStack",
    read,
    answer,
    Guide(
        "segment-analytics-python 2.4, @segment/analytics-node 3.1, @segment/analytics-next 1.84, "
        "rudder-sdk-python 2.1, @rudderstack/rudder-sdk-node 3.0, @rudderstack/analytics-js 3.34",
        "user name of HTTP Basic, or `writeKey` in the body or the query",
        _DEDUPLICATION,
        "import segment.analytics as analytics\n"
        'analytics.write_key = "KEY"\n'
        'analytics.host = "https://sink.example.com"\n'
        'analytics.track("user-1", "signed_up", {"plan": "pro"})\n'
        "analytics.flush()",
    ),
)

JITSU: Final = Family(
    "jitsu",
    "Jitsu",
    read,
    answer,
    Guide(
        "@jitsu/js 1.11",
        "`X-Write-Key`, up to the colon",
        _DEDUPLICATION,
        'import { jitsuAnalytics } from "@jitsu/js"\n'
        "const analytics = jitsuAnalytics({\n"
        '  host: "https://sink.example.com", writeKey: "KEY:any"\n'
        "})\n"
        'analytics.track("signed_up", { plan: "pro" })',
    ),
)

CALLS: Final = (
    *(Call(f"/v1/{name}", SEGMENT) for name in ("batch", "b", "import", *_TYPE_OF_PATH)),
    Call("/beacon/v1/batch", SEGMENT),
    Call("/api/s/s2s/{type}", JITSU),
    Call("/api/s/{type}", JITSU),
)
FIXED: Final = (
    FixedCall("/v1/projects/{key}/settings", settings),
    FixedCall("/sourceConfig/", source_configuration),
    FixedCall("/sourceConfig", source_configuration),
)
