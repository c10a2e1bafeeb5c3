"""State shared by all fast connections of one server."""

from typing import Final

from app.api.access_log import AccessLog
from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.connection.plain_heads import LaneCalls
from app.api.connection.seats import Seats
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import IngestParts

RECEIVE_BYTES: Final = 64 << 10
"""Size of the buffer that all connections share for heads and small bodies: each read is consumed
immediately."""


class Shared:
    """received: the buffer for bytes of a head or a small body."""

    def __init__(
        self,
        parts: IngestParts,
        calls: LaneCalls,
        metrics: HttpMetrics,
        policy: ConnectionPolicy,
        access: AccessLog,
    ) -> None:
        self.parts = parts
        self.calls = calls
        self.metrics = metrics
        self.access = access
        self.policy = policy
        self.seats = Seats(policy.address_connections_max, parts.addresses)
        self.received = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.received)
