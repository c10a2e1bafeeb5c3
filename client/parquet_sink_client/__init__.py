"""Sends events, logs, snapshots and data frames to a Parquet Sink, and loses none.

from parquet_sink_client import Client
sink = Client("https://sink.example.com", "KEY", spool="/var/spool/my-app")
sink.track("signed_up", device_id="user-1", properties={"plan": "pro"})
sink.close()
"""

from parquet_sink_client.client import Client
from parquet_sink_client.handler import SinkHandler
from parquet_sink_client.memory import SinkFull
from parquet_sink_client.post import Refused

__all__ = ["Client", "Refused", "SinkFull", "SinkHandler"]
