"""The fast lane on a real socket, in front of a commit thread that the test plays, and of an ASGI application
that says that it was asked."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.api.access_log import AccessLog
from app.api.api_keys import ApiKeys
from app.api.client_address import ClientAddresses
from app.api.client_calls import ClientCalls, ClientEndpoint
from app.api.connection.fast_lane import FastLane
from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.error_responses import RequestIds
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import IngestParts, IngestPolicy
from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.kinds import Kind
from app.submission import Receipt, Reply, Submission

KEY: Final = bytes(range(16))
POLICY: Final = ConnectionPolicy(max_header_bytes=2_000, request_timeout_s=0.4, keep_alive_s=0.4)
PATIENT: Final = ConnectionPolicy(max_header_bytes=2_000, request_timeout_s=20.0, keep_alive_s=20.0)


def request(body: bytes = b"{}", *headers: str, path: str = "/v1/events") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {KEY.hex()}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def ingest_parts(
    keys: ApiKeys,
    admission: Admission,
    submit: Callable[[Submission, Reply], None],
    answer_timeout_s: float = 20.0,
) -> IngestParts:
    return IngestParts(
        keys,
        admission,
        ClientAddresses(),
        RequestIds(),
        submit,
        _publish,
        IngestPolicy(max_body_bytes=300_000, answer_timeout_s=answer_timeout_s),
    )


def endpoints_of(parts: IngestParts) -> dict[str, ClientEndpoint]:
    calls = ClientCalls(parts)
    return {path.path: ClientEndpoint(path, calls) for path in parts.clients}


async def _publish(workspace_id: int) -> bool:
    raise AssertionError("not for the fast lane")


class Lane:
    """submitted: what reached the commit thread, in order. answering: whether it is answered at once.

    handed_over: requests that the ASGI application was asked, as method and path.
    """

    def __init__(self, policy: ConnectionPolicy, inflight_bytes: int, connections_max: int | None) -> None:
        self.submitted: list[tuple[Submission, Reply]] = []
        self.handed_over: list[str] = []
        self.answering = True
        self.arrived = asyncio.Event()
        levels = Levels(0, 1 << 40, 1 << 40)
        self.admission = Admission(
            AdmissionPolicy(max_inflight_bytes=inflight_bytes), lambda: levels, lambda code: None
        )
        self.registry = CollectorRegistry()
        parts = ingest_parts(ApiKeys({KEY: 7}), self.admission, self._submit, policy.request_timeout_s)
        metrics = HttpMetrics(self.registry)
        self.lane = FastLane(parts, endpoints_of(parts), metrics, policy, AccessLog(enabled=False))
        self.state = ServerState()
        self.config = Config(
            self._application,
            interface="asgi3",
            limit_concurrency=connections_max,
            log_config=None,
            proxy_headers=False,
            ws="none",
        )
        self.config.load()
        self.port = 0

    def _submit(self, submission: Submission, reply: Reply) -> None:
        self.submitted.append((submission, reply))
        self.arrived.set()
        if self.answering:
            reply(Receipt(Kind.EVENTS, len(submission.body)))

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.handed_over.append(f"{scope['method']} {scope['path']}")
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 299, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def bodies(self) -> list[bytes]:
        return [bytes(submission.body) for submission, _ in self.submitted]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer

    async def idle(self) -> None:
        """Until no connection is left."""
        async with asyncio.timeout(10):
            while self.state.connections:  # noqa: ASYNC110  uvicorn tells nobody when one ends
                await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    policy: ConnectionPolicy = PATIENT, inflight_bytes: int = 1_000_000, connections_max: int | None = None
) -> AsyncIterator[Lane]:
    """A lane that must hold no bytes and no connection when all clients have gone."""
    lane = Lane(policy, inflight_bytes, connections_max)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, uvloop.Loop)
    server = await loop.create_server(lambda: lane.lane(lane.config, lane.state, {}, loop), "127.0.0.1", 0)
    lane.port = server.sockets[0].getsockname()[1]
    try:
        yield lane
        for connection in list(lane.state.connections):
            connection.shutdown()
        await lane.idle()
        assert lane.admission.inflight_bytes == 0
    finally:
        server.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
