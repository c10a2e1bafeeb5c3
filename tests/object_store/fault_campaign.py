"""Faults of the network and of the store while files are published, restarts, and names that others take.

    python -m tests.object_store.fault_campaign --faults 2000 --seed 1

The product's writer, publishing and recovery run against a real S3 server, with a proxy between. What was put
must be in the bucket exactly once, in the files that the manifest lists, whatever else was there.
"""

import argparse
import os
import random
import sys
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.kinds import Kind
from app.object_store.store import ObjectStore, StoreUnavailable
from app.parquet.location import parse, relative_path
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.rows import event_rows, snapshot_rows
from tests.support.fault_proxy import AT_ONCE, Fault, FaultProxy, no_fault
from tests.support.s3_server import CREDENTIALS, policy_of, running_s3_server

WORKSPACES: Final = (1, 2, 3)
TURN_MS: Final = 11_000
"""Longer than any pause after a failure."""

TURNS_MAX: Final = 100
FOREIGN: Final = b"not of this service"


class Result(msgspec.Struct):
    """fired: faults that met a request, by kind. renamed: files that got other names."""

    seed: int
    planned: int
    fired: Counter[Fault] = msgspec.field(default_factory=Counter)
    violations: list[str] = []
    rows: int = 0
    files: int = 0
    restarts: int = 0
    foreign: int = 0

    def __str__(self) -> str:
        kinds = ", ".join(f"{fault.value} {count}" for fault, count in sorted(self.fired.items(), key=str))
        return (
            f"S3 faults: seed {self.seed} planned {self.planned} fired {self.fired.total()} "
            f"violations {len(self.violations)} ({kinds}; rows {self.rows}, files {self.files}, "
            f"restarts {self.restarts}, names taken by others {self.foreign})"
        )


class Campaign:
    """One run below a prefix of its own. `proxy` stands before the server, `direct` goes past it."""

    def __init__(self, directory: Path, proxy: FaultProxy, server: str, faults: int, seed: int) -> None:
        self.result = Result(seed, faults)
        self._random = random.Random(seed)
        self._proxy = proxy
        prefix = f"faults/{uuid.uuid4()}"
        self._direct = ObjectStore(policy_of(server, prefix))
        self._store = ObjectStore(
            policy_of(proxy.endpoint, prefix, request_timeout_s=0.3, parallel_uploads=3)
        )
        self._bench = Bench(directory, policy=WriterPolicy(node="a"), store=self._store)
        self._put: Counter[tuple[Kind, int, int]] = Counter()
        self._lsn = 0
        self._foreign: set[str] = set()

    def run(self) -> Result:
        while self._proxy.fired.total() < self.result.planned:
            self._proxy.choose = self._choose
            for _ in range(self._random.randrange(1, 4)):
                self._put_some()
            self._proxy.choose = no_fault if self._random.random() < 0.05 else self._choose
            if self._random.random() < 0.1:
                self._take_a_name()
            self._publish()
            if self._random.random() < 0.2:
                self._restart()
        self._proxy.choose = no_fault
        self._settle()
        self._judge()
        self._restart()
        self._settle()
        self._judge()
        self.result.fired = self._proxy.fired
        return self.result

    def _choose(self, method: str, path: str) -> Fault | None:
        """Half of the uploads and some of the rest fail; a tenth of that takes the client's patience."""
        if self._random.random() > (0.5 if method == "PUT" else 0.2):
            return None
        if self._random.random() < 0.1:
            return self._random.choice((Fault.STALL, Fault.LATE))
        return self._random.choice(AT_ONCE)

    def _put_some(self) -> None:
        kind = self._random.choice((Kind.EVENTS, Kind.SNAPSHOTS))
        workspace, count = self._random.choice(WORKSPACES), self._random.randrange(1, 50)
        rows = event_rows if kind is Kind.EVENTS else snapshot_rows
        first = self.result.rows
        self._lsn += 1
        self._bench.put(self._lsn, rows(first, count, workspace_id=workspace), kind)
        self._put.update((kind, workspace, number) for number in range(first, first + count))
        self.result.rows += count

    def _publish(self) -> None:
        """Some turns of the writer: whatever is left over then, is left for later."""
        self._bench.writer.flush()
        for _ in range(self._random.randrange(1, 5)):
            self._turn()

    def _turn(self) -> None:
        self._bench.turn_at(self._bench.now_ms + TURN_MS)
        assert self._bench.fatal == []

    def _restart(self) -> None:
        """As after a kill: only what is on the disk and in the bucket is left."""
        self._bench.manifest.close()
        self.result.restarts += 1
        for tries in range(TURNS_MAX):
            if tries == TURNS_MAX // 10:  # all uploads of a commit must succeed in one try
                self._proxy.choose = no_fault
            try:
                self._bench.start()
                return
            except StoreUnavailable:
                continue
        raise AssertionError(f"no start in {TURNS_MAX} tries")

    def _settle(self) -> None:
        self._bench.writer.flush()
        for _ in range(TURNS_MAX):
            if not self._bench.writer.buffered_rows:
                return
            self._turn()
        raise AssertionError(f"rows are still buffered: {self._bench.writer.problem}")

    def _take_a_name(self) -> None:
        """Somebody writes the object that this service would write next."""
        file = self._random.choice(self._bench.manifest.files() or [None])
        if file is None:
            return
        number = max(each.number for each in self._bench.manifest.files() if each.partition == file.partition)
        path = relative_path(file.partition, number + 1, "a")
        if self._direct.facts(path) is None:
            self._direct.create(path, FOREIGN, zlib.crc32(FOREIGN))
            self._foreign.add(path)
            self.result.foreign += 1

    def _judge(self) -> None:
        listed = {file.path: file for file in self._bench.manifest.files()}
        found = set(self._direct.names("")) - self._foreign
        wrong = self.result.violations
        wrong += [f"{path} is in the bucket, and no commit knows it" for path in found - listed.keys()]
        wrong += [f"{path} is published, and not in the bucket" for path in listed.keys() - found]
        rows: Counter[tuple[Kind, int, int]] = Counter()
        for path in found & listed.keys():
            location = parse(path)
            assert location is not None
            data = self._direct.read(path, 0, listed[path].bytes + 1)
            table = pq.read_table(pa.BufferReader(data))
            workspaces, numbers = table["workspace_id"].to_pylist(), table["timestamp"].to_pylist()
            rows.update((location.partition.kind, *row) for row in zip(workspaces, numbers, strict=True))
        wrong += [f"{row} is missing {count} times" for row, count in (self._put - rows).items()]
        wrong += [f"{row} is there {count} times too often" for row, count in (rows - self._put).items()]
        for path in self._foreign:
            if self._direct.read(path, 0, len(FOREIGN) + 1) != FOREIGN:
                wrong.append(f"{path} is of somebody else, and was replaced")
        self.result.files = len(listed)


def campaign(directory: Path, server_port: int, faults: int, seed: int) -> Result:
    with FaultProxy(server_port) as proxy:
        return Campaign(directory, proxy, f"http://127.0.0.1:{server_port}", faults, seed).run()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    os.environ.update(CREDENTIALS)
    with tempfile.TemporaryDirectory() as directory:
        (place := Path(directory) / "s3").mkdir()
        with running_s3_server(place) as server:
            result = campaign(Path(directory) / "node", server.port, options.faults, options.seed)
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.fired.total() >= result.planned and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
