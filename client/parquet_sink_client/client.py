"""What a program uses: rows in, batches out in the background."""

from __future__ import annotations

import atexit
import json
import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from typing import Any

from parquet_sink_client.batch import KINDS
from parquet_sink_client.frames import lines_of
from parquet_sink_client.memory import MemoryStore
from parquet_sink_client.post import Poster, Refused, TryAgain
from parquet_sink_client.spool import SpoolStore

log = logging.getLogger("parquet_sink_client")

PAUSE_S = 0.2
PAUSE_S_MAX = 30.0
"""The pause between retries, unless the service names one: doubled each time, up to the second value."""


class Client:
    """One for each process. From any thread.

    url, key: of the service. spool: a directory in which rows wait; None: in memory.
    interval_s: how long rows are gathered. batch_rows, batch_bytes: when a batch is cut before that.
    memory_bytes_max: what may wait without a spool; beyond it calls raise SinkFull.
    sync: with a spool, each row survives a power cut, and takes as long as the disk does.
    exit_timeout_s: how long `close` and the end of the process wait for what is not answered.
    on_refused: told what the service will never take, on the sending thread.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        spool: str | os.PathLike[str] | None = None,
        interval_s: float = 1.0,
        batch_rows: int = 500,
        batch_bytes: int = 1_000_000,
        memory_bytes_max: int = 64_000_000,
        sync: bool = False,
        compress: bool = True,
        timeout_s: float = 30.0,
        exit_timeout_s: float = 10.0,
        on_refused: Callable[[Refused], None] | None = None,
    ) -> None:
        self._store: MemoryStore | SpoolStore = (
            MemoryStore(batch_rows, batch_bytes, memory_bytes_max)
            if spool is None
            else SpoolStore(spool, batch_rows, batch_bytes, sync=sync)
        )
        self._poster = Poster(url, key, timeout_s, compress=compress)
        self._batch_bytes = batch_bytes
        self._interval_s = interval_s
        self._exit_timeout_s = exit_timeout_s
        self._on_refused = on_refused or _warn
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._flushing = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="parquet-sink", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def track(
        self,
        event: str,
        *,
        device_id: object = None,
        user_id: object = None,
        session_id: object = None,
        timestamp: datetime | float | None = None,
        properties: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Something that happened. others: further members of the payload. Raises SinkFull, OSError."""
        row = {"type": "track", "event": event, "timestamp": _time(timestamp)}
        ids = {"device_id": device_id, "user_id": user_id, "session_id": session_id}
        row.update({name: str(value) for name, value in ids.items() if value is not None})
        if properties:
            row["properties"] = dict(properties)
        self.send("events", {**others, **row})

    def log(
        self,
        message: str,
        *,
        level: str = "info",
        source: str | None = None,
        service: str | None = None,
        timestamp: datetime | float | None = None,
        **data: Any,
    ) -> None:
        """A log line. data: further members of the payload. Raises SinkFull, OSError."""
        row: dict[str, Any] = {"message": message, "level": level, "timestamp": _time(timestamp)}
        row.update({name: text for name, text in (("source", source), ("service", service)) if text})
        if data:
            row["data"] = data
        self.send("logs", row)

    def snapshot(
        self,
        source: str,
        entity: str,
        metrics: Mapping[str, Any],
        *,
        timestamp: datetime | float | None = None,
    ) -> None:
        """The state of something at one moment. Raises SinkFull, OSError."""
        self.send(
            "snapshots",
            {"source": source, "entity": entity, "timestamp": _time(timestamp), "metrics": dict(metrics)},
        )

    def send(self, kind: str, row: Mapping[str, Any]) -> None:
        """A row as the service's JSON has it. Raises SinkFull, OSError."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        self._add(kind, json.dumps(row, default=_plain).encode() + b"\n")

    def send_frame(self, kind: str, frame: Any) -> None:
        """Every row of an Arrow table, a pandas or a Polars frame. Raises SinkFull, OSError.

        Columns are the members of the rows: timestamp, event, device_id, message, level, …; those that the
        service does not know go to the payload.
        """
        for line in lines_of(frame):
            self._add(kind, line + b"\n")

    def flush(self, timeout_s: float | None = None) -> bool:
        """Waits until everything so far is answered; False when that takes longer."""
        with self._changed:
            self._flushing += 1
            self._wake.set()
            try:
                return self._changed.wait_for(self._store.is_empty, timeout_s)
            finally:
                self._flushing -= 1

    def close(self) -> None:
        """Sends what waits, for at most exit_timeout_s. With a spool the next process sends the rest."""
        if self._closed:
            return
        atexit.unregister(self.close)
        self.flush(self._exit_timeout_s)
        self._closed = True
        self._wake.set()
        self._thread.join(self._exit_timeout_s)
        self._store.close()

    def _add(self, kind: str, line: bytes) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._store.add(kind, line):
            self._wake.set()

    def _run(self) -> None:
        pause = PAUSE_S
        while not self._closed:
            batch = self._store.first()
            if batch is None:
                self._wake.wait(self._interval_s)
                self._wake.clear()
                self._store.cut()
                with self._changed:
                    self._changed.notify_all()
                continue
            try:
                refused = self._poster.post(batch)
            except TryAgain as why:
                log.info("sending again: %s", why)
                self._pause(why.after_s if why.after_s is not None else pause * random.uniform(0.5, 1))
                pause = min(2 * pause, PAUSE_S_MAX)
                continue
            pause = PAUSE_S
            self._store.done(batch)
            if refused is not None:
                self._tell(refused)
            with self._changed:
                self._changed.notify_all()
        self._poster.close()

    def _pause(self, seconds: float) -> None:
        """Ends early when the client is closed."""
        end = time.monotonic() + seconds
        while not self._closed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def _tell(self, refused: Refused) -> None:
        try:
            self._on_refused(refused)
        except Exception:
            log.exception("on_refused failed")


def _warn(refused: Refused) -> None:
    first = refused.errors[0]["error"] if refused.errors else ""
    log.warning("%d: %s %s", refused.status, refused.message, first)


def _time(moment: datetime | float | None) -> int:
    """ms since the epoch; now for None. A number is seconds, a datetime without a zone is local time."""
    if moment is None:
        return time.time_ns() // 1_000_000
    return int((moment.timestamp() if isinstance(moment, datetime) else moment) * 1000)


def _plain(value: Any) -> Any:
    """What JSON has no type for."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone(timezone.utc)).isoformat()
    if isinstance(value, (date, uuid.UUID)):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
