"""`query` shows each acknowledged row once at every moment, whatever the service does.

    python -m tests.query.query_campaign --rounds 1000 --seed 1
    python -m tests.query.query_campaign --rounds 1000 --seed 1 --bucket
    python -m tests.query.query_campaign --rounds 1000 --seed 1 --workers

Each round sends some batches; then flushes are under way in some rounds, and the service is killed with -9 in
some; meanwhile the rows are queried, twice, and compared with what was acknowledged. A killed service is
queried while it is down.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx
import msgspec

from app.disk.durable_fs import DurableFS
from app.query.ask import connect
from app.query.data_sets import object_root, open_store
from app.query.snapshot import Selection, Snapshot
from app.settings.planning import plan_of
from app.settings.settings import load
from tests.support.bucket_service import BucketService
from tests.support.payloads import event
from tests.support.s3_server import CREDENTIALS, running_s3_server
from tests.support.service import KEYS, Service
from tests.support.workers_service import WorkersService

CONFIG = {"sinks.parquet": {"flush_interval": "3600s", "max_file_size": "300KB"}}
ROUNDS_PER_DIRECTORY = 100
"""Queries take longer the more rows there are."""


class Result(msgspec.Struct):
    """while_down: queries of a service that was down. violations: rows missing, double, or never sent."""

    seed: int
    planned: int
    rounds: int = 0
    queries: int = 0
    while_down: int = 0
    kills: int = 0
    rows: int = 0
    violations: list[str] = []

    def __str__(self) -> str:
        return (
            f"query: seed {self.seed} rounds {self.rounds} of {self.planned}, {self.rows} rows acknowledged, "
            f"{self.kills} kills, {self.queries} queries ({self.while_down} with the service down), "
            f"violations {len(self.violations)}"
        )


def campaign(
    rounds: int, seed: int, directory: Path, new_service: Callable[[Path], Service] | None = None
) -> Result:
    """In directories of their own below `directory`."""
    new_service = new_service or partial(Service, config=CONFIG)
    result, chance = Result(seed, rounds), random.Random(seed)
    while result.rounds < rounds and not result.violations:
        place = directory / f"from-{result.rounds}"
        place.mkdir()
        with new_service(place) as service:
            service.start()
            _live(service, min(rounds - result.rounds, ROUNDS_PER_DIRECTORY), chance, result)
    return result


def _live(service: Service, rounds: int, chance: random.Random, result: Result) -> None:
    sent = 0
    for _ in range(rounds):
        for _ in range(chance.randint(1, 3)):
            count = chance.randint(1, 20)
            rows = [event(sent + number) for number in range(count)]
            service.post_json("events", rows, workspace=chance.choice((1, 2)))
            sent += count
        flushing = threading.Thread(target=_flush, args=(service,))
        flushes, kills = chance.random() < 0.6, chance.random() < 0.2
        if flushes:
            flushing.start()
        if kills:
            service.kill9()
        for _ in range(2):
            result.violations += compare(rows_of(service), sent)
            result.queries += 1
            result.while_down += kills
        if flushes:
            flushing.join()
        if kills:
            result.kills += 1
            service.start()
        result.rounds += 1
        if result.violations:
            break
    result.rows += sent


def compare(found: Sequence[int], sent: int) -> list[str]:
    """What is wrong with the numbers of the rows that a query has found."""
    counts = Counter(found)
    missing = [number for number in range(sent) if not counts[number]]
    double = [number for number, count in counts.items() if count > 1]
    unknown = [number for number in counts if not 0 <= number < sent]
    named = (("missing", missing), ("double", double), ("never sent", unknown))
    return [f"{len(numbers)} of {sent} rows {what}, as {numbers[:5]}" for what, numbers in named if numbers]


def rows_of(service: Service) -> list[int]:
    """The numbers of all rows, as the command finds them, without a process for each query."""
    plan = plan_of(load(service.directory / "parquet-sink.toml", os.environ, {}))
    lake = plan.query.lake
    store = open_store(lake.store) if lake.store is not None else None
    objects = object_root(lake.store) if lake.store is not None else None
    snapshot = Snapshot.take(DurableFS(), plan.storage.paths, Selection(), objects=objects)
    try:
        connection = connect(
            snapshot, payload_is_json=lake.payload_is_json, promoted=lake.promoted, store=store
        )
        found = connection.sql("SELECT CAST(payload->>'number' AS INTEGER) FROM events").fetchall()
        return [number for (number,) in found]
    finally:
        snapshot.close()


def _flush(service: Service) -> None:
    """That may be cut off."""
    try:
        for key in (KEYS[1], KEYS[2]):
            httpx.post(f"{service.base_url}/flush", headers={"X-API-Key": key}, timeout=30)
    except httpx.TransportError:
        return


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bucket", action="store_true", help="files go to an S3 server")
    parser.add_argument("--workers", action="store_true", help="several processes take batches")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.bucket:
            os.environ.update(CREDENTIALS)
            (place := directory / "s3").mkdir()
            with running_s3_server(place) as server:
                new_service = partial(BucketService, config=CONFIG, endpoint=server.endpoint)
                result = campaign(options.rounds, options.seed, directory, new_service)
        else:
            kind = WorkersService if options.workers else Service
            result = campaign(options.rounds, options.seed, directory, partial(kind, config=CONFIG))
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.rounds == result.planned and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
