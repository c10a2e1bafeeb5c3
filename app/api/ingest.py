"""The ingest calls as plain ASGI endpoints: authenticate, admit, read, submit, wait, answer.

This is the reference path, which handles every request. Plain requests are handled by `fast_lane.py` with the
same functions.
"""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

from app.api.body import is_one_line, read_body, unpack_body
from app.api.charge import Charge
from app.api.client_calls import ENCODINGS_MAX, ClientEndpoint
from app.api.content_encoding import is_encoded
from app.api.error_responses import (
    WORKSPACE_KEY,
    HttpAnswer,
    error_response,
    methods_answer,
    request_id_of,
    send_answer,
)
from app.api.ingest_request import (
    IngestCall,
    IngestHead,
    IngestParts,
    check_form,
    committed,
    http_answer,
    packed_as,
    read_head,
    submission_of,
)
from app.errors import BodyTooLarge, MalformedBatch, Overloaded, RequestError
from app.submission import Answer

LINE_BYTES_MAX: Final = 64 << 20
"""Bytes of a too large body that are read to see whether it is a single row, which smaller batches would not
help."""

UNPACKING_MAX: Final = 2
"""Compressed bodies that are decompressed at the same time: each may grow to IngestPolicy.max_body_bytes."""


class OtherProtocol(Exception):
    """A body that belongs to another protocol's call. body: decompressed."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


class IngestEndpoint:
    """One ingest call as an ASGI application."""

    def __init__(self, call: IngestCall, parts: IngestParts, elsewhere: ClientEndpoint | None = None) -> None:
        """elsewhere: handles bodies of other protocols posted to the same path."""
        self._call = call
        self._parts = parts
        self._elsewhere = elsewhere
        self._unpacking = asyncio.Semaphore(UNPACKING_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope, self._parts.request_ids)
        if scope["method"] in ("HEAD", "OPTIONS"):
            # Probes of shippers, and what is no preflight: those are answered before.
            await send_answer(send, methods_answer(request_id))
            return
        elsewhere = self._elsewhere
        if elsewhere is not None and elsewhere.takes_head(scope):
            await elsewhere(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive, request_id)
        except OtherProtocol as other:
            assert elsewhere is not None
            await elsewhere.replay(scope, other.body, send)
            return
        except RequestError as error:
            answer = error_response(error, request_id)
        await send_answer(send, answer)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> HttpAnswer:
        head = read_head(self._call, scope["headers"], scope["query_string"], self._parts.keys)
        scope[WORKSPACE_KEY] = head.credential.workspace_id
        try:
            answer = await self._submit(scope, receive, head)
        except BodyTooLarge as error:
            if head.is_tell and await is_one_line(receive, LINE_BYTES_MAX):
                raise MalformedBatch(f"This body is a single row. {error.message}") from None
            raise
        except RequestError as error:
            # Its traceback holds the body, and this frame would hold the traceback until a collection.
            answer = error.with_traceback(None)
        published = None
        if head.wait == "file" and not isinstance(answer, RequestError) and answer.accepted:
            published = await self._parts.publish(head.credential.workspace_id)
        return http_answer(answer, request_id, head, published=published)

    async def _submit(self, scope: Scope, receive: Receive, head: IngestHead) -> Answer:
        """The bytes of the request count as in flight from before they are read until it is answered."""
        parts, policy = self._parts, self._parts.policy
        workspace_id = head.credential.workspace_id
        length = policy.max_body_bytes if head.content_length is None else head.content_length
        charge = Charge(parts.admission, workspace_id, min(length, policy.max_body_bytes))
        charge.begin()
        try:
            body = await read_body(
                receive, scope["headers"], policy.max_body_bytes, policy.body_timeout_s, charge
            )
            encoding = (
                head.content_encoding if is_encoded(head.content_encoding) else packed_as(self._call, body)
            )
            for _ in range(ENCODINGS_MAX):
                if encoding is None:
                    break
                body = await self._unpacked(body, encoding, charge)
                encoding = packed_as(self._call, body)
            charge.settle(len(body))
            if self._elsewhere is not None and self._elsewhere.takes_body(head.content_type, body):
                raise OtherProtocol(body)
            check_form(head, body)
            submission = submission_of(self._call, head, body, scope["client"], scope["headers"], parts)
        except BaseException:
            charge.end()
            raise
        return await committed(parts, submission)

    async def _unpacked(self, body: bytes, encoding: bytes, charge: Charge) -> bytes:
        """The body without its encoding, admitted for its new size.

        The growth during decompression is not charged, so only a few bodies are decompressed at a time; the
        others wait compressed.
        """
        policy = self._parts.policy
        try:
            async with asyncio.timeout(policy.answer_timeout_s):
                await self._unpacking.acquire()
        except TimeoutError:
            raise Overloaded(
                "Too many bodies are waiting to be decompressed; send this one again.", retry_after_s=2
            ) from None
        try:
            unpacked = await unpack_body(body, encoding, policy.max_body_bytes)
            charge.settle(len(unpacked))
        finally:
            self._unpacking.release()
        return unpacked
