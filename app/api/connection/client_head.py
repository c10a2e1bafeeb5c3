"""The head of a call of another client's protocol on the fast lane."""

import asyncio
from typing import NamedTuple

from app.api.auth import Credential
from app.api.client_address import Client
from app.api.client_calls import ClientEndpoint
from app.api.connection.lane_head import WaitingRequest
from app.api.connection.request_head import PlainHead
from app.api.error_responses import HttpAnswer
from app.errors import RequestError, Unauthenticated
from app.submission import Answer, Body


class ClientHead(NamedTuple):
    """See LaneHead. tasks: where the server finds what it must wait for when it stops."""

    data: bytes
    plain: PlainHead
    credential: Credential
    endpoint: ClientEndpoint
    tasks: "set[asyncio.Task[None]]"

    def with_length(self, data: bytes, content_length: int) -> "ClientHead":
        return self._replace(data=data, plain=self.plain.with_length(content_length))

    def answer(self, answer: Answer, client: Client, request_id: str) -> HttpAnswer:
        assert isinstance(answer, RequestError), "other answers are made by the endpoint"
        return self.endpoint.refusal(answer, self._scope(client), request_id)

    def submit(self, body: Body, request: WaitingRequest, client: Client) -> bool:
        request.submitted = True
        task = asyncio.get_running_loop().create_task(self._answer(bytes(body), request, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    async def _answer(self, body: bytes, request: WaitingRequest, client: Client) -> None:
        scope = self._scope(client)
        try:
            answer = await self.endpoint.answer_received(
                scope, body, self.credential, request.charge, request.request_id
            )
        except Unauthenticated:
            # Because of a key in the body. Such answers are delayed there.
            request.hand_back(body)
        else:
            request.reply(answer)

    def _scope(self, client: Client) -> dict[str, object]:
        """What the endpoint reads of an ASGI scope."""
        return {
            "type": "http",
            "method": "POST",
            "path": self.plain.path.decode("ascii"),
            "query_string": self.plain.query_string,
            "headers": self.plain.headers,
            "client": client,
        }


def client_head(
    data: bytes, plain: PlainHead, endpoint: ClientEndpoint, tasks: "set[asyncio.Task[None]]"
) -> ClientHead | None:
    """None if the ASGI route must answer."""
    try:
        credential = endpoint.credential_of_head(plain.headers, plain.query_string)
    except Unauthenticated:
        return None
    return None if credential is None else ClientHead(data, plain, credential, endpoint, tasks)
