"""Posts prepared batches over many connections, as fast as they are answered or at a given rate.

A process of its own, so that its work is not counted as the server's. It sends whole prepared requests and
looks at the status line alone, so it costs less than the server. A connection whose batch was refused for now
pauses before the next. Prints one JSON line: requests, rows acknowledged, refusals, quantiles of the latency
of what was accepted (ms), seconds, its own CPU seconds.
"""

import argparse
import asyncio
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

import uvloop

from app.kinds import Kind
from benchmarks.generated_rows import DISTINCT_ROWS, VARIANTS, flatbuffer, json_lines, rows, varied_lines

DISTINCT_BATCHES = 64
ACCEPTED = (202, 207)
FORMATS = ("flatbuffer", "nested-json", "flat-json", *VARIANTS)
PAUSE_S = 0.1
"""After a refusal. Less than Retry-After asks for, so that a server with room again does not stand idle."""

KEY_TO_REPLACE = bytes.fromhex("f1e2d3c4b5a69788796a5b4c3d2e1f00")


class Connection(asyncio.Protocol):
    """Sends the next request when the last one is answered, until the time is over."""

    def __init__(self, requests: Sequence[bytes], load: "Load") -> None:
        self._requests = requests
        self._load = load
        self._next = load.random.randrange(len(requests))
        self._sent = 0.0
        self._received = b""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._send()

    def _send(self) -> None:
        wait = self._load.wait_for_turn()
        if wait is None:
            self._transport.close()
        elif wait > 0:
            asyncio.get_running_loop().call_later(wait, self._send_now)
        else:
            self._send_now()

    def _send_now(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._received = b""
        status = int(head[9:12])
        self._load.answered(status, time.perf_counter() - self._sent)
        if status in ACCEPTED:
            self._send()
        else:
            asyncio.get_running_loop().call_later(PAUSE_S, self._send)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class Load:
    """What is to be sent, and what came of it."""

    def __init__(self, seconds: float, rate: float | None, seed: int) -> None:
        self.random = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self._until = time.perf_counter() + seconds
        self._interval = 1 / rate if rate else None
        self._turn = time.perf_counter()

    def wait_for_turn(self) -> float | None:
        """Seconds until the next request may go, None when the time is over."""
        now = time.perf_counter()
        if now >= self._until:
            return None
        if self._interval is None:
            return 0.0
        self._turn = max(self._turn + self._interval, now - 0.1)
        return self._turn - now

    def answered(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if status in ACCEPTED:
            self.latencies.append(seconds)


def prepare(options: argparse.Namespace, keys: Sequence[bytes]) -> list[bytes]:
    """Whole HTTP requests: every batch, and every key with some batch."""
    kind = Kind(options.kind)
    pool = rows(kind, max(DISTINCT_ROWS, 8 * options.rows), options.seed)
    batches = [
        pool[i : i + options.rows]
        for i in range(0, min(len(pool), DISTINCT_BATCHES * options.rows), options.rows)
    ]
    batches = [batch for batch in batches if len(batch) == options.rows]
    if options.format == "flatbuffer":
        path, content_type = "/v1/ingest", "application/x-flatbuffers"
        bodies = [flatbuffer(kind, batch, KEY_TO_REPLACE) for batch in batches]
    else:
        path, content_type = f"/v1/{kind.value}", "application/x-ndjson"
        if options.format in VARIANTS:
            bodies = [varied_lines(kind, batch, options.format) for batch in batches]
        else:
            bodies = [json_lines(kind, batch, flat=options.format == "flat-json") for batch in batches]
    requests = []
    for number in range(max(len(bodies), len(keys))):
        key, body = keys[number % len(keys)], bodies[number % len(bodies)]
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {options.host}:{options.port}\r\nX-API-Key: {key.hex()}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body.replace(KEY_TO_REPLACE, key, 1))
    return requests


async def run(options: argparse.Namespace, requests: Sequence[bytes]) -> dict[str, object]:
    load = Load(options.seconds, options.rate, options.seed)
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), _cpu()
    connections = [
        (await loop.create_connection(lambda: Connection(requests, load), options.host, options.port))[1]
        for _ in range(options.connections)
    ]
    await asyncio.gather(*(connection.closed for connection in connections))
    seconds = time.perf_counter() - began
    latencies = sorted(load.latencies) or [0.0]
    good = sum(load.statuses[status] for status in ACCEPTED)
    return {
        "seconds": seconds,
        "requests": good,
        "rows": good * options.rows - load.statuses[207],  # each of those has one bad row
        "bytes_per_request": len(requests[0]),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "latency_ms": {
            f"p{q}": 1000 * latencies[min(int(len(latencies) * q / 100), len(latencies) - 1)]
            for q in (50, 90, 99, 100)
        },
        "cpu_s": _cpu() - cpu,
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", required=True, help="file with hexkey:workspace_id lines")
    parser.add_argument("--format", choices=FORMATS, default="flatbuffer")
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default="events")
    parser.add_argument("--rows", type=int, default=500, help="rows a batch")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workspaces", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, help="requests a second; default: as fast as they are answered")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.keys, encoding="ascii") as file:
        lines = [line.split("#")[0].strip() for line in file]
    keys = [bytes.fromhex(line.split(":")[0]) for line in lines if line][: options.workspaces]
    requests = prepare(options, keys)
    print(json.dumps(uvloop.run(run(options, requests))))


if __name__ == "__main__":
    main()
