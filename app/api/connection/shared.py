"""State shared by all fast connections of one server."""

from typing import Final

from app.api.access_log import AccessLog
from app.api.client_calls import SNIFFED_BYTES
from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.connection.seats import Seats
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import INGEST_CALLS, IngestCall, IngestHead, IngestParts
from app.decode.utf8 import utf8_of
from app.submission import Body, WireFormat

RECEIVE_BYTES: Final = 64 << 10
"""Size of the buffer that all connections share for heads and small bodies: each read is consumed
immediately."""


class Shared:
    """calls: the ingest calls by path. received: the buffer for bytes of a head or a small body."""

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
        """Whether an uncompressed body is for the native call itself and not for another protocol."""
        if call.wire_format is not WireFormat.JSON:
            return True
        path = self.clients.at(call.path)
        start = utf8_of(bytes(body[:SNIFFED_BYTES]))
        return path is None or path.call_of("POST", head.content_type.decode("latin-1"), start) is None
