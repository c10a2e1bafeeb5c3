"""Turns a request into a submission and its outcome into an answer, for both the ASGI route and the fast
lane."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from app.api.api_keys import ApiKeys
from app.api.auth import Credential, authenticate
from app.api.client_address import Client, ClientAddresses
from app.api.content_encoding import encoding_of_bytes, joined_encodings
from app.api.error_responses import HttpAnswer, RequestIds, error_response, receipt_response
from app.api.headers import RawHeaders
from app.api.query import query_values
from app.clients.table import Table
from app.commit.admission import Admission
from app.commit.settle import REPEAT_ID
from app.errors import (
    DiskFull,
    OutcomeUnknown,
    Overloaded,
    Refused,
    RequestError,
    UnsupportedMedia,
    WorkspaceOverShare,
)
from app.kinds import Kind
from app.submission import HEADER_BATCH_ID, Answer, Body, Reply, Submission, WireFormat

FLATBUFFER_CONTENT_TYPES: Final = frozenset(
    {b"application/x-flatbuffers", b"application/octet-stream", b"application/x-tell", b""}
)
JSON_CONTENT_TYPES: Final = frozenset(
    {
        b"application/json",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/x-jsonlines",
        b"text/plain",
        b"",
    }
)
"""text/plain is what browsers send for a CORS "simple request"; some log shippers send no type at all."""

FORM_CONTENT_TYPE: Final = b"application/x-www-form-urlencoded"
"""What curl sends for any body given with -d; read as JSON if the body is JSON."""

_OFFSET_BYTES: Final = 4

BATCH_ID_BYTES_MAX: Final = 255
Wait = Literal["journal", "file"]


class IngestPolicy(msgspec.Struct, frozen=True):
    """max_body_bytes: of one body, as sent and decompressed. body_timeout_s: for it to arrive.
    answer_timeout_s: for its group to become durable.
    knows_repeats: whether repeated batches of tell-js are recognised by their bytes.
    """

    max_body_bytes: int = 10_000_000
    body_timeout_s: float = 30.0
    answer_timeout_s: float = 30.0
    knows_repeats: bool = True


class IngestParts(msgspec.Struct, frozen=True):
    """State shared by all ingest calls.

    submit: passes a batch to the commit thread. publish: resolves to whether all rows of this workspace
    accepted so far are in published files. clients: calls of other protocols.
    """

    keys: ApiKeys
    admission: Admission
    addresses: ClientAddresses
    request_ids: RequestIds
    submit: Callable[[Submission, Reply], None]
    publish: Callable[[int], Awaitable[bool]]
    policy: IngestPolicy
    clients: Table = msgspec.field(default_factory=Table)


class IngestCall(msgspec.Struct, frozen=True):
    """One path. kind: of the rows, None if the batch itself names it."""

    path: str
    wire_format: WireFormat
    kind: Kind | None

    @property
    def content_types(self) -> frozenset[bytes]:
        flatbuffer = self.wire_format is WireFormat.FLATBUFFER
        return FLATBUFFER_CONTENT_TYPES if flatbuffer else JSON_CONTENT_TYPES


INGEST_CALLS: Final = (
    IngestCall("/v1/ingest", WireFormat.FLATBUFFER, None),
    IngestCall("/v1/events", WireFormat.JSON, Kind.EVENTS),
    IngestCall("/v1/logs", WireFormat.JSON, Kind.LOGS),
    IngestCall("/v1/snapshots", WireFormat.JSON, Kind.SNAPSHOTS),
)


class IngestHead(msgspec.Struct, frozen=True):
    """The checked contents of a request's head.

    only_200: the client accepts no other status as success (`?status=200`). is_tell: the client is tell-js,
    which sends no ids, and drops data on 429. drops_507: OpenTelemetry's clients, which may also use this
    path, drop data on 507.
    """

    credential: Credential
    wait: Wait
    content_encoding: bytes | None
    content_length: int | None
    batch_id: bytes
    content_type: bytes = b""
    only_200: bool = False
    is_tell: bool = False
    drops_507: bool = False
    is_form: bool = False


def read_head(call: IngestCall, headers: RawHeaders, query_string: bytes, keys: ApiKeys) -> IngestHead:
    """Raises Unauthenticated, UnsupportedMedia, RequestError."""
    credential = authenticate(headers, query_string, keys)
    content_type = batch_id = agent = b""
    content_length = None
    encodings = []
    for name, value in headers:
        if name == b"content-type":
            content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            encodings.append(value)
        elif name == b"content-length" and value.isdigit() and len(value) < 19:
            content_length = int(value)
        elif name == b"idempotency-key":
            batch_id = _batch_id(value)
        elif name == b"user-agent":
            agent = value
    is_form = content_type == FORM_CONTENT_TYPE and call.wire_format is WireFormat.JSON
    if content_type not in call.content_types and not is_form:
        raise UnsupportedMedia(_content_type_message(content_type, call.content_types))
    return IngestHead(
        credential,
        _wait(query_string),
        joined_encodings(encodings),
        content_length,
        batch_id,
        content_type,
        _only_200(query_string),
        not batch_id and _is_tell(call, content_type, query_string, agent),
        call.kind is Kind.LOGS,
        is_form,
    )


def packed_as(call: IngestCall, body: Body) -> bytes | None:
    """The content encoding of a compressed body, whatever its head says; None if it was not compressed."""
    encoding = encoding_of_bytes(body)
    if not encoding:
        return None
    # A FlatBuffer may begin with any bytes: the first four are an offset within it.
    is_offset = int.from_bytes(body[:_OFFSET_BYTES], "little") < len(body)
    return None if call.wire_format is WireFormat.FLATBUFFER and is_offset else encoding.encode()


def check_form(head: IngestHead, body: Body) -> None:
    """Raises UnsupportedMedia for a body that really is a form."""
    if head.is_form and bytes(body[:1024]).lstrip()[:1] not in (b"{", b"["):
        raise UnsupportedMedia("This is a form; send JSON, with `Content-Type: application/json`.")


def submission_of(
    call: IngestCall, head: IngestHead, body: Body, client: Client, headers: RawHeaders, parts: IngestParts
) -> Submission:
    """The batch as a submission, received now. client: address and port of the peer."""
    address = parts.addresses.of(client, headers)
    return Submission(
        wire_format=call.wire_format,
        kind=call.kind,
        body=body,
        api_key=head.credential.api_key,
        workspace_id=head.credential.workspace_id,
        source_ip=address.source_ip,
        received_ms=time.time_ns() // 1_000_000,
        trusted_forwarder=address.trusted_forwarder,
        batch_id=_repeat_id(call, body) if head.is_tell and parts.policy.knows_repeats else head.batch_id,
    )


def answer_timed_out() -> OutcomeUnknown:
    """The answer for a batch whose group did not become durable within IngestPolicy.answer_timeout_s."""
    return OutcomeUnknown(
        "The disk is so slow that it is not known whether this batch is durable; "
        "send it again with the same Idempotency-Key."
    )


async def committed(parts: IngestParts, submission: Submission) -> Answer:
    """Waits for the outcome of its group, and then releases the bytes that the submission held in flight."""
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def reply(answer: Answer) -> None:
        parts.admission.leave(submission.workspace_id, len(submission.body))
        if not answered.done():
            answered.set_result(answer)

    try:
        parts.submit(submission, reply)
    except RequestError as error:
        reply(error)
    try:
        async with asyncio.timeout(parts.policy.answer_timeout_s):
            return await answered
    except TimeoutError:
        return answer_timed_out()


def http_answer(
    answer: Answer, request_id: str, head: IngestHead, *, published: bool | None = None
) -> HttpAnswer:
    """The answer for the client. published: see receipt_response."""
    dropped = (head.is_tell and isinstance(answer, WorkspaceOverShare)) or (
        head.drops_507 and isinstance(answer, DiskFull)
    )
    if dropped and isinstance(answer, Refused):
        answer = Overloaded(answer.message, retry_after_s=answer.retry_after_s, code=answer.code)
    if isinstance(answer, RequestError):
        return error_response(answer, request_id)
    return receipt_response(answer, request_id, published=published, only_200=head.only_200)


def _batch_id(value: bytes) -> bytes:
    if len(value) > BATCH_ID_BYTES_MAX:
        raise RequestError(f"Idempotency-Key is longer than {BATCH_ID_BYTES_MAX} bytes; send a shorter one.")
    return HEADER_BATCH_ID + value if value else b""


def _wait(query_string: bytes) -> Wait:
    if b"wait=" not in query_string:
        return "journal"
    values = query_values(query_string, b"wait")
    if values == [b"file"]:
        return "file"
    if values in ([], [b"journal"]):
        return "journal"
    raise RequestError("`wait` must be `journal` or `file`.", code="invalid_parameter")


def _is_tell(call: IngestCall, content_type: bytes, query_string: bytes, agent: bytes) -> bool:
    """Whether the client is tell-js: browsers send text/plain with the key in the query, Node its own user
    agent."""
    if call.kind not in (Kind.EVENTS, Kind.LOGS):
        return False
    if content_type == b"text/plain":
        return b"token=" in query_string
    return content_type == b"application/x-ndjson" and agent == b"node"


def _repeat_id(call: IngestCall, body: Body) -> bytes:
    """The id of a batch by its bytes; empty for rows without time and session, which may be identical without
    being repeated."""
    if b'"session_id"' not in body or b'"timestamp"' not in body:
        return b""
    return REPEAT_ID + hashlib.blake2b(body, digest_size=16, person=call.path.encode()).digest()


def _only_200(query_string: bytes) -> bool:
    if b"status=" not in query_string:
        return False
    values = query_values(query_string, b"status")
    if values in ([], [b"202"]):
        return False
    if values == [b"200"]:
        return True
    raise RequestError("`status` must be `200` or `202`.", code="invalid_parameter")


def _content_type_message(content_type: bytes, known: frozenset[bytes]) -> str:
    allowed = ", ".join(sorted(name.decode() for name in known if name))
    sent = content_type[:100].decode("latin-1")
    return f"Content-Type `{sent}` is not supported here; send one of {allowed}."
