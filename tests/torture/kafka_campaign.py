"""kill -9 of front ends, writers and brokers while batches are posted and flushes are under way.

    python -m tests.torture.kafka_campaign --kills 200 --seed 1
    python -m tests.torture.kafka_campaign --kills 200 --seed 1 --bucket

Three brokers, two stateless front ends, two writers on one shared directory or bucket. Clients post without a
pause to whichever front end answers. A process is killed at a random moment and started again; at the latest
the third kill is one of a writer and the fourth one of a broker. Before some of them a record of somebody
else gets into the topic: it must be kept as it is, and stop nothing. At the end all unanswered batches with a
key are sent again, and DuckDB reads the files.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import httpx
import msgspec
import pyarrow.fs
from confluent_kafka import Producer

from app.kinds import Kind
from tests.support.kafka_cluster import KafkaCluster, running_kafka
from tests.support.kafka_service import KafkaService
from tests.support.s3_server import (
    ACCESS_KEY,
    BUCKET,
    CREDENTIALS,
    REGION,
    SECRET_KEY,
    S3Server,
    running_s3_server,
)
from tests.support.service import ADMIN_TOKEN
from tests.torture.kill_campaign import post
from tests.torture.ledger import MARK, Ledger, Outcome
from tests.torture.oracle import compare, fingerprints

CLIENTS: Final = 4
WORKSPACES: Final = (1, 2, 3, 4294967295)
PARTITIONS: Final = 4
PREFIX: Final = "torture"
POISON_SHARE: Final = 0.5
FOREIGN: Final = (b"", b"hello", b'{"user": 5}', b"\x05\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0\x05", None)
"""Records of somebody else; None for random bytes."""

RECOVERY_SECONDS_MAX: Final = 60.0
CONFIG: Final[dict[str, dict[str, Any]]] = {
    # Short, so that partitions move and entries are made all the time.
    "journal": {"session_timeout": "2s", "send_timeout": "5s"},
    "sinks.parquet": {"flush_interval": "300ms"},
}


class Result(msgspec.Struct):
    """fired: kills that met a running process while batches were posted, by what was killed. foreign: records
    of somebody else."""

    seed: int
    planned: int
    fired: Counter[str] = msgspec.field(default_factory=Counter)
    violations: list[str] = []
    accepted_rows: int = 0
    unknown_rows: int = 0
    resent_batches: int = 0
    foreign: int = 0
    files: int = 0

    @property
    def passed(self) -> bool:
        return self.fired.total() == self.planned and self.foreign > 0 and not self.violations

    def __str__(self) -> str:
        kinds = ", ".join(f"{what} {count}" for what, count in sorted(self.fired.items()))
        return (
            f"kafka: seed {self.seed} planned {self.planned} fired {self.fired.total()} ({kinds}) "
            f"violations {len(self.violations)} (rows acknowledged {self.accepted_rows}, without an answer "
            f"{self.unknown_rows}, batches sent again {self.resent_batches}, records of somebody else "
            f"{self.foreign}, files {self.files})"
        )


class Client(threading.Thread):
    """Posts batch after batch to whichever front end takes them, until it is told to stop."""

    def __init__(self, ports: Sequence[int], ledger: Ledger, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._ports = ports
        self._ledger = ledger
        self._random = random.Random(seed)
        self._stop_asked = stop

    def run(self) -> None:
        while not self._stop_asked.is_set():
            port = self._random.choice(self._ports)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                try:
                    connection.connect()
                except OSError:
                    self._stop_asked.wait(0.05)  # it was killed, and is about to be back
                    continue
                self._post_until_it_breaks(connection)

    def _post_until_it_breaks(self, connection: http.client.HTTPConnection) -> None:
        while not self._stop_asked.is_set():
            kind = self._random.choice(list(Kind))
            key = f"{self._random.getrandbits(64):x}" if self._random.random() < 0.5 else None
            rows = self._random.randint(1, 20)
            batch = self._ledger.sending(kind.value, self._random.choice(WORKSPACES), rows, key)
            if not post(connection, self._ledger, batch, flatbuffer=self._random.random() < 0.5):
                return
            if batch.outcome is not Outcome.ACCEPTED:
                self._stop_asked.wait(0.05)


class Site:
    """All processes of one campaign."""

    def __init__(self, directory: Path, cluster: KafkaCluster, s3: S3Server | None = None) -> None:
        self.cluster = cluster
        self.parquet = directory / "lake"
        self._s3 = s3
        self._topic = cluster.make_topic("torture", PARTITIONS)
        self.foreign: dict[tuple[int, int], bytes] = {}
        self.fronts = [self._service(directory / f"front-{number}", "ingest") for number in (1, 2)]
        self.writers = [self._service(directory / f"writer-{number}", "writer") for number in (1, 2)]

    def _service(self, directory: Path, role: str) -> KafkaService:
        directory.mkdir()
        os.environ["PYTHONFAULTHANDLER"] = "1"  # a crash of native code says where
        config = {**CONFIG, "server": {"role": role}}
        if self._s3 is not None:
            config["sinks.parquet"] = {**CONFIG["sinks.parquet"], "path": f"s3://{BUCKET}/{PREFIX}"}
            config["sinks.parquet.store"] = {"endpoint": self._s3.endpoint, "region": REGION}
            return KafkaService(directory, config, cluster=self.cluster, topic=self._topic)
        return KafkaService(directory, config, cluster=self.cluster, topic=self._topic, parquet=self.parquet)

    def files(self) -> dict[str, str]:
        """A digest of every data file, by path. Those of a bucket are copied to where DuckDB reads them."""
        if self._s3 is not None:
            shutil.rmtree(self.parquet, ignore_errors=True)
            source = pyarrow.fs.S3FileSystem(
                endpoint_override=self._s3.endpoint,
                access_key=ACCESS_KEY,
                secret_key=SECRET_KEY,
                region=REGION,
            )
            local = pyarrow.fs.LocalFileSystem()
            pyarrow.fs.copy_files(f"{BUCKET}/{PREFIX}", str(self.parquet), source, local)
        found = fingerprints(self.parquet)
        return {path: digest for path, digest in found.items() if path.endswith(".parquet")}

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        for service in (*self.fronts, *self.writers):
            service.__exit__()

    def start(self) -> None:
        for service in (*self.fronts, *self.writers):
            if not service.running:
                service.start()

    def poison(self, rng: random.Random) -> None:
        """Somebody else's record gets into some partition. Raises AssertionError if it did not."""
        chosen, partition = rng.choice(FOREIGN), rng.randrange(PARTITIONS)
        record = rng.randbytes(rng.randint(1, 200)) if chosen is None else chosen
        offsets: list[int] = []

        def delivered(error: object, message: Any) -> None:
            assert error is None, error
            offsets.append(message.offset())

        settings = {"bootstrap.servers": self.cluster.addresses, "enable.idempotence": True}
        producer = Producer(settings)
        producer.produce(self._topic, record, partition=partition, on_delivery=delivered)
        assert producer.flush(RECOVERY_SECONDS_MAX) == 0
        self.foreign[partition, offsets[0]] = record

    def kept(self) -> dict[tuple[int, int], bytes]:
        """What was kept of such records, by partition and offset, once `files` was called."""
        return {
            (
                int(path.parts[-3].rpartition("-")[2]),
                int(path.stem.removeprefix("offset-")),
            ): path.read_bytes()
            for path in self.parquet.glob("_commits/*/quarantine/offset-*.record")
        }

    def flush(self) -> None:
        """Again until it succeeds: a writer's partitions wait for others to notice that it is gone."""
        deadline = time.monotonic() + RECOVERY_SECONDS_MAX
        while (response := self.fronts[0].admin("POST", "/flush")).status_code != 200:
            assert time.monotonic() < deadline, response.text


def rows_by_duckdb(lake: Path) -> Counter[tuple[str, int, int]]:
    """How often each (kind, workspace, row number) stands in the files."""
    found: Counter[tuple[str, int, int]] = Counter()
    for kind in Kind:
        if any(lake.glob(f"*/*/{kind.value}*.parquet")):
            files = f"{lake}/*/*/{kind.value}*.parquet"
            select = f"SELECT workspace_id, payload FROM read_parquet('{files}')"
            rows = duckdb.execute(select).fetchall()
            found.update((kind.value, workspace, json.loads(payload)[MARK]) for workspace, payload in rows)
    return found


def campaign(kills: int, seed: int, directory: Path, s3: S3Server | None = None) -> Result:
    result = Result(seed, kills)
    rng = random.Random(seed)
    (place := directory / "kafka").mkdir()
    with running_kafka(place, brokers=3) as cluster, Site(directory, cluster, s3) as site:
        site.start()
        with contextlib.closing(Ledger(directory / "ledger", synced=False)) as ledger:
            _kill_under_load(site, ledger, kills, rng, result)
            site.start()
            _send_again(site, ledger, result)
            site.flush()
            _judge(site, ledger, result)
    return result


def _kill_under_load(site: Site, ledger: Ledger, kills: int, rng: random.Random, result: Result) -> None:
    stop = threading.Event()
    ports = [front.port for front in site.fronts]
    clients = [Client(ports, ledger, rng.getrandbits(32), stop) for _ in range(CLIENTS)]
    flusher = threading.Thread(target=_flush_all_the_time, args=(site, stop), daemon=True)
    for thread in (*clients, flusher):
        thread.start()
    try:
        for number in range(kills):
            _kill_one(site, ledger, number, rng, result)
    finally:
        stop.set()
        for thread in (*clients, flusher):
            thread.join(60)


def _kill_one(site: Site, ledger: Ledger, number: int, rng: random.Random, result: Result) -> None:
    _await_progress(ledger)
    time.sleep(rng.uniform(0.0, 1.0))  # the moment is what is random
    if number == 0 or rng.random() < POISON_SHARE:
        site.poison(rng)
    what = {2: "writer", 3: "broker"}.get(number) or rng.choice(["front", "writer", "writer", "broker"])
    if what == "broker":
        broker = rng.choice(site.cluster.brokers)
        broker.kill9()
        _await_progress(ledger)  # two brokers are enough
        broker.start()
        site.cluster.await_brokers(len(site.cluster.brokers))
        site.cluster.await_replicas()
        result.fired[what] += 1
        return
    service = rng.choice(site.fronts if what == "front" else site.writers)
    running = service.running
    if not running:
        code = service.process.returncode
        result.violations.append(f"a {what} had ended by itself with {code}: {service.stderr[-3000:]}")
    service.kill9()
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.0, 3.0))  # long enough for its partitions to go to the other one, or not
    service.start()
    result.fired[what] += running


def _await_progress(ledger: Ledger) -> None:
    """Returns when batches have been acknowledged since."""
    before = ledger.count(Outcome.ACCEPTED)
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while ledger.count(Outcome.ACCEPTED) < before + 100:
        assert time.monotonic() < deadline, "no batch is taken any more"
        time.sleep(0.02)


def _flush_all_the_time(site: Site, stop: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    with httpx.Client(timeout=60, headers=headers) as client:
        while not stop.is_set():
            for front in site.fronts:
                with contextlib.suppress(httpx.TransportError):
                    client.post(f"{front.base_url}/flush")
            stop.wait(0.2)


def _send_again(site: Site, ledger: Ledger, result: Result) -> None:
    """To the front end that did not take it the first time, perhaps: only the writer knows for certain."""
    connection = http.client.HTTPConnection("127.0.0.1", site.fronts[1].port, timeout=30)
    with contextlib.closing(connection):
        for batch in ledger.batches:
            if batch.outcome is not Outcome.UNKNOWN or batch.key is None:
                continue
            result.resent_batches += 1
            if not post(connection, ledger, batch, flatbuffer=bool(batch.flatbuffer)):
                connection.close()
            if not batch.is_accepted:
                result.violations.append(f"batch {batch.first} was sent again, and answered {batch.status}")


def _judge(site: Site, ledger: Ledger, result: Result) -> None:
    for service in (*site.fronts, *site.writers):
        if "the service is stopping" in service.stderr:
            at = service.stderr.index("the service is stopping")
            result.violations.append(f"a process has stopped itself: {service.stderr[at : at + 2000]}")
    files = site.files()
    found = rows_by_duckdb(site.parquet)
    result.violations += compare(ledger.batches, found)
    result.accepted_rows = ledger.count(Outcome.ACCEPTED)
    result.unknown_rows = ledger.count(Outcome.UNKNOWN)
    result.files = len(files)
    result.foreign = len(site.foreign)
    if (kept := site.kept()) != site.foreign:
        result.violations.append(f"of somebody else's records {site.foreign} these were kept: {kept}")
    listed = {file["path"] for file in site.fronts[0].files()}
    if listed != files.keys():
        result.violations.append(f"/files and the directory differ: {sorted(listed ^ files.keys())[:5]}")
    for writer in site.writers:
        writer.kill9()
        writer.start()
    site.flush()
    if site.files() != files:
        result.violations.append("a second recovery changed the files")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bucket", action="store_true", help="files go to an S3 server")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as held:
        s3 = None
        if options.bucket:
            os.environ.update(CREDENTIALS)
            (place := Path(directory) / "s3").mkdir()
            s3 = held.enter_context(running_s3_server(place))
        result = campaign(options.kills, options.seed, Path(directory), s3)
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
