"""One endpoint for all calls of app.clients: authenticate, admit, read, translate, submit, wait, answer.

Translating bodies and answers is up to the family; that rows are durable before the answer is the same for
all: see app.api.ingest.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Message, Receive, Scope, Send

from app.api.auth import HOW_TO_SEND_A_KEY, Credential
from app.api.body import read_body
from app.api.charge import Charge
from app.api.client_exchange import Exchange
from app.api.client_keys import client_credential
from app.api.content_encoding import decompress, encoding_of_bytes, joined_encodings
from app.api.error_responses import (
    REQUEST_ID_HEADER,
    HttpAnswer,
    error_response,
    fields_of,
    receipt_status,
    request_id_of,
    send_answer,
    unexpected_response,
)
from app.api.headers import RawHeaders
from app.api.ingest_request import IngestParts, committed
from app.api.wrong_keys import WRONG_KEY
from app.clients.call import ClientAnswer, ClientRequest, Document, Outcome, Rows
from app.clients.table import Path
from app.decode.utf8 import utf8_of
from app.errors import (
    DecoderFailed,
    MalformedBatch,
    Overloaded,
    RequestError,
    Unauthenticated,
    UnsupportedMedia,
)
from app.submission import Answer, Messages, RowRefusal, Submission, WireFormat

INLINE_BYTES_MAX: Final = 64 << 10
"""Bodies up to this size are translated on the event loop, since a thread would cost more."""

TRANSLATING_MAX: Final = 2
"""Larger bodies that are decompressed and translated at the same time."""

SNIFFED_BYTES: Final = 4096
"""Bytes of a body that are inspected to distinguish protocols that share a path."""

_OF_THE_BODY: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})

ENCODINGS_MAX: Final = 2
"""Nested encodings that are recognised by the bytes themselves."""

_SHOWN_BY_BYTES: Final = frozenset({"gzip", "x-gzip", "zstd"})

_log = logging.getLogger(__name__)


class ClientCalls:
    """State shared by all client endpoints."""

    def __init__(self, parts: IngestParts) -> None:
        self.parts = parts
        self.translating = asyncio.Semaphore(TRANSLATING_MAX)

    def unpack(self, data: bytes, encoding: str) -> bytes:
        return decompress(data, encoding or encoding_of_bytes(data), self.parts.policy.max_body_bytes)

    def unpack_body(self, body: bytes, encoding: str) -> bytes:
        """The body after removing the encodings of the header, if it has them, and those recognised by its
        bytes.

        A gzip header on a body that is not gzip is left by proxies that have decompressed it.
        """
        if encoding and not (encoding in _SHOWN_BY_BYTES and not encoding_of_bytes(body)):
            body = self.unpack(body, encoding)
        for _ in range(ENCODINGS_MAX):
            if not encoding_of_bytes(body):
                break
            body = self.unpack(body, "")
        return body


class ClientEndpoint:
    """All calls that are served at one path, as an ASGI application."""

    def __init__(self, path: Path, shared: ClientCalls) -> None:
        self._path = path
        self._shared = shared
        self._parts = shared.parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope, self._parts.request_ids)
        request = _request(scope, self._shared)
        fixed = self._path.fixed_of(request.method)
        if fixed is not None:
            answer = fixed.answer(request)
        elif request.method == "HEAD":
            answer = ClientAnswer(200)
        elif request.method == "OPTIONS":  # not a preflight: those are answered before
            answer = ClientAnswer(200, headers={"allow": ", ".join((*self._path.methods, "OPTIONS"))})
        else:
            await send_answer(send, await self._answer(self._exchange(scope, request_id), receive))
            return
        await send_answer(send, _http(answer, request_id))

    def takes_head(self, scope: Scope) -> bool:
        """On a path shared with a native call: whether the head alone shows that the request belongs here."""
        return scope["method"] != "POST" or self.takes_headers(scope["headers"])

    def takes_headers(self, headers: RawHeaders) -> bool:
        """The same for POST."""
        content_type = _header(headers, b"content-type").partition(b";")[0].strip().lower()
        return self._path.call_of("POST", content_type.decode("latin-1"), b"") is not None

    def takes_body(self, content_type: bytes, body: bytes | bytearray) -> bool:
        """The same for a body, decompressed or as sent."""
        return (
            self._path.call_of("POST", content_type.decode("latin-1"), utf8_of(bytes(body[:SNIFFED_BYTES])))
            is not None
        )

    @property
    def takes_only_bodies(self) -> bool:
        """Whether each POST to this path is a call with rows."""
        return self._path.fixed_of("POST") is None and any(
            "POST" in call.methods for call in self._path.calls
        )

    def credential_of_head(self, headers: RawHeaders, query_string: bytes) -> Credential | None:
        """None if the key must be in the body. Raises Unauthenticated."""
        return client_credential(_texts(headers), _query(query_string), None, self._parts.keys)

    async def answer_received(
        self, scope: Scope, body: bytes, credential: Credential, charge: Charge, request_id: str
    ) -> HttpAnswer:
        """Handles a body that has been received, and whose bytes have been charged to this credential.

        scope: with method, path, query_string, headers and client. Raises Unauthenticated.
        """
        exchange = self._exchange(scope, request_id)
        exchange.adopt(credential, charge)
        try:
            outcome = await self.taken(exchange, body)
        except Unauthenticated:
            raise
        except RequestError as error:
            outcome = outcome_of_error(error)
        except Exception as error:
            return unexpected_response(error, request_id, scope)
        finally:
            exchange.release()
        return self._rendered(outcome, exchange)

    def refusal(self, error: RequestError, scope: Scope, request_id: str) -> HttpAnswer:
        """The answer to a request whose body was not read, or whose outcome is not known."""
        return self._rendered(outcome_of_error(error), self._exchange(scope, request_id))

    def _exchange(self, scope: Scope, request_id: str) -> Exchange:
        exchange = Exchange(_request(scope, self._shared), scope, request_id)
        exchange.call = (
            self._path.call_of(exchange.request.method, exchange.content_type, b"") or self._path.calls[0]
        )
        return exchange

    def _rendered(self, outcome: Outcome, exchange: Exchange) -> HttpAnswer:
        answer = exchange.call.family.answer(outcome, exchange.request, exchange.document)
        return _http(answer, exchange.request_id)

    async def replay(self, scope: Scope, body: bytes, send: Send) -> None:
        """Handles a request whose body has been read and decompressed."""
        headers = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_BODY]
        headers.append((b"content-length", b"%d" % len(body)))

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self({**scope, "headers": headers}, receive, send)

    async def _answer(self, exchange: Exchange, receive: Receive) -> HttpAnswer:
        try:
            outcome = await self._outcome(exchange, receive)
        except RequestError as error:
            if isinstance(error, Unauthenticated):
                exchange.scope[WRONG_KEY] = True
            outcome = outcome_of_error(error)
        return self._rendered(outcome, exchange)

    async def _outcome(self, exchange: Exchange, receive: Receive) -> Outcome:
        parts, policy = self._parts, self._parts.policy
        request = exchange.request
        exchange.credential = client_credential(request.headers, request.query, None, parts.keys)
        length = request.headers.get("content-length", "")
        held = int(length) if length.isdecimal() and len(length) < 19 else policy.max_body_bytes
        charge = exchange.hold(parts, min(held, policy.max_body_bytes))
        try:
            headers: RawHeaders = exchange.scope["headers"]
            body = await read_body(receive, headers, policy.max_body_bytes, policy.body_timeout_s, charge)
            return await self.taken(exchange, body)
        finally:
            exchange.release()

    async def taken(self, exchange: Exchange, body: bytes) -> Outcome:
        """Handles a body whose bytes have been charged."""
        parts = self._parts
        if len(body) <= INLINE_BYTES_MAX and not exchange.is_packed(body):
            document = self._translated(exchange, body)
        else:
            try:
                async with asyncio.timeout(parts.policy.answer_timeout_s):
                    await self._shared.translating.acquire()
            except TimeoutError:
                raise Overloaded(
                    "Too many bodies are waiting to be read; send this one again.", retry_after_s=2
                ) from None
            try:
                document = await asyncio.to_thread(self._translated, exchange, body)
            finally:
                self._shared.translating.release()
        exchange.document = document
        if document.key is not None or exchange.credential is None:
            request = exchange.request
            credential = client_credential(request.headers, request.query, document.key, parts.keys)
            if credential is None:
                raise Unauthenticated(f"No API key was sent; {HOW_TO_SEND_A_KEY}.")
            exchange.move(parts, credential)
        submissions = [_submission(exchange, rows, document, parts) for rows in document.rows]
        if not any(submission.body or _refused(submission) for submission in submissions):
            return Outcome(receipt_status(0, 0))
        exchange.pass_on(sum(len(submission.body) for submission in submissions))
        return _together(await asyncio.gather(*(committed(parts, each) for each in submissions)))

    def _translated(self, exchange: Exchange, body: bytes) -> Document:
        request = exchange.request
        body = self._shared.unpack_body(body, request.headers.get("content-encoding", "").strip().lower())
        if "protobuf" not in exchange.content_type:
            body = utf8_of(body)
        call = self._path.call_of(request.method, exchange.content_type, body)
        if call is None:
            raise UnsupportedMedia(f"Content-Type `{exchange.content_type[:100]}` is not supported here.")
        exchange.call = call
        exchange.request = request = msgspec.structs.replace(request, body=body)
        try:
            document = call.family.read(request)
        except RecursionError:
            raise MalformedBatch("the body is nested too deeply") from None
        except RequestError:
            raise
        except Exception:
            _log.exception(
                "a body of %s could not be translated",
                call.family.name,
                extra=fields_of(exchange.request_id, exchange.scope),
            )
            raise DecoderFailed("The body could not be processed because of a bug in the service.") from None
        if document.refused and not document.rows:
            raise MalformedBatch(str(document.refused[0]))
        return document


def _header(headers: RawHeaders, wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _request(scope: Scope, shared: ClientCalls) -> ClientRequest:
    headers = _texts(scope["headers"])
    encodings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if len(encodings) > 1:
        headers["content-encoding"] = (joined_encodings(encodings) or b"").decode("latin-1")
    return ClientRequest(
        scope["method"],
        scope["path"],
        scope.get("path_params", {}),
        _query(scope["query_string"]),
        headers,
        time.time_ns() // 1_000_000,
        shared.unpack,
    )


def _texts(headers: RawHeaders) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _query(query_string: bytes) -> dict[str, str]:
    return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)) if query_string else {}


def _submission(exchange: Exchange, rows: Rows, document: Document, parts: IngestParts) -> Submission:
    assert exchange.credential is not None
    scope = exchange.scope
    address = parts.addresses.of(scope["client"], scope["headers"])
    first = rows is document.rows[0]
    return Submission(
        wire_format=WireFormat.JSON,
        kind=rows.kind,
        body=b"[%b]" % b",".join(rows.lines) if rows.lines else b"",
        api_key=exchange.credential.api_key,
        workspace_id=exchange.credential.workspace_id,
        source_ip=address.source_ip,
        received_ms=exchange.request.received_ms,
        trusted_forwarder=address.trusted_forwarder,
        batch_id=document.batch_id and document.batch_id + b":" + rows.kind.encode(),
        messages=Messages(
            rows.numbers, _hashed(exchange.call.family.name, rows.ids), document.refused if first else ()
        ),
    )


def _hashed(family: str, ids: list[bytes]) -> bytes:
    """Ids of messages as they are remembered; families do not share theirs."""
    if not any(ids):
        return b""
    family_name, size, none = family[:16].encode(), Messages.ID_BYTES, bytes(Messages.ID_BYTES)
    return b"".join(
        [blake2b(each, digest_size=size, person=family_name).digest() if each else none for each in ids]
    )


def _refused(submission: Submission) -> bool:
    return submission.messages is not None and bool(submission.messages.refused)


def _together(answers: list[Answer]) -> Outcome:
    """The outcome of all kinds of rows that one body holds; an error of one is the error of all."""
    accepted = rejected = 0
    refusals: list[RowRefusal] = []
    for answer in answers:
        if isinstance(answer, RequestError):
            return outcome_of_error(answer)
        accepted += answer.accepted
        rejected += answer.rejected
        refusals += answer.refusals
    refusals.sort(key=lambda refusal: refusal.row)
    return Outcome(
        receipt_status(accepted, rejected), accepted=accepted, rejected=rejected, refusals=refusals
    )


def outcome_of_error(error: RequestError) -> Outcome:
    answer = error_response(error, "")
    retry_after = next((int(value) for name, value in answer.headers if name == b"retry-after"), None)
    return Outcome(answer.status, error.code, error.message, retry_after)


def _http(answer: ClientAnswer, request_id: str) -> HttpAnswer:
    headers: RawHeaders = [(REQUEST_ID_HEADER, request_id.encode("ascii"))]
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    extra: Mapping[str, str] = answer.headers
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
    return HttpAnswer(answer.status, headers, answer.body)
