"""Publishing with faults on a simulated disk: what was put is in the files exactly once, afterwards.

    python -m tests.parquet.crash_campaign power_loss --seed 7 --size 1000
    python -m tests.parquet.crash_campaign power_loss --seed 7 --size 1000 --bucket
    python -m tests.parquet.crash_campaign power_loss --seed 7 --size 1000 --retention
    python -m tests.parquet.crash_campaign power_loss --seed 7 --size 1000 --final
    python -m tests.parquet.crash_campaign power_loss --seed 7 --size 1000 --forget

Each campaign is a function of a seed and a size, and prints seed, planned, fired and violations. A run in
which a fault did not fire counts as failed.
"""

import argparse
import copy
import functools
import random
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.api.wanted_rows import wanted_of
from app.disk.durable_file import SyncFailed
from app.kinds import Kind
from app.parquet.laid_again import ROW_GROUPS_MIN, LayingPolicy
from app.parquet.layout import Layout
from app.parquet.placing import Placing, Placings
from app.publish.final_policy import FinalPolicy
from app.publish.forgetting import ForgetCommand, Forgotten
from app.publish.retention_rules import RetentionPolicy, RetentionRule
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench, Journal
from tests.parquet.rows import DAY_MS, NOON_MS, event_rows, over_days, snapshot_rows
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk, SimulatedFS, faults_of
from tests.support.simulated_store import SimulatedStore

POLICY = WriterPolicy(row_group_rows=60, max_file_bytes=16 << 10, max_partitions_per_publication=3)
EXPIRING = 8
"""A workspace whose files are removed two days after their day is over, where files expire."""

EXPIRED_MS = NOON_MS + 4 * DAY_MS
RETENTION = RetentionPolicy((RetentionRule(EXPIRING, None, 2 * DAY_MS),), interval_ms=0, files_per_turn=1)

OVER_MS = NOON_MS + 2 * DAY_MS
FINAL = FinalPolicy(
    laying=LayingPolicy(layout=Layout(), section_bytes=30_000),
    interval_ms=0,
    pause_ms=1_000,
    free_bytes_min=0,
)
LAYING_POLICY = msgspec.structs.replace(
    POLICY, row_group_rows=1_000, max_file_bytes=1 << 20, final=FINAL, grace_ms=60_000
)
PLACED = Placings().changed(Placing(7 * DAY_MS), 0)

FORGOTTEN = (
    wanted_of(9, None, None, {"workspace_id": "9"}),
    wanted_of(None, None, None, {"timestamp": "3000"}),
)
"""All of a workspace, and one row among others."""

ROOT = Path("/node")
PUBLISHING = ("put_object", "rename", "sync_directory", "datasync", "punch")
Row = tuple[int, str, int]
"""Workspace, kind, timestamp."""


@dataclass
class Result:
    campaign: str
    seed: int
    planned: int = 0
    fired: int = 0
    violations: list[str] = field(default_factory=list)
    distinct: int | None = None
    """States that differ; a power cut may leave what another one has left before."""

    @property
    def passed(self) -> bool:
        return 0 < self.planned == self.fired and not self.violations

    def __str__(self) -> str:
        counts = f"planned={self.planned} fired={self.fired} violations={len(self.violations)}"
        counts += f" ({self.distinct} distinct states)" if self.distinct is not None else ""
        return "\n  ".join([f"{self.campaign} seed={self.seed} {counts}", *self.violations[:10]])


@dataclass
class World:
    """What outlives a process: the disk, the journal's untrimmed frames, and the oracle's list of rows.

    objects: what a bucket holds, by path, where files go to one. expires: whether retention is set. lays:
    whether files are laid again. forgets: whether rows are taken out of files.
    happened: whether rows are placed by when they happened.
    """

    disk: SimulatedDisk = field(default_factory=SimulatedDisk)
    journal: Journal = field(default_factory=dict)
    sent: Counter[Row] = field(default_factory=Counter)
    objects: dict[str, bytes] | None = None
    expires: bool = False
    lays: bool = False
    forgets: bool = False
    happened: bool = False

    @classmethod
    def of_events(cls) -> "World":
        return cls(happened=True)

    @classmethod
    def with_bucket(cls) -> "World":
        return cls(objects={})

    @classmethod
    def expiring(cls) -> "World":
        return cls(expires=True)

    @classmethod
    def expiring_bucket(cls) -> "World":
        return cls(objects={}, expires=True)

    @classmethod
    def laying(cls) -> "World":
        return cls(lays=True)

    @classmethod
    def forgetting(cls) -> "World":
        return cls(lays=True, forgets=True)

    def copy(self, disk: SimulatedDisk | None = None) -> "World":
        objects = None if self.objects is None else dict(self.objects)
        disk = disk or copy.deepcopy(self.disk)
        return World(
            disk,
            dict(self.journal),
            Counter(self.sent),
            objects,
            self.expires,
            self.lays,
            self.forgets,
            self.happened,
        )

    def bench(self, fs: SimulatedFS) -> Bench:
        store = None if self.objects is None else SimulatedStore(self.objects, fs)
        policy = LAYING_POLICY if self.lays else POLICY
        if self.expires:
            policy = msgspec.structs.replace(policy, retention=RETENTION)
        if self.happened:
            policy = msgspec.structs.replace(policy, placings=PLACED)
        return Bench(ROOT, fs, policy, journal=self.journal, store=store)

    def tree(self) -> dict[Path, bytes]:
        """Everything there is, objects as if they stood in the data directory."""
        objects = {ROOT / "data" / path: data for path, data in (self.objects or {}).items()}
        return {path: bytes(file.cached) for path, file in self.disk.files().items()} | objects


NewWorld = Callable[[], World]


class Story:
    """One process after another; the same puts, flushes and restarts for the same seed."""

    def __init__(self, world: World, seed: str, fault: Fault | None = None) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.fs = world.disk.mount(fault)
        self.refused: list[str] = []

    def tell(self) -> "Story":
        try:
            self._tell()
        except (Crash, SyncFailed, OSError):
            if self.fs.fault is None:
                raise
        except Exception as refusal:
            self.refused.append(repr(refusal))
        self.fs.dead = True
        return self

    def _tell(self) -> None:
        bench = self.world.bench(self.fs)
        self._chapter(bench, 0)
        bench = self.world.bench(self.fs)
        self._chapter(bench, 20)
        if self.world.forgets:
            forget(bench)
        if self.world.lays:
            for lsn in range(30, 35):
                self._put_events(bench, lsn, 7)
                self._drain(bench)
        bench.turn_at(NOON_MS + DAY_MS)  # the day has passed: all is flushed, then sealed
        bench.turn_at(bench.now_ms + POLICY.seal_after_ms)
        self._put_events(bench, 40, 7)  # and yet there is a late row
        self._drain(bench)
        if self.world.lays:
            lay(bench, OVER_MS)
            bench = self.world.bench(self.fs)
            lay(bench, OVER_MS + LAYING_POLICY.grace_ms)
        if self.world.forgets:
            forget(bench)
        if self.world.expires:
            expire(bench)
            self._put_events(bench, 41, EXPIRING)  # a row of a day that is removed
            self._drain(bench)
            expire(bench)

    def _chapter(self, bench: Bench, lsn: int) -> None:
        for _ in range(6):
            lsn += 1
            workspace_id = self.random.choice((7, 7, 8, 9))
            if self.random.random() < 0.3:
                rows = self._rows(Kind.SNAPSHOTS, lsn, self.random.randint(1, 20), workspace_id)
                self._put(bench, lsn, rows, Kind.SNAPSHOTS)
            else:
                self._put_events(bench, lsn, workspace_id)
            if self.random.random() < 0.5:
                self._drain(bench)
        bench.writer.turn()

    def _put_events(self, bench: Bench, lsn: int, workspace_id: int) -> None:
        rows = self._rows(Kind.EVENTS, lsn, self.random.randint(1, 120), workspace_id)
        self._put(bench, lsn, rows, Kind.EVENTS)

    def _rows(self, kind: Kind, lsn: int, count: int, workspace_id: int) -> pa.RecordBatch:
        rows = _rows(kind, lsn * 1000, count, workspace_id)
        return over_days(rows) if self.world.happened else rows

    def _put(self, bench: Bench, lsn: int, rows: pa.RecordBatch, kind: Kind) -> None:
        self.world.sent.update(
            (workspace_id, kind.value, timestamp)
            for workspace_id, timestamp in zip(
                rows.column("workspace_id").to_pylist(), rows.column("timestamp").to_pylist(), strict=True
            )
        )
        bench.put(lsn, rows, kind)

    def _drain(self, bench: Bench) -> None:
        """Flush; a disk that fails for ever is mended when the writer has met it twice."""
        future = bench.writer.flush()
        for trial in range(20):
            bench.writer.turn()
            if future.done():
                future.result()
                return
            bench.now_ms += POLICY.retry_ms_max
            if trial == 1 and self.fs.fault is not None and self.fs.fault.fired:
                self.fs.fault.forever = False
        raise AssertionError("a flush does not come to an end")


@functools.lru_cache(maxsize=1_000)
def _rows(kind: Kind, first: int, count: int, workspace_id: int) -> pa.RecordBatch:
    """Kept, since a story is told again with every fault, and always puts the same."""
    make = event_rows if kind is Kind.EVENTS else snapshot_rows
    return make(first, count, workspace_id=workspace_id)


def expire(bench: Bench) -> None:
    """A file a turn is removed; a disk that fails once is tried again."""
    for turn in range(20):
        bench.turn_at(EXPIRED_MS + turn * POLICY.retry_ms_max)


def lay(bench: Bench, begin_ms: int) -> None:
    """A file a turn is laid again, or gives its old bytes back."""
    for turn in range(20):
        bench.turn_at(begin_ms + turn * FINAL.pause_ms)


def forget(bench: Bench) -> list[Forgotten]:
    """Rows that wait are no part of it; what fails is asked for again by whoever checks."""
    found = []
    for wanted in FORGOTTEN:
        future: Future[Forgotten] = Future()
        bench.writer.forget(ForgetCommand(wanted, True, future))
        for _ in range(20):
            if not future.done():
                bench.now_ms += POLICY.retry_ms_max
                bench.writer.turn()
        found.append(future.result(timeout=0))
    return found


def is_forgotten(row: Row) -> bool:
    return row[0] == 9 or row[2] == 3000


def check(world: World) -> list[str]:
    """Start on what is left, publish all, and compare with what was sent; then start once more."""
    fs = world.disk.mount()
    try:
        bench = world.bench(fs)
        leftovers = fs.list_directory(bench.paths.staging(fs))
        if bench.paths.data is not None:
            leftovers += [bench.paths.intent.name] * fs.exists(bench.paths.intent)
        bench.writer.turn(everything=True)
        if world.lays:
            lay(bench, OVER_MS + DAY_MS)
            lay(bench, OVER_MS + 2 * DAY_MS)
        if world.forgets:
            forget(bench)
            again = [each for each in forget(bench) if each.files or each.left]
            if again:
                return [f"not forgotten at once: {again}"]
        if world.expires:
            expire(bench)
        wrong = [f"left behind: {leftovers}"] * bool(leftovers) + list(_violations(world, bench))
        before = world.tree()
        world.bench(fs).writer.turn(everything=True)
    except Exception as refusal:
        return [f"does not start: {refusal!r}"]
    if world.tree() != before:
        wrong.append("a second recovery changed something")
    return wrong


def _violations(world: World, bench: Bench) -> Iterator[str]:
    found: Counter[Row] = Counter()
    data = ROOT / "data"
    for path, content in world.tree().items():
        if not path.is_relative_to(data):
            continue
        try:
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True, pre_buffer=False)
            table = file.read(use_threads=False)
        except Exception as error:
            yield f"{path} is not readable: {error}"
            continue
        if len(content) > bench.policy.max_file_bytes:
            yield f"{path} is too large"
        workspace_id = int(path.relative_to(data).parts[0])
        kind = path.name.partition("-")[0].removesuffix(".parquet")
        found.update((workspace_id, kind, timestamp) for timestamp in table["timestamp"].to_pylist())
    if world.expires:
        removed = sum(1 for workspace_id, _, _ in world.sent.elements() if workspace_id == EXPIRING)
        counted = bench.manifest.rows_removed()
        if any(row[0] == EXPIRING for row in found) or counted.total() != removed:
            yield f"{removed} rows are to be removed, {dict(counted)} are said to be"
        if bench.manifest.removed():
            yield f"not settled: {bench.manifest.removed()}"
        for (workspace_id, kind), line in bench.writer.account().items():
            sent = sum(1 for row in world.sent.elements() if row[:2] == (workspace_id, kind.value))
            if line.accepted != sent or line.buffered or line.quarantined:
                yield f"the account of {workspace_id} {kind} is {line}, and {sent} rows were sent"
        world = World(sent=Counter({row: n for row, n in world.sent.items() if row[0] != EXPIRING}))
    if world.forgets:
        for (workspace_id, kind), line in bench.writer.account().items():
            rows = [row for row in world.sent.elements() if row[:2] == (workspace_id, kind.value)]
            gone = sum(map(is_forgotten, rows))
            if (line.accepted, line.removed) != (len(rows), gone):
                yield f"the account of {workspace_id} {kind} is {line}, {gone} of {len(rows)} are to be gone"
        world = World(
            world.disk,
            sent=Counter({row: n for row, n in world.sent.items() if not is_forgotten(row)}),
            lays=True,
        )
    if world.lays:
        yield from _not_final(world, bench)
    if found != world.sent:
        yield f"lost {dict(world.sent - found)}, too many {dict(found - world.sent)}"[:300]
    if bench.report.files.unknown:
        yield f"unknown {bench.report.files.unknown}"
    if bench.journal or bench.writer.buffered_rows or bench.writer.buffered_bytes:
        yield f"not trimmed: {sorted(bench.journal)}, {bench.writer.buffered_rows} rows buffered"


def _not_final(world: World, bench: Bench) -> Iterator[str]:
    """Every file that gains has its final form, and none of its old bytes."""
    contents = world.tree()
    for file in bench.manifest.files():
        if file.final is None:
            if file.row_groups >= ROW_GROUPS_MIN:
                yield f"{file.path} of {file.row_groups} row groups is not laid again"
            continue
        content = contents[ROOT / "data" / file.path]
        old = [content[start:stop] for start, stop in file.final.dead]
        if not file.final.given_back or any(each.strip(b"\0") for each in old) or content[:4] != b"PAR1":
            yield f"{file.path} still has old bytes, {file.final}"


def _faults(calls: list[str], crashes: bool, forever: bool) -> Iterator[Fault]:
    for at, operation in enumerate(calls):
        for kind in faults_of(operation):
            if kind.startswith("crash") == crashes:
                yield Fault(at, kind, forever)


def _judge(result: Result, story: Story, where: str, rng: random.Random) -> None:
    """What a kill and what a power cut leave behind, each."""
    fault = story.fs.fault
    result.planned += 1
    result.fired += bool(fault and fault.fired)
    result.violations += [f"{where}: {each}" for each in story.refused]
    for name, disk in (("kill", None), ("power loss", story.world.disk.after_power_loss(rng))):
        result.violations += [f"{where}, {name}: {each}" for each in check(story.world.copy(disk))]


def _everywhere(name: str, seed: int, size: int, new: NewWorld, crashes: bool) -> Result:
    result = Result(name, seed)
    for number in range(size):
        life = f"{seed} {number}"
        rng = random.Random(f"{name} {life}")
        calls = Story(new(), life).tell().fs.calls
        for forever in (False,) if crashes else (False, True):
            for fault in _faults(calls, crashes, forever):
                where = f"{fault.kind}{' for ever' if forever else ''} at {fault.at} ({calls[fault.at]})"
                _judge(result, Story(new(), life, fault).tell(), where, rng)
    return result


def crash_everywhere(seed: int, size: int, new: NewWorld = World) -> Result:
    """A crash before, within and after every call of `size` stories."""
    return _everywhere("crash_everywhere", seed, size, new, crashes=True)


def error_everywhere(seed: int, size: int, new: NewWorld = World) -> Result:
    """Every error at every call of `size` stories, once and until somebody mends the disk."""
    return _everywhere("error_everywhere", seed, size, new, crashes=False)


def any_fault(seed: int, size: int, new: NewWorld = World) -> Result:
    """`size` faults of any kind at any call, each in a story of its own."""
    result = Result("any_fault", seed)
    for number in range(size):
        rng = random.Random(f"any {seed} {number}")
        calls = Story(new(), f"{seed} {number}").tell().fs.calls
        fault = rng.choice([*_faults(calls, True, False), *_faults(calls, False, rng.random() < 0.5)])
        _judge(result, Story(new(), f"{seed} {number}", fault).tell(), f"life {number}, {fault}", rng)
    return result


def power_loss(seed: int, size: int, new: NewWorld = World) -> Result:
    """`size` states that a power cut leaves at a random call of a random story."""
    result = Result("power_loss", seed, distinct=0)
    states_per_story = 10
    for number in range(-(-size // states_per_story)):
        rng = random.Random(f"power {seed} {number}")
        calls = Story(new(), f"{seed} {number}").tell().fs.calls
        fault = Fault(rng.randrange(len(calls)), "crash_before")
        story = Story(new(), f"{seed} {number}", fault).tell()
        verdicts: dict[Hashable, list[str]] = {}
        for _ in range(states_per_story):
            result.planned += 1
            result.fired += bool(fault.fired)
            left = story.world.copy(story.world.disk.after_power_loss(rng))
            # All that is left: a state that was there before has been judged.
            state = left.disk.root.contents(), tuple(sorted((left.objects or {}).items()))
            if state not in verdicts:
                verdicts[state] = check(left)
            result.violations += [f"story {number}, call {fault.at}: {each}" for each in verdicts[state]]
        result.distinct = (result.distinct or 0) + len(verdicts)
    return result


def crash_in_recovery(seed: int, size: int, new: NewWorld = World) -> Result:
    """`size` faults in the recovery that follows on a crash in the middle of publishing."""
    result = Result("crash_in_recovery", seed)
    number = 0
    while result.planned < size:
        number += 1
        rng = random.Random(f"recovery {seed} {number}")
        calls = Story(new(), f"{seed} {number}").tell().fs.calls
        at = rng.choice([n for n, call in enumerate(calls) if call in PUBLISHING])
        world = Story(new(), f"{seed} {number}", Fault(at, "crash_before")).tell().world
        if rng.random() < 0.5:
            world = world.copy(world.disk.after_power_loss(rng))
        healthy = world.copy()
        steps = healthy.disk.mount()
        healthy.bench(steps)
        for crashes in (True, False):
            for fault in _faults(steps.calls, crashes, False):
                again = world.copy()
                fs = again.disk.mount(fault)
                try:
                    again.bench(fs)
                except (Crash, SyncFailed, OSError):
                    fs.dead = True
                result.planned += 1
                result.fired += bool(fault.fired)
                left = again.copy(again.disk.after_power_loss(rng) if rng.random() < 0.5 else None)
                result.violations += [f"story {number}, {fault}: {each}" for each in check(left)]
    return result


CAMPAIGNS = {
    each.__name__: each
    for each in (crash_everywhere, error_everywhere, any_fault, power_loss, crash_in_recovery)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--bucket", action="store_true", help="files go to an object store in memory")
    parser.add_argument("--final", action="store_true", help="files are laid again when their day is over")
    parser.add_argument("--forget", action="store_true", help="rows are taken out of files")
    parser.add_argument("--retention", action="store_true", help="files of one workspace expire")
    parser.add_argument("--happened", action="store_true", help="rows are placed by when they happened")
    options = parser.parse_args()
    pa.set_cpu_count(1)  # threads of its own take longer to wake than the few rows take
    pa.set_io_thread_count(1)
    new: NewWorld = World.with_bucket if options.bucket else World.of_events if options.happened else World
    if options.retention:
        new = World.expiring_bucket if options.bucket else World.expiring
    if options.forget:
        new = World.forgetting
    if options.final:
        new = World.laying
    result = CAMPAIGNS[options.campaign](options.seed, options.size, new)
    print(result)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
