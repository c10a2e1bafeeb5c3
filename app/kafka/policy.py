"""How the service connects to Kafka."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

FRAME_MARGIN_BYTES: Final = 4096
"""What Kafka's own headers may add to a frame, which must stay below the topic's max.message.bytes."""


class Role(StrEnum):
    """all: takes batches and publishes. ingest: takes batches, keeps nothing. writer: publishes alone."""

    ALL = "all"
    INGEST = "ingest"
    WRITER = "writer"


class KafkaPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """brokers: host:port, separated by commas. topic: it exists. consumer_group: of the writers.

    send_timeout_s: until a frame is replicated; then its outcome is unknown. queue_bytes: frames that the
    client library holds. fetch_bytes: records read ahead, for each partition. session_timeout_s: a writer
    without heartbeats for this long loses its partitions. accept_loss: continue even if records have expired
    before they were published. properties: further settings of the client library (security).
    """

    brokers: str
    topic: str
    consumer_group: str = "parquet-sink"
    send_timeout_s: float = 10.0
    queue_bytes: int = 128_000_000
    fetch_bytes: int = 16_000_000
    session_timeout_s: float = 10.0
    accept_loss: bool = False
    properties: Mapping[str, str] = MappingProxyType({})
