"""Servers that the service is compared with, on the same uvicorn, loop and parser.

    python -m benchmarks.reference_servers http-limit|row-at-a-time --port N [--directory DIR]

http-limit reads each body and answers 202. row-at-a-time is the same endpoints written the usual way: the
official flatbuffers accessors or orjson.loads a line, lists of dicts, Table.from_pylist, a row group whenever
enough rows have come, no journal.
"""

import argparse
import uuid
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from starlette.types import Receive, Scope, Send

from app.kinds import EVENT_TYPES, Kind
from app.schema import SCHEMAS
from tests.fbs.batch_generated import Batch
from tests.fbs.event_generated import EventData

ROW_GROUP_ROWS: Final = 100_000
_ANSWER: Final = b'{"accepted":0,"request_id":"0123456789abcdef"}'
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]


async def body_of(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def answer(send: Send) -> None:
    await send({"type": "http.response.start", "status": 202, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


async def http_limit(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads and answers, nothing else."""
    await body_of(receive)
    await answer(send)


class RowAtATime:
    """Decodes events row by row into dicts. POST /flush writes what is left and closes the file."""

    def __init__(self, directory: Path) -> None:
        self._schema = SCHEMAS[Kind.EVENTS]
        self._writer = pq.ParquetWriter(directory / "rows.parquet", self._schema, compression="snappy")
        self._rows: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        if scope["path"] == "/flush":
            self._write()
            self._writer.close()
        elif scope["path"] == "/v1/ingest":
            self._rows += flatbuffer_rows(body)
        elif scope["path"] == "/v1/events":
            self._rows += [json_row(line) for line in body.splitlines()]
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._write()
        await answer(send)

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []


def flatbuffer_rows(body: bytes) -> list[dict[str, Any]]:
    batch = Batch.GetRootAs(body)
    data = EventData.GetRootAs(batch.DataAsNumpy().tobytes())
    return [flatbuffer_row(data.Events(i)) for i in range(data.EventsLength())]


def flatbuffer_row(event: Any) -> dict[str, Any]:
    return {
        "timestamp": event.Timestamp(),
        "batch_timestamp": 0,
        "workspace_id": 1,
        "event_type": EVENT_TYPES[event.EventType()],
        "event_name": event.EventName().decode(),
        "device_id": event.DeviceIdAsNumpy().tobytes(),
        "session_id": event.SessionIdAsNumpy().tobytes(),
        "source_ip": bytes(16),
        "payload": event.PayloadAsNumpy().tobytes(),
    }


def json_row(line: bytes) -> dict[str, Any]:
    row = orjson.loads(line)
    return {
        "timestamp": row["timestamp"],
        "batch_timestamp": 0,
        "workspace_id": 1,
        "event_type": row["type"],
        "event_name": row.get("event"),
        "device_id": uuid.UUID(row["device_id"]).bytes,
        "session_id": uuid.UUID(row["session_id"]).bytes,
        "source_ip": bytes(16),
        "payload": orjson.dumps(row["properties"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server", choices=["http-limit", "row-at-a-time"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, default=Path())
    options = parser.parse_args()
    app = http_limit if options.server == "http-limit" else RowAtATime(options.directory)
    uvicorn.run(
        app,
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
