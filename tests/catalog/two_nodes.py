"""Two nodes on one bucket and one Iceberg catalog: what was acknowledged is what every engine counts.

    python -m tests.catalog.two_nodes --seconds 600 --seed 1

Clients post events, logs and snapshots to both nodes, which publish and register all the time, each in the
other's way; now and then one of the nodes is killed and started again. Meanwhile readers scan the tables: no
row may stand twice, and none may be there that was not sent. At the end pyiceberg, DuckDB and Spark count.
"""

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from app.kinds import Kind
from tests.catalog.engines import by_duckdb, by_spark
from tests.support.bucket_service import BucketService
from tests.support.catalog_service import Tables, table_violations, wait_until_registered, with_catalog
from tests.support.s3_server import BUCKET, CREDENTIALS, S3Server, running_s3_server
from tests.torture.kill_campaign import post
from tests.torture.ledger import MARK, Ledger, Outcome

NODES: Final = ("node-a", "node-b")
CLIENTS_PER_NODE: Final = 2
WORKSPACES: Final = (1, 2, 3)
PAUSE_S: Final = 0.02
"""Between two batches of a client: the machine is also the S3 server, the readers and the clients."""
CONFIG: Final[dict[str, dict[str, Any]]] = {"sinks.parquet": {"flush_interval": "1s"}}


class Result(msgspec.Struct):
    """counts: by engine. files, snapshots: of the three tables at the end. scans: by readers meanwhile."""

    seed: int
    seconds: float
    kills: int = 0
    fired: int = 0
    scans: int = 0
    accepted_rows: int = 0
    unknown_rows: int = 0
    files: int = 0
    snapshots: int = 0
    counts: dict[str, dict[str, list[int]]] = {}
    violations: list[str] = []

    def __str__(self) -> str:
        rows = {name: sum(each[0] for each in kinds.values()) for name, kinds in self.counts.items()}
        counted = ", ".join(f"{name} {count}" for name, count in rows.items())
        return (
            f"two nodes, one catalog: seed {self.seed} seconds {self.seconds:.0f} kills planned {self.kills} "
            f"fired {self.fired} violations {len(self.violations)} (rows acknowledged {self.accepted_rows}, "
            f"without an answer {self.unknown_rows}; counted by {counted}; files {self.files}, snapshots "
            f"kept {self.snapshots}, scans meanwhile {self.scans})"
        )


class Client(threading.Thread):
    """Posts to one node; what has no answer when that is killed stays unknown."""

    def __init__(self, port: int, ledger: Ledger, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._stop_asked = stop

    def run(self) -> None:
        while not self._stop_asked.wait(PAUSE_S):
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
                while not self._stop_asked.wait(PAUSE_S):
                    if not self._post(connection):
                        break

    def _post(self, connection: http.client.HTTPConnection) -> bool:
        kind = self._random.choice(list(Kind))
        try:
            connection.connect() if connection.sock is None else None
        except OSError:
            return False
        batch = self._ledger.sending(kind.value, self._random.choice(WORKSPACES), self._random.randint(1, 20))
        return post(connection, self._ledger, batch, flatbuffer=self._random.random() < 0.5)


class Reader(threading.Thread):
    """Scans table after table while they grow."""

    def __init__(self, tables: Tables, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._tables = tables
        self._ledger = ledger
        self._stop_asked = stop
        self.scans = 0
        self.violations: list[str] = []

    def run(self) -> None:
        seen = dict.fromkeys(Kind, 0)
        while not self._stop_asked.wait(0.2):
            for kind in Kind:
                try:
                    numbers = marks(self._tables, kind)
                except Exception as error:
                    self.violations.append(f"a scan of {kind} failed: {error!r}")
                    continue
                self.scans += 1
                sent = {n for each in list(self._ledger.batches) if each.kind == kind for n in each.numbers}
                if len(numbers) != len(set(numbers)):
                    self.violations.append(f"a scan of {kind} saw a row twice")
                if not sent.issuperset(numbers):
                    self.violations.append(f"a scan of {kind} saw rows that nobody sent")
                if len(numbers) < seen[kind]:
                    self.violations.append(f"{kind} had {seen[kind]} rows and then {len(numbers)}")
                seen[kind] = len(numbers)


def marks(tables: Tables, kind: Kind) -> list[int]:
    rows = tables.load(kind).scan(selected_fields=("payload",)).to_arrow()
    return [json.loads(payload)[MARK] for payload in rows["payload"].to_pylist()]


def campaign(
    seconds: float, seed: int, directory: Path, server: S3Server, *, kills: int, engines: bool
) -> Result:
    """kills: how many, while the nodes run. engines: DuckDB and Spark count as well."""
    result = Result(seed, seconds, kills)
    random_ = random.Random(seed)
    (shared := directory / "catalog").mkdir()
    warehouse = f"s3://{BUCKET}/warehouse-{seed}-{directory.name}"
    tables = Tables(shared, server.endpoint)
    nodes: list[BucketService] = []
    for name in NODES:
        (own := directory / name).mkdir()
        config = with_catalog(directory, {**CONFIG, "server": {"node_id": name}}, warehouse=warehouse)
        prefix = nodes[0].prefix if nodes else None
        nodes.append(BucketService(own, config, endpoint=server.endpoint, prefix=prefix))
    ledger = Ledger(directory / "ledger", synced=False)
    with closing(ledger), nodes[0], nodes[1]:
        for node in nodes:
            node.start()
            wait_until_registered(node)
        reader = _load(nodes, ledger, tables, result, random_)
        for node in nodes:
            node.flush()
            wait_until_registered(node)
        result.scans, result.violations = reader.scans, reader.violations
        _judge(tables, ledger, result)
        if engines:
            _count(tables, server, warehouse, result)
    return result


def _load(
    nodes: Sequence[BucketService], ledger: Ledger, tables: Tables, result: Result, random_: random.Random
) -> Reader:
    """Clients, a reader, and kills, for the time of the campaign."""
    stop = threading.Event()
    reader = Reader(tables, ledger, stop)
    clients = [
        Client(node.port, ledger, random_.getrandbits(32), stop)
        for node in nodes
        for _ in range(CLIENTS_PER_NODE)
    ]
    for thread in (reader, *clients):
        thread.start()
    end = time.monotonic() + result.seconds
    moments = sorted(random_.uniform(0.1, 0.9) * result.seconds for _ in range(result.kills))
    for moment in moments:
        time.sleep(max(0.0, end - result.seconds + moment - time.monotonic()))
        node = random_.choice(nodes)
        result.fired += node.running
        node.kill9()
        node.start()
    time.sleep(max(0.0, end - time.monotonic()))
    stop.set()
    for thread in (reader, *clients):
        thread.join()
    return reader


def _judge(tables: Tables, ledger: Ledger, result: Result) -> None:
    result.violations += table_violations(ledger.batches, tables)
    counted = result.counts.setdefault("pyiceberg", {})
    for kind in Kind:
        numbers = marks(tables, kind)
        counted[kind.value] = [len(numbers), len(set(numbers)), sum(numbers)]
    result.files = sum(len(tables.files(kind)) for kind in Kind)
    result.snapshots = sum(len(tables.load(kind).snapshots()) for kind in Kind)
    result.accepted_rows = ledger.count(Outcome.ACCEPTED)
    result.unknown_rows = ledger.count(Outcome.UNKNOWN)


def _count(tables: Tables, server: S3Server, warehouse: str, result: Result) -> None:
    result.counts["DuckDB"] = by_duckdb(tables, server.endpoint)
    result.counts["Spark"] = by_spark(tables, server.endpoint, warehouse)
    compacted = "Spark after rewrite_data_files"
    result.counts[compacted] = by_spark(tables, server.endpoint, warehouse, compact=True)
    result.counts["DuckDB after it"] = by_duckdb(tables, server.endpoint)
    for name, counts in result.counts.items():
        if counts != result.counts["pyiceberg"]:
            result.violations.append(f"{name} counts {counts}, pyiceberg {result.counts['pyiceberg']}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-engines", action="store_true", help="pyiceberg alone counts")
    options = parser.parse_args(arguments)
    os.environ.update(CREDENTIALS)
    with tempfile.TemporaryDirectory() as directory:
        (place := Path(directory) / "s3").mkdir()
        with running_s3_server(place) as server:
            result = campaign(
                options.seconds,
                options.seed,
                Path(directory),
                server,
                kills=options.kills,
                engines=not options.without_engines,
            )
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.fired == result.kills and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
