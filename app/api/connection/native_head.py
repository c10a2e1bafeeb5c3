"""The head of a native ingest call on the fast lane."""

from typing import NamedTuple

from app.api.auth import Credential
from app.api.client_address import Client
from app.api.client_calls import ClientEndpoint
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
from app.errors import RequestError
from app.submission import Answer, Body


class NativeHead(NamedTuple):
    """See LaneHead. elsewhere: the calls of other protocols at the same path."""

    data: bytes
    plain: PlainHead
    call: IngestCall
    ingest: IngestHead
    parts: IngestParts
    elsewhere: ClientEndpoint | None

    @property
    def credential(self) -> Credential:
        return self.ingest.credential

    def with_length(self, data: bytes, content_length: int) -> "NativeHead":
        return self._replace(data=data, plain=self.plain.with_length(content_length))

    def answer(self, answer: Answer, client: Client, request_id: str) -> HttpAnswer:
        return http_answer(answer, request_id, self.ingest)

    def submit(self, body: Body, request: WaitingRequest, client: Client) -> bool:
        if packed_as(self.call, body) is not None:
            return False
        if self.elsewhere is not None and self.elsewhere.takes_body(self.ingest.content_type, body):
            return False
        submission = submission_of(self.call, self.ingest, body, client, self.plain.headers, self.parts)
        try:
            self.parts.submit(submission, request)
        except RequestError as error:
            request(error)
        else:
            request.submitted = True
        return True


def native_head(
    data: bytes, plain: PlainHead, call: IngestCall, parts: IngestParts, elsewhere: ClientEndpoint | None
) -> NativeHead | None:
    """None if the ASGI route must answer."""
    if plain.is_packed:
        return None
    try:
        ingest = read_head(call, plain.headers, plain.query_string, parts.keys)
    except RequestError:
        return None
    if ingest.wait != "journal" or ingest.is_form:
        return None
    return NativeHead(data, plain, call, ingest, parts, elsewhere)
