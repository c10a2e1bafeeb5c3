"""Custom JSON: the configuration maps keys to columns, and everything else is the payload.

For logs, columns without a mapping are filled as for other loggers.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from app.clients.call import (
    Call,
    ClientAnswer,
    ClientRequest,
    Document,
    Family,
    Guide,
    Outcome,
    Sniff,
    encoded,
    refusals_of,
    retry_headers,
)
from app.clients.json_map import KEY_OF, JsonMap
from app.clients.lenient_json import Members, is_given, quoted, read_elements, read_stream
from app.clients.log_objects import LogLine, add_object
from app.clients.repeated_keys import free_name
from app.kinds import Kind

PAYLOAD_OF: Final = {Kind.LOGS: "data", Kind.EVENTS: "properties", Kind.SNAPSHOTS: "metrics"}
_members = msgspec.json.Decoder(Members).decode


def calls_of(maps: Sequence[JsonMap]) -> tuple[Call, ...]:
    """The calls of these mappings, which take precedence over all other calls of their paths."""
    return tuple(Call(each.path, _family(each), accepts=_sniff(each.has)) for each in maps)


def row_of(mapping: JsonMap, record: Members) -> bytes:
    """A record as a line of the native format. `record` is consumed."""
    found: Members = {}
    for name, key in mapping.keys.items():
        value = _taken(record, key)
        if is_given(value):
            found[KEY_OF[mapping.kind][name]] = value
    for name, constant in mapping.constants.items():
        found.setdefault(KEY_OF[mapping.kind][name], Raw(quoted(constant)))
    if mapping.kind is Kind.LOGS:
        return _log(found, record)
    if mapping.kind is Kind.EVENTS:
        found.setdefault("type", Raw(b'"track"'))
    payload = b",".join(b"%b:%b" % (quoted(key), value) for key, value in record.items())
    members = [b"%b:%b" % (quoted(key), value) for key, value in found.items()]
    members.append(b"%b:{%b}" % (quoted(PAYLOAD_OF[mapping.kind]), payload))
    return b"{%b}" % b",".join(members)


def _log(found: Members, record: Members) -> bytes:
    row = LogLine()
    session = found.pop("session_id", None)
    time = found.pop("timestamp", None)
    if time is not None:
        found["@timestamp"] = time
    shadowed = {key: record.pop(key) for key in found if key in record}
    # In front: of several names for one thing the first that makes sense is taken.
    name = free_name(record)
    add_object(row, {**found, **record})
    if session is not None:
        row.member("session_id", session)
    if shadowed:
        row.add(name, b"{%b}" % b",".join(b"%b:%b" % (quoted(k), v) for k, v in shadowed.items()))
    return row.line()


def _taken(record: Members, key: str) -> Raw | None:
    """Removes and returns a member by its whole name; or returns one within objects, which stay unchanged."""
    if key in record:
        return record.pop(key)
    inner: Members | None = record
    value: Raw | None = None
    for part in key.split("."):
        value = inner.get(part) if inner is not None else None
        inner = None
        if value is not None and bytes(value)[:1] == b"{":
            try:
                inner = _members(value)
            except msgspec.DecodeError:
                return None
    return value


def _sniff(has: str) -> Sniff | None:
    if not has:
        return None
    pattern = re.compile(re.escape(quoted(has)) + rb"\s*:")
    return lambda content_type, body: pattern.search(body) is not None


def _family(mapping: JsonMap) -> Family:
    def read(request: ClientRequest) -> Document:
        document = Document()
        rows = document.of(mapping.kind)
        is_array = request.body.lstrip()[:1] == b"["
        records = read_elements(request.body, document) if is_array else read_stream(request.body, document)
        for number, record in records:
            rows.add(number, row_of(mapping, record))
        return document

    return Family("mapped", "custom JSON", read, answer, GUIDE)


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """Answers like the native calls."""
    if outcome.is_receipt:
        content: dict[str, object] = {"accepted": outcome.accepted, "rejected": outcome.rejected}
        if outcome.rejected:
            content["errors"] = refusals_of(outcome)
        return ClientAnswer(outcome.status, encoded(content))
    content = {"error": outcome.code, "message": outcome.message}
    return ClientAnswer(outcome.status, encoded(content), headers=retry_headers(outcome))


GUIDE: Final = Guide(
    "anything that posts JSON",
    "as for the native calls",
    "none: if that matters, use the native calls with `Idempotency-Key`",
    '[[ingest.map]]\npath = "/in/nginx"\nkind = "logs"\nmessage = "request"\ntime = "time_iso8601"',
)
