"""Ten times the load that the service can take: memory stays bounded, refusals say when to come again.

    python -m tests.torture.overload --seconds 30 --seed 1

The disk is slowed down, so that this machine can send ten times what the service takes. What it takes is
measured first, by a few clients that wait for their answers. Then batches are sent at somewhat above ten
times that rate, whether earlier ones are answered or not, over as many connections as that needs.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from app.kinds import Kind
from app.settings.quantities import parse_size
from tests.support.service import KEYS, Service
from tests.torture.kill_campaign import json_row
from tests.torture.ledger import MARK, Batch, Ledger, Outcome
from tests.torture.oracle import violations

FACTOR: Final = 10
AIM: Final = 12.5
"""How many times its capacity is sent at: a busy machine falls behind its own schedule."""
ROWS: Final = 200
PADDING: Final = 200
CONNECTIONS_MAX: Final = 600
CAPACITY_CLIENTS: Final = 32
CAPACITY_SECONDS: Final = 6.0
DISK_BYTES_PER_SECOND: Final = 2_000_000
WORKSPACES: Final = (1, 2, 3)
CONFIG: Final[dict[str, dict[str, Any]]] = {
    "server": {"max_inflight_size": "16MB", "max_body_size": "1MB", "drain_timeout": "2s"},
    # No reserve: on the slow disk the service would need long to write it.
    "journal": {"reserve_size": "0B", "segment_size": "4MB", "max_size": "64MB", "max_group_size": "2MB"},
    "sinks.parquet": {"flush_interval": "1s", "max_buffered_size": "32MB", "max_file_size": "16MB"},
}
BASE_BYTES: Final = 256_000_000
BYTES_PER_CONNECTION: Final = 128_000


def memory_bound() -> int:
    """The documented bound on resident memory, in bytes, for CONFIG: see docs/durability.md."""
    inflight = parse_size(CONFIG["server"]["max_inflight_size"])
    group = parse_size(CONFIG["journal"]["max_group_size"])
    buffered = parse_size(CONFIG["sinks.parquet"]["max_buffered_size"])
    return BASE_BYTES + 3 * inflight + 3 * buffered + 12 * group + CONNECTIONS_MAX * BYTES_PER_CONNECTION


class Result(msgspec.Struct):
    """planned, fired: how many times its capacity the service was to be, and was, offered."""

    seed: int
    planned: int = FACTOR
    capacity_rows_s: float = 0.0
    offered_rows_s: float = 0.0
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    unanswered: int = 0
    peak_bytes: int = 0
    started_bytes: int = 0
    violations: list[str] = []

    @property
    def fired(self) -> int:
        return int(self.offered_rows_s / self.capacity_rows_s + 0.05) if self.capacity_rows_s else 0

    def __str__(self) -> str:
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return (
            f"overload: seed {self.seed} planned {self.planned} fired {self.fired} violations "
            f"{len(self.violations)} (takes {self.capacity_rows_s:,.0f} rows/s, was sent "
            f"{self.offered_rows_s:,.0f}; {answers}, {self.unanswered} without an answer; "
            f"memory {self.started_bytes / 1e6:.0f} MB at start, {self.peak_bytes / 1e6:.0f} MB at most, "
            f"bound {memory_bound() / 1e6:.0f} MB)"
        )


class Sender:
    """Sends batches of random workspaces, each over a connection that nobody else uses meanwhile."""

    def __init__(self, port: int, ledger: Ledger, seed: int, result: Result) -> None:
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._result = result
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._opened: list[asyncio.StreamWriter] = []
        self.sent_rows = 0
        self.accepted_rows = 0

    async def send(self) -> None:
        """One batch; what came of it goes to the ledger and the result."""
        batch = self._ledger.sending(Kind.EVENTS.value, self._random.choice(WORKSPACES), ROWS)
        self.sent_rows += ROWS
        try:
            reader, writer = self._idle.pop() if self._idle else await self._connect()
        except OSError:
            self._result.unanswered += 1
            return
        try:
            status, headers = await asyncio.wait_for(self._request(reader, writer, batch), 60)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            writer.close()
            self._result.unanswered += 1
            return
        self._note(batch, status, headers)
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))

    async def close(self) -> None:
        """Ends all connections."""
        for writer in self._opened:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._opened.append(writer)
        return reader, writer

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, batch: Batch
    ) -> tuple[int, dict[str, str]]:
        body = self._body(batch)
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[batch.workspace]}\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        # A refusal may come before the body is sent: then reading goes on while writing does not.
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        await reader.readexactly(int(headers.get("content-length", "0")))
        await writer.drain()
        return int(lines[0].split()[1]), headers

    def _body(self, batch: Batch) -> bytes:
        noise = self._random.randbytes(ROWS * PADDING // 2).hex()
        row = json_row("events", {MARK: 0, "text": ""})
        before, after = msgspec.json.encode(row).split(f'{{"{MARK}":0,"text":""}}'.encode())
        parts = []
        for index, number in enumerate(batch.numbers):
            text = noise[index * PADDING : (index + 1) * PADDING]
            parts.append(b'%s{"%s":%d,"text":"%s"}%s' % (before, MARK.encode(), number, text.encode(), after))
        return b"\n".join(parts)

    def _note(self, batch: Batch, status: int, headers: dict[str, str]) -> None:
        self._result.statuses[status] += 1
        if status == 202:
            self._ledger.answered(batch, Outcome.ACCEPTED, status)
            self.accepted_rows += batch.rows
            return
        self._ledger.answered(batch, Outcome.REFUSED, status)
        if status not in (429, 503, 507):
            self._result.violations.append(f"batch {batch.first}: answered {status}")
        elif not headers.get("retry-after", "").isdigit():
            self._result.violations.append(f"batch {batch.first}: {status} without Retry-After")


async def measure_capacity(sender: Sender) -> float:
    """Rows a second that are taken from clients that wait for their answers."""
    began = time.monotonic()

    async def client() -> None:
        while time.monotonic() - began < CAPACITY_SECONDS:
            await sender.send()

    before = sender.accepted_rows
    await asyncio.gather(*[client() for _ in range(CAPACITY_CLIENTS)])
    return (sender.accepted_rows - before) / (time.monotonic() - began)


async def overload(sender: Sender, rows_per_second: float, seconds: float) -> float:
    """Sends at this rate whatever is answered; returns the rate that was reached."""
    began, before, begun = time.monotonic(), sender.sent_rows, 0
    pending: set[asyncio.Task[None]] = set()
    while (elapsed := time.monotonic() - began) < seconds:
        due = int(elapsed * rows_per_second / ROWS) - begun
        for _ in range(min(due, CONNECTIONS_MAX - len(pending))):
            task = asyncio.create_task(sender.send())
            pending.add(task)
            task.add_done_callback(pending.discard)
            begun += 1
        await asyncio.sleep(0.002)
    reached = (sender.sent_rows - before) / (time.monotonic() - began)
    await asyncio.gather(*pending)
    return reached


def memory(service: Service, field: str) -> int:
    """VmRSS or VmHWM of the service's process, in bytes."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def campaign(seconds: float, seed: int, directory: Path) -> Result:
    result = Result(seed)
    ledger = Ledger(directory / "ledger", synced=False)
    with contextlib.closing(ledger), Service(directory, CONFIG) as service:
        service.disk_bytes_per_second = DISK_BYTES_PER_SECOND
        service.start()
        result.started_bytes = memory(service, "VmRSS")
        asyncio.run(_load(service, ledger, seconds, result))
        result.peak_bytes = memory(service, "VmHWM")
        if result.peak_bytes > memory_bound():
            result.violations.append("the service took more memory than the documented bound")
        service.wait_until(lambda: service.http.get("/ready").status_code == 200, 60)
        service.disk_bytes_per_second = None
        if service.terminate() != 0:
            result.violations.append("the service did not stop with exit code 0")
        service.start()
        service.flush()
        result.violations += violations(ledger.batches, service.parquet)
    return result


async def _load(service: Service, ledger: Ledger, seconds: float, result: Result) -> None:
    sender = Sender(service.port, ledger, result.seed, result)
    result.capacity_rows_s = await measure_capacity(sender)
    result.statuses.clear()
    result.offered_rows_s = await overload(sender, AIM * result.capacity_rows_s, seconds)
    await sender.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        result = campaign(options.seconds, options.seed, Path(directory))
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.fired >= result.planned and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
