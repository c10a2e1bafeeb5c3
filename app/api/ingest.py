"""The ingest calls: a batch in, a receipt out.

Plain ASGI endpoints, since this is the hot path: authenticate, admit, read, submit, wait, answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from app.admission import Admission
from app.api.auth import Credential, authenticate
from app.api.body import read_body, unpack_body
from app.api.client_address import ClientAddresses
from app.api.error_responses import (
    HttpAnswer,
    RequestIds,
    error_response,
    receipt_response,
    request_id_of,
    send_answer,
)
from app.api.headers import RawHeaders
from app.api_keys import ApiKeys
from app.errors import OutcomeUnknown, RequestError, UnsupportedMedia
from app.group import Answer, Receipt, Reply
from app.schema import Kind
from app.submission import Submission, WireFormat

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
"""text/plain is what browsers send to stay a simple request; some shippers send none at all."""

BATCH_ID_BYTES_MAX: Final = 255
HEADER_BATCH_ID: Final = b"key:"
"""Before an Idempotency-Key, so that it cannot equal an id that a FlatBuffer carries."""

Wait = Literal["journal", "file"]


class IngestPolicy(msgspec.Struct, frozen=True):
    """max_body_bytes: of one body, as it is sent and unpacked. body_timeout_s: for it to arrive.
    answer_timeout_s: for its group to become durable. publish_timeout_s: for `?wait=file`.
    """

    max_body_bytes: int = 10_000_000
    body_timeout_s: float = 30.0
    answer_timeout_s: float = 30.0
    publish_timeout_s: float = 60.0


class IngestParts(msgspec.Struct, frozen=True):
    """What the endpoints share.

    submit: hands a batch to the commit thread. publish: resolves to whether everything that this workspace
    has had accepted so far is in published files.
    """

    keys: ApiKeys
    admission: Admission
    addresses: ClientAddresses
    request_ids: RequestIds
    submit: Callable[[Submission, Reply], None]
    publish: Callable[[int], Awaitable[bool]]
    policy: IngestPolicy


class _Head(msgspec.Struct):
    """The headers an ingest call looks at."""

    content_type: bytes = b""
    content_encoding: bytes | None = None
    content_length: int | None = None
    batch_id: bytes = b""


class IngestEndpoint:
    """One ingest call as an ASGI application. kind: of the rows, None where the batch says it itself."""

    def __init__(self, wire_format: WireFormat, kind: Kind | None, parts: IngestParts) -> None:
        self._wire_format = wire_format
        self._kind = kind
        self._parts = parts
        self._content_types = (
            FLATBUFFER_CONTENT_TYPES if wire_format is WireFormat.FLATBUFFER else JSON_CONTENT_TYPES
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope, self._parts.request_ids)
        try:
            answer = await self._answer(scope, receive, request_id)
        except RequestError as error:
            answer = error_response(error, request_id)
        await send_answer(send, answer)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> HttpAnswer:
        headers: RawHeaders = scope["headers"]
        credential = authenticate(headers, scope["query_string"], self._parts.keys)
        head = _head(headers)
        if head.content_type not in self._content_types:
            raise UnsupportedMedia(_content_type_message(head.content_type, self._content_types))
        wait = _wait(scope["query_string"])
        receipt = await self._submit(scope, receive, credential, head)
        published = None
        if wait == "file" and receipt.accepted:
            published = await self._parts.publish(credential.workspace_id)
        return receipt_response(receipt, request_id, published=published)

    async def _submit(self, scope: Scope, receive: Receive, credential: Credential, head: _Head) -> Receipt:
        """The bytes of the request count as in flight from before they are read until it is answered."""
        parts, policy = self._parts, self._parts.policy
        workspace_id = credential.workspace_id
        held = policy.max_body_bytes if head.content_length is None else head.content_length
        held = min(held, policy.max_body_bytes)
        parts.admission.enter(workspace_id, held)
        try:
            body = await read_body(receive, scope["headers"], policy.max_body_bytes, policy.body_timeout_s)
            body = await unpack_body(body, head.content_encoding, policy.max_body_bytes)
            address = parts.addresses.of(scope["client"], scope["headers"])
        except BaseException:
            parts.admission.leave(workspace_id, held)
            raise
        parts.admission.resize(workspace_id, held, len(body))
        submission = Submission(
            wire_format=self._wire_format,
            kind=self._kind,
            body=body,
            api_key=credential.api_key,
            workspace_id=workspace_id,
            source_ip=address.source_ip,
            received_ms=time.time_ns() // 1_000_000,
            trusted_forwarder=address.trusted_forwarder,
            batch_id=head.batch_id,
        )
        return await self._committed(submission)

    async def _committed(self, submission: Submission) -> Receipt:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            self._parts.admission.leave(submission.workspace_id, len(submission.body))
            if not answered.done():
                answered.set_result(answer)

        self._parts.submit(submission, reply)
        try:
            async with asyncio.timeout(self._parts.policy.answer_timeout_s):
                answer = await answered
        except TimeoutError:
            raise OutcomeUnknown(
                "The disk is so slow that it is not known whether this batch is durable; "
                "send it again with the same Idempotency-Key."
            ) from None
        if isinstance(answer, RequestError):
            raise answer
        return answer


def _head(headers: RawHeaders) -> _Head:
    head = _Head()
    for name, value in headers:
        if name == b"content-type":
            head.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            head.content_encoding = value
        elif name == b"content-length" and value.isdigit() and len(value) < 19:
            head.content_length = int(value)
        elif name == b"idempotency-key":
            head.batch_id = _batch_id(value)
    return head


def _batch_id(value: bytes) -> bytes:
    if len(value) > BATCH_ID_BYTES_MAX:
        raise RequestError(f"Idempotency-Key is longer than {BATCH_ID_BYTES_MAX} bytes; send a shorter one.")
    return HEADER_BATCH_ID + value if value else b""


def _wait(query_string: bytes) -> Wait:
    if b"wait=" not in query_string:
        return "journal"
    values = [value for name, value in parse_qsl(query_string, keep_blank_values=True) if name == b"wait"]
    if values == [b"file"]:
        return "file"
    if values in ([], [b"journal"]):
        return "journal"
    raise RequestError("`wait` is `journal` or `file`.", code="invalid_parameter")


def _content_type_message(content_type: bytes, known: frozenset[bytes]) -> str:
    allowed = ", ".join(sorted(name.decode() for name in known if name))
    sent = content_type[:100].decode("latin-1")
    return f"Content-Type `{sent}` is not read here; send one of {allowed}."
