"""What all fast connections of one server share."""

from typing import Final

from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import INGEST_CALLS, IngestParts

RECEIVE_BYTES: Final = 64 << 10
"""Of the buffer that all connections share for heads and small bodies: each read empties it at once."""


class Shared:
    """calls: the ingest calls by path. received: where bytes of a head or a small body arrive."""

    def __init__(self, parts: IngestParts, metrics: HttpMetrics, policy: ConnectionPolicy) -> None:
        self.parts = parts
        self.metrics = metrics
        self.policy = policy
        self.calls = {call.path.encode(): call for call in INGEST_CALLS}
        self.received = bytearray(RECEIVE_BYTES)
