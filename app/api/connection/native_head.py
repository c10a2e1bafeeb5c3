"""The head of a native ingest call on the fast lane."""

from typing import NamedTuple

from app.api.auth import Credential
from app.api.client_address import Client
from app.api.client_calls import SNIFFED_BYTES
from app.api.connection.lane_head import WaitingRequest
from app.api.connection.request_head import PlainHead
from app.api.error_responses import HttpAnswer
from app.api.ingest_request import (
    IngestCall,
    IngestHead,
    IngestParts,
    http_answer,
    packed_as,
    read_head,
    submission_of,
)
from app.decode.utf8 import utf8_of
from app.errors import RequestError
from app.submission import Answer, Body, WireFormat


class NativeHead(NamedTuple):
    """See LaneHead."""

    data: bytes
    plain: PlainHead
    call: IngestCall
    ingest: IngestHead
    parts: IngestParts

    @property
    def credential(self) -> Credential:
        return self.ingest.credential

    def with_length(self, data: bytes, content_length: int) -> "NativeHead":
        return NativeHead(data, self.plain.with_length(content_length), self.call, self.ingest, self.parts)

    def answer(self, answer: Answer, client: Client, request_id: str) -> HttpAnswer:
        return http_answer(answer, request_id, self.ingest)

    def submit(self, body: Body, request: WaitingRequest, client: Client) -> bool:
        if packed_as(self.call, body) is not None or not self._is_theirs(body):
            return False
        submission = submission_of(self.call, self.ingest, body, client, self.plain.headers, self.parts)
        try:
            self.parts.submit(submission, request)
        except RequestError as error:
            request(error)
        else:
            request.submitted = True
        return True

    def _is_theirs(self, body: Body) -> bool:
        """Whether a body is for the native call itself and not for another protocol."""
        if self.call.wire_format is not WireFormat.JSON:
            return True
        path = self.parts.clients.at(self.call.path)
        content_type = self.ingest.content_type.decode("latin-1")
        return (
            path is None or path.call_of("POST", content_type, utf8_of(bytes(body[:SNIFFED_BYTES]))) is None
        )


def native_head(data: bytes, plain: PlainHead, call: IngestCall, parts: IngestParts) -> NativeHead | None:
    """None if the ASGI route must answer."""
    if plain.is_packed:
        return None
    try:
        ingest = read_head(call, plain.headers, plain.query_string, parts.keys)
    except RequestError:
        return None
    if ingest.wait != "journal" or ingest.is_form:
        return None
    return NativeHead(data, plain, call, ingest, parts)
