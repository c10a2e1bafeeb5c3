"""The head of a request that the fast lane handles, of the native calls or of another client's protocol."""

from typing import Protocol

from app.api.auth import Credential
from app.api.charge import Charge
from app.api.client_address import Client
from app.api.connection.request_head import PlainHead
from app.api.error_responses import HttpAnswer
from app.submission import Answer, Body


class WaitingRequest(Protocol):
    """A request whose body is complete, and that waits for its answer."""

    charge: Charge
    request_id: str
    submitted: bool

    def __call__(self, answer: Answer) -> None:
        """Answers with the outcome of a batch."""

    def reply(self, answer: HttpAnswer) -> None: ...
    def hand_back(self, body: Body) -> None:
        """The ASGI route answers it."""


class LaneHead(Protocol):
    """data: the bytes of the head, without the empty line."""

    @property
    def data(self) -> bytes: ...
    @property
    def plain(self) -> PlainHead: ...
    @property
    def credential(self) -> Credential: ...

    def with_length(self, data: bytes, content_length: int) -> "LaneHead":
        """The head with these bytes, which differs in its length alone."""

    def answer(self, answer: Answer, client: Client, request_id: str) -> HttpAnswer: ...

    def submit(self, body: Body, request: WaitingRequest, client: Client) -> bool:
        """Takes the body, whose bytes are charged; False if the ASGI route must take it."""
