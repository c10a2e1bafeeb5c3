"""Elasticsearch's bulk call: lines of actions, and the documents that they index."""

import hashlib
from typing import Final

import msgspec
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
    retry_headers,
)
from app.clients.lenient_json import (
    Members,
    is_object,
    quoted,
    read_members,
    read_object,
    repaired,
    text_of,
    unreadable,
)
from app.clients.log_objects import LogLine, add_object, event_line, is_event
from app.errors import MalformedBatch
from app.kinds import Kind

_STORING: Final = frozenset({"index", "create"})
_ACTIONS: Final = frozenset({*_STORING, "update", "delete"})
_ACTION_OF_NONE: Final = "index"
"""What a line that is no action is called in the answer."""

_NO_ACTION: Final = (
    "the action is not valid: expected `index` or `create`, with its document on the next line"
)
_NAME_CHARACTERS_MAX: Final = 100
_PRODUCT: Final = {"x-elastic-product": "Elasticsearch"}
_TYPE: Final = "application/json"
_DIGEST_BYTES: Final = 8
_VERSION: Final = "8.17.0"
"""The version reported to agents, so that they accept this service as a target."""


_members = msgspec.json.Decoder(Members).decode


class Item(msgspec.Struct, frozen=True):
    """One action of a request, as needed for the answer."""

    action: str
    index: str
    id: str


def read(request: ClientRequest) -> Document:
    """Actions, numbered from 1; one that is not valid is refused by itself. Raises MalformedBatch if none is
    valid."""
    document = Document()
    items: list[Item] = []
    default = request.parameters.get("index", "")
    lines = [line for line in repaired(request.body).split(b"\n") if line.strip()]
    at, some_valid = 0, False
    while at < len(lines):
        number = len(items) + 1
        action = _action(lines[at])
        at += 1
        name, meta = action or (_ACTION_OF_NONE, {})
        given = text_of(meta.get("_id"))
        item = Item(
            name, text_of(meta.get("_index")) or default, given or f"{request.received_ms:x}-{number}"
        )
        items.append(item)
        if name not in _ACTIONS or action is None:
            document.refuse(number, "", _NO_ACTION)
            at += _has_document(lines[at - 1], lines[at : at + 1])
            continue
        some_valid = True
        content = lines[at] if name != "delete" and at < len(lines) else None
        at += name != "delete"
        if name not in _STORING:
            document.refuse(number, "", f"`{name}` is not supported here: stored rows are not changed")
        elif content is None:
            document.refuse(number, "", "the document is missing")
        else:
            _add(document, number, item, content, given)
    if not items:
        raise MalformedBatch("the body contains no actions")
    if not some_valid:
        raise MalformedBatch(f"no line of the body is an action; of the first: {_NO_ACTION}")
    document.of(Kind.LOGS)
    document.notes = items
    return document


def _action(line: bytes) -> tuple[str, Members] | None:
    """The name of an action, known or not, and what it says; None if the line is none."""
    try:
        action: Members = _members(line)
        name = next(iter(action), "")
        if len(action) != 1 or not is_object(action[name]):
            return (name, {}) if len(action) == 1 and bytes(action[name]) == b"null" else None
        return name[:_NAME_CHARACTERS_MAX], _members(action[name])
    except (msgspec.DecodeError, RecursionError):
        return None


def _has_document(line: bytes, following: list[bytes]) -> bool:
    """Whether the next line belongs to one that is no valid action: unless it is a document itself, or the
    next line is an action."""
    if not following or ((action := _action(following[0])) is not None and action[0] in _ACTIONS):
        return False
    if _action(line) is not None:
        return True
    try:
        read_object(line)
    except MalformedBatch:
        return True
    return False


def _add(document: Document, number: int, item: Item, content: bytes, given: str | None) -> None:
    try:
        record: Members = read_members(content)
    except msgspec.ValidationError:
        document.refuse(number, "", "a document must be one JSON object")
        return
    except (msgspec.DecodeError, RecursionError) as error:
        document.refuse(number, "", unreadable(error))
        return
    message_id = b""
    if given is not None:
        # The same id with another document is a change, and not the same message.
        digest = hashlib.blake2b(content.strip(), digest_size=_DIGEST_BYTES).digest()
        message_id = b"%b\0%b\0%b" % (item.index.encode(), given.encode(), digest)
    if is_event(record):
        record["_index"] = Raw(quoted(item.index))
        if given is not None:
            record["_id"] = Raw(quoted(given))
        document.of(Kind.EVENTS).add(number, event_line(record), message_id)
        return
    row = LogLine()
    add_object(row, record)
    if item.index:
        row.add("_index", quoted(item.index))
    if given is not None:
        row.add("_id", quoted(given))
    document.of(Kind.LOGS).add(number, row.line(), message_id)


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """200 with the result of each action; errors in Elasticsearch's format."""
    if outcome.is_receipt and document is not None:
        return ClientAnswer(200, encoded(_items(outcome, document.notes)), _TYPE, _PRODUCT)
    status = patient_status(outcome.status)
    kind = {401: "security_exception", 403: "security_exception", 429: "es_rejected_execution_exception"}
    reason = {"type": kind.get(status, f"{outcome.code}_exception"), "reason": outcome.message}
    content = {"error": {"root_cause": [reason], **reason}, "status": status}
    return ClientAnswer(status, encoded(content), _TYPE, _PRODUCT | retry_headers(outcome))


def _items(outcome: Outcome, items: list[Item]) -> dict[str, object]:
    refused = {refusal.row: str(refusal) for refusal in outcome.refusals}
    told = []
    for number, item in enumerate(items, 1):
        base: dict[str, object] = {"_index": item.index, "_id": item.id}
        if number in refused:
            error = {"type": "document_parsing_exception", "reason": refused[number]}
            base |= {"status": 400, "error": error}
        else:
            shards = {"total": 1, "successful": 1, "failed": 0}
            base |= {"_version": 1, "result": "created", "_shards": shards, "status": 201}
        told.append({item.action: base})
    return {"took": 1, "errors": bool(outcome.rejected), "items": told}


def about(request: ClientRequest) -> ClientAnswer:
    version = {
        "number": _VERSION,
        "build_flavor": "default",
        "build_type": "docker",
        "build_hash": "0",
        "build_date": "2026-01-01T00:00:00.000Z",
        "build_snapshot": False,
        "lucene_version": "9.12.0",
        "minimum_wire_compatibility_version": "7.17.0",
        "minimum_index_compatibility_version": "7.0.0",
    }
    content = {
        "name": "parquet-sink",
        "cluster_name": "parquet-sink",
        "cluster_uuid": "parquet-sink",
        "version": version,
        "tagline": "You Know, for Search",
    }
    return ClientAnswer(200, encoded(content), _TYPE, _PRODUCT)


def licence(request: ClientRequest) -> ClientAnswer:
    content = {"license": {"status": "active", "uid": "parquet-sink", "type": "basic"}}
    return ClientAnswer(200, encoded(content), _TYPE, _PRODUCT)


def health(request: ClientRequest) -> ClientAnswer:
    return ClientAnswer(200, encoded({"cluster_name": "parquet-sink", "status": "green"}), _TYPE, _PRODUCT)


def acknowledged(request: ClientRequest) -> ClientAnswer:
    """Answers the setup calls of agents: nothing needs to be set up here."""
    return ClientAnswer(200, encoded({"acknowledged": True}), _TYPE, _PRODUCT)


BULK: Final = Family(
    "elasticsearch",
    "Elasticsearch _bulk",
    read,
    answer,
    Guide(
        "elasticsearch-py 9.5; Filebeat, Logstash and Fluent Bit's `es` according to their documentation",
        "user name (or password) of HTTP Basic, or `Authorization: ApiKey`",
        "`_index` and `_id` with the same document",
        "from elasticsearch import Elasticsearch, helpers\n"
        'sink = Elasticsearch("https://sink.example.com", basic_auth=("KEY", ""))\n'
        'helpers.bulk(sink, [{"_index": "app", "_id": "1", "message": "started"}])',
    ),
)

CALLS: Final = (
    Call("/_bulk", BULK, ("POST", "PUT")),
    Call("/{index}/_bulk", BULK, ("POST", "PUT")),
)
_SETTING_UP: Final = (
    *("/_index_template/{name}", "/_template/{name}", "/_component_template/{name}", "/_ilm/policy/{name}"),
    *("/_ingest/pipeline/{name}", "/_data_stream/{name}", "/_alias/{name}", "/_security/user/{name}"),
)
FIXED: Final = (
    FixedCall("/", about, ("GET", "HEAD")),
    FixedCall("/_license", licence, ("GET", "HEAD")),
    FixedCall("/_xpack", licence, ("GET", "HEAD")),
    FixedCall("/_cluster/health", health, ("GET", "HEAD")),
    *(FixedCall(path, acknowledged, ("GET", "HEAD", "PUT", "POST")) for path in _SETTING_UP),
)
