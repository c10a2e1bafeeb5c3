"""What all fast connections of one server share."""

from typing import Final

from app.api.access_log import AccessLog
from app.api.client_calls import SNIFFED_BYTES
from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.connection.seats import Seats
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import INGEST_CALLS, IngestCall, IngestHead, IngestParts
from app.submission import Body, WireFormat

RECEIVE_BYTES: Final = 64 << 10
"""Of the buffer that all connections share for heads and small bodies: each read empties it at once."""


class Shared:
    """calls: the ingest calls by path. received: where bytes of a head or a small body arrive."""

    def __init__(
        self, parts: IngestParts, metrics: HttpMetrics, policy: ConnectionPolicy, access: AccessLog
    ) -> None:
        self.parts = parts
        self.metrics = metrics
        self.access = access
        self.policy = policy
        self.seats = Seats(policy.address_connections_max, parts.addresses)
        self.clients = parts.clients
        self.calls = {call.path.encode(): call for call in INGEST_CALLS}
        self.received = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.received)

    def is_plain(self, call: IngestCall, head: IngestHead, body: Body) -> bool:
        """Whether a body that is not packed is what the call itself reads, and of no other protocol."""
        if call.wire_format is not WireFormat.JSON:
            return True
        path = self.clients.at(call.path)
        start = bytes(body[:SNIFFED_BYTES])
        return path is None or path.call_of("POST", head.content_type.decode("latin-1"), start) is None
