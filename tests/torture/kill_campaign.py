"""kill -9 of the real service while three kinds are posted and flushes are under way.

    python -m tests.torture.kill_campaign --kills 1000 --seed 1
    python -m tests.torture.kill_campaign --kills 1000 --seed 1 --bucket
    python -m tests.torture.kill_campaign --kills 100 --seed 1 --catalog
    python -m tests.torture.kill_campaign --kills 1000 --seed 1 --workers
    python -m tests.torture.kill_campaign --kills 300 --seed 1 --no-memory
    python -m tests.torture.kill_campaign --kills 300 --seed 1 --happened

Several clients post events, logs and snapshots of several workspaces, as FlatBuffers and as JSON, with and
without Idempotency-Key; another one flushes. The process is killed at a random moment, some of the time while
it is still recovering, and started again on the same directories. After some kills the files are held against
the ledger. With worker processes it is one of them, the process they work for, or all at once.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from app.kinds import Kind
from tests.support.bucket_service import BucketService
from tests.support.catalog_service import CatalogService, table_violations, wait_until_registered
from tests.support.flatbuffer_batches import hand_laid
from tests.support.s3_server import CREDENTIALS, running_s3_server
from tests.support.service import ADMIN_TOKEN, KEYS, Config, NewService, Service
from tests.support.workers_service import WorkersService
from tests.torture.ledger import MARK, Batch, Ledger, Outcome
from tests.torture.oracle import fingerprints, usage_violations, violations
from tests.torture.strike import Strike, strike_process, strike_workers

CLIENTS: Final = 6
KILLS_PER_DIRECTORY: Final = 10
CONFIG: Final[dict[str, dict[str, Any]]] = {
    # Small, so that segments roll, files overflow and flushes happen all the time.
    "journal": {"segment_size": "64KiB"},
    "sinks.parquet": {"flush_interval": "100ms", "max_file_size": "60KB"},
}


NO_MEMORY: Final[dict[str, dict[str, Any]]] = {
    **CONFIG,
    "sinks.parquet": {**CONFIG["sinks.parquet"], "flush_interval": "1s", "max_buffered_size": "1KB"},
}
"""All rows that wait are left to the journal, and read back."""


HAPPENED: Final[dict[str, dict[str, Any]]] = {
    **CONFIG,
    "sinks.parquet": {**CONFIG["sinks.parquet"], "partition_by": "happened", "layout": "hive"},
}
"""Rows of FlatBuffers are placed in the days before AT_NOON, all others in that one."""

SENT_MS: Final = 1_790_000_000_000
AT_NOON: Final = "2026-09-22T12:00:00+00:00"
"""A day after SENT_MS."""

DAY_MS: Final = 86_400_000


class Result(msgspec.Struct):
    """fired: kills that met a running process with requests under way, or one that was recovering."""

    seed: int
    planned: int
    fired: int = 0
    violations: list[str] = []
    accepted_rows: int = 0
    unknown_rows: int = 0
    resent_batches: int = 0

    def __str__(self) -> str:
        return (
            f"kill -9: seed {self.seed} planned {self.planned} fired {self.fired} "
            f"violations {len(self.violations)} (rows acknowledged {self.accepted_rows}, "
            f"without an answer {self.unknown_rows}, batches sent again {self.resent_batches})"
        )


class Client(threading.Thread):
    """Posts batch after batch until it is told to stop or the service is gone."""

    def __init__(self, port: int, ledger: Ledger, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._stop_asked = stop

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            while not self._stop_asked.is_set():
                if not self.post_one(connection, self._ledger, self._random):
                    return

    def post_one(
        self, connection: http.client.HTTPConnection, ledger: Ledger, random_: random.Random
    ) -> bool:
        """Whether the connection still stands."""
        kind = random_.choice(list(Kind))
        workspace = random_.choice(list(KEYS))
        key = f"{random_.getrandbits(64):x}" if random_.random() < 0.5 else None
        batch = ledger.sending(kind.value, workspace, random_.randint(1, 20), key)
        return post(connection, ledger, batch, flatbuffer=random_.random() < 0.5)


def post(connection: http.client.HTTPConnection, ledger: Ledger, batch: Batch, *, flatbuffer: bool) -> bool:
    """Sends a batch and writes down what came of it; False when the connection broke."""
    path, body, content_type = encode(batch, flatbuffer)
    batch.flatbuffer = flatbuffer
    headers = {"X-API-Key": KEYS[batch.workspace], "Content-Type": content_type}
    if batch.key is not None:
        headers["Idempotency-Key"] = batch.key
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException):
        return False  # the outcome stays unknown
    if response.status == 202 and json.loads(text)["accepted"] == batch.rows:
        ledger.answered(batch, Outcome.ACCEPTED, response.status)
    elif response.status == 503 and json.loads(text)["error"] == "outcome_unknown":
        ledger.answered(batch, Outcome.UNKNOWN, response.status)
    else:
        ledger.answered(batch, Outcome.REFUSED, response.status)
    return True


def encode(batch: Batch, flatbuffer: bool) -> tuple[str, bytes, str]:
    """The same bytes each time, so that a batch can be sent again under its key."""
    payloads = [{MARK: number, "text": "x" * (number % 50)} for number in batch.numbers]
    if flatbuffer:
        rows = [{**flatbuffer_row(batch.kind, p), "payload": json.dumps(p).encode()} for p in payloads]
        key = bytes.fromhex(KEYS[batch.workspace])
        return "/v1/ingest", hand_laid(Kind(batch.kind), rows, key), "application/x-flatbuffers"
    lines = [json.dumps(json_row(batch.kind, p)) for p in payloads]
    return f"/v1/{batch.kind}", "\n".join(lines).encode(), "application/x-ndjson"


def flatbuffer_row(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Of one of five days."""
    timestamp = SENT_MS - payload[MARK] % 5 * DAY_MS
    return {
        "events": {"event_type": "track", "timestamp": timestamp, "event_name": "killed"},
        "logs": {"event_type": "log", "level": "info", "timestamp": timestamp, "source": "h"},
        "snapshots": {"timestamp": timestamp, "source": "s", "entity": "e"},
    }[kind]


def json_row(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    device = "550e8400-e29b-41d4-a716-446655440000"
    return {
        "events": {"type": "track", "event": "killed", "device_id": device, "properties": payload},
        "logs": {"message": "killed", "data": payload},
        "snapshots": {"source": "s", "entity": "e", "payload": payload},
    }[kind]


def campaign(
    kills: int,
    seed: int,
    directory: Path,
    new_service: NewService = Service,
    strike: Strike = strike_process,
    config: Config = CONFIG,
) -> Result:
    """Kills the service so often, in directories of their own below `directory`."""
    result = Result(seed, kills)
    random_ = random.Random(seed)
    left, round_ = kills, 0
    while left > 0:
        count = min(left, KILLS_PER_DIRECTORY)
        left -= count
        round_ += 1
        place = directory / f"round-{round_}"
        place.mkdir()
        _round(place, count, random_, result, partial(_with, config, new_service), strike)
        if result.violations:
            break
    return result


def campaign_over_a_bucket(kills: int, seed: int, directory: Path) -> Result:
    """The same with an S3 server, which lives on; the services find its credentials in the environment."""
    os.environ.update(CREDENTIALS)
    (place := directory / "s3").mkdir()
    with running_s3_server(place) as server:
        return campaign(kills, seed, directory, partial(BucketService, endpoint=server.endpoint))


def campaign_of_workers(kills: int, seed: int, directory: Path) -> Result:
    """The same with workers: one of them is killed, the process they work for, or all."""
    return campaign(kills, seed, directory, WorkersService, strike_workers)


def _with(config: Config, new_service: NewService, place: Path) -> Service:
    return new_service(place, config)


def _round(
    place: Path,
    kills: int,
    random_: random.Random,
    result: Result,
    new_service: Callable[[Path], Service],
    strike: Strike,
) -> None:
    ledger = Ledger(place / "ledger")
    with contextlib.closing(ledger), new_service(place) as service:
        for _ in range(kills):
            if random_.random() < 0.3 and ledger.batches and not service.running:
                result.fired += _kill_recovery(service, random_)
            else:
                result.fired += _kill_under_load(service, ledger, random_, strike)
        if not service.running:
            service.start()
        _send_again(service, ledger, result)
        service.flush()
        _judge(service, ledger, result)
    result.accepted_rows += ledger.count(Outcome.ACCEPTED)
    result.unknown_rows += ledger.count(Outcome.UNKNOWN)


def _kill_under_load(service: Service, ledger: Ledger, random_: random.Random, strike: Strike) -> bool:
    """What is struck may be a part: then the service goes on, and is not started for the next kill."""
    if not service.running:
        service.start()
    stop = threading.Event()
    before = len(ledger.batches)
    clients = [Client(service.port, ledger, random_.getrandbits(32), stop) for _ in range(CLIENTS)]
    flusher = threading.Thread(target=_flush_all_the_time, args=(service, stop), daemon=True)
    for thread in (*clients, flusher):
        thread.start()
    time.sleep(random_.uniform(0.02, 0.8))
    struck = strike(service, random_)
    stop.set()
    for thread in (*clients, flusher):
        thread.join()
    return struck and len(ledger.batches) > before


def _kill_recovery(service: Service, random_: random.Random) -> bool:
    """Kills it while it starts: the interpreter needs most of a second before it looks at the disk."""
    service.launch()
    time.sleep(random_.uniform(0.3, 1.2))
    running = service.running
    service.kill9()
    return running


def _flush_all_the_time(service: Service, stop: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    with httpx.Client(base_url=service.base_url, timeout=30, headers=headers) as client:
        while not stop.is_set():
            try:
                client.post("/flush")
            except httpx.TransportError:
                return


def _send_again(service: Service, ledger: Ledger, result: Result) -> None:
    """Batches without an answer that have a key must be there once, whatever became of them before."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    with contextlib.closing(connection):
        for batch in ledger.batches:
            if batch.outcome is not Outcome.UNKNOWN or batch.key is None:
                continue
            result.resent_batches += 1
            # Its format is not in the ledger: the other one is another payload, and refused with 409.
            post(connection, ledger, batch, flatbuffer=False)
            if batch.status == 409:
                post(connection, ledger, batch, flatbuffer=True)
            if not batch.is_accepted:
                result.violations.append(f"batch {batch.first} was sent again, and answered {batch.status}")


def _judge(service: Service, ledger: Ledger, result: Result) -> None:
    if service.tables is not None:
        wait_until_registered(service)
        result.violations += table_violations(ledger.batches, service.tables)
    service.data_files()  # from a bucket they are fetched first
    result.violations += violations(ledger.batches, service.parquet)
    account = service.status()["rows"]
    result.violations += [
        f"the account does not add up: {line}"
        for line in account
        if line["accepted"] != line["published"] + line["buffered"] + line["quarantined"] + line["removed"]
    ]
    usage = _usage(service)
    result.violations += usage_violations(usage, service.parquet)
    service.kill9()
    before = fingerprints(service.parquet)
    for _ in range(2):
        service.start()
        service.flush()
        service.kill9()
    service.data_files()
    if fingerprints(service.parquet) != before:
        result.violations.append("a second recovery changed the files")
    if service.tables is not None:
        result.violations += table_violations(ledger.batches, service.tables)
    service.start()
    if _usage(service) != usage:
        result.violations.append("a second recovery changed the usage")
    service.kill9()


def _usage(service: Service) -> list[tuple[int, ...]]:
    """Workspace and rows of each kind, a line a workspace and day."""
    day = service.clock and service.clock[: len("YYYY-MM-DD")]
    lines = service.admin("GET", "/usage", params={"from": day, "to": day} if day else {}).json()["usage"]
    return [(line["workspace_id"], line["events"], line["logs"], line["snapshots"]) for line in lines]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bucket", action="store_true", help="files go to an S3 server")
    parser.add_argument("--catalog", action="store_true", help="files are registered in Iceberg tables")
    parser.add_argument("--workers", action="store_true", help="several processes, any of them killed")
    parser.add_argument("--no-memory", action="store_true", help="rows wait in the journal alone")
    parser.add_argument("--happened", action="store_true", help="rows are placed by when they happened")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        campaign_ = campaign_over_a_bucket if options.bucket else campaign
        if options.catalog:
            campaign_ = partial(campaign, new_service=CatalogService)
        if options.workers:
            campaign_ = campaign_of_workers
        if options.no_memory:
            campaign_ = partial(campaign, config=NO_MEMORY)
        if options.happened:
            campaign_ = partial(campaign, new_service=partial(Service, clock=AT_NOON), config=HAPPENED)
        result = campaign_(options.kills, options.seed, Path(directory))
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.fired == result.planned and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
