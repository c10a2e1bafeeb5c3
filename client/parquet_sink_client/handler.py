"""A handler for `logging`."""

from __future__ import annotations

import logging
import socket

from parquet_sink_client.client import Client

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; all others were given as `extra`."""

TAKEN = frozenset({"message", "level", "source", "service", "timestamp"})


class SinkHandler(logging.Handler):
    """Sends records as logs. service: of all of them. source: the machine, by default its name."""

    def __init__(self, client: Client, *, service: str | None = None, source: str | None = None) -> None:
        super().__init__()
        self._client = client
        self._service = service
        self._source = source or socket.gethostname()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("parquet_sink_client"):
            return  # its own words about sending would never end
        try:
            extra = {
                (f"extra_{name}" if name in TAKEN else name): value
                for name, value in vars(record).items()
                if name not in STANDARD
            }
            if record.exc_info:
                extra["exception"] = logging.Formatter().formatException(record.exc_info)
            self._client.log(
                record.getMessage(),
                level=_level(record.levelno),
                source=self._source,
                service=self._service,
                timestamp=record.created,
                logger=record.name,
                **extra,
            )
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        self._client.flush(1.0)


def _level(number: int) -> str:
    for least, name in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"), (10, "debug")):
        if number >= least:
            return name
    return "trace"
