"""Publishing with a fault at every I/O call: what was put is in the files exactly once, afterwards.

`python -m tests.parquet.crash_campaign SEED SIZE` runs SIZE faults (0: one of each kind at every call) and
prints seed, planned, fired and violations.
"""

import contextlib
import errno
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from app.durable_fs import DurableFS, SyncFailed
from app.schema import Kind
from tests.parquet.bench import Bench
from tests.parquet.faulty_fs import Crash, Fault, FaultyFS
from tests.parquet.rows import DAY_MS, NOON_MS, event_rows, snapshot_rows

ERRORS = (errno.EIO, errno.ENOSPC, errno.EMFILE)
POLICY = {"row_group_rows": 60, "max_file_bytes": 16 << 10, "max_partitions_per_commit": 3}


class Outcome(msgspec.Struct):
    seed: int
    planned: int = 0
    fired: int = 0
    violations: list[str] = []

    def __str__(self) -> str:
        return f"seed {self.seed} planned {self.planned} fired {self.fired} violations {len(self.violations)}"


class Story:
    """The same sequence of puts, flushes and restarts for the same seed; `sent` is the oracle."""

    def __init__(self, root: Path, fs: FaultyFS, seed: int) -> None:
        self.fs = fs
        self.root = root
        self.random = random.Random(seed)
        self.sent: Counter[tuple[int, str, int]] = Counter()
        self.bench: Bench | None = None

    def tell(self) -> None:
        bench = self.bench = Bench(self.root, self.fs, **POLICY)
        self.chapter(bench, 0)
        bench.start()
        self.chapter(bench, 20)
        bench.turn_at(NOON_MS + DAY_MS + 70_000)  # the day has passed: all is sealed
        bench.put(40, self._events(40, 7, NOON_MS))  # and yet there is a late row
        self.drain(bench)

    def chapter(self, bench: Bench, lsn: int) -> None:
        for step in range(6):
            lsn += 1
            workspace_id = self.random.choice((7, 7, 8, 9))
            if self.random.random() < 0.3:
                rows = snapshot_rows(lsn * 1000, self.random.randint(1, 20), workspace_id=workspace_id)
                self._note(workspace_id, "snapshots", lsn * 1000, rows.num_rows)
                bench.put(lsn, rows, Kind.SNAPSHOTS)
            else:
                bench.put(lsn, self._events(lsn, workspace_id, NOON_MS + step))
            if self.random.random() < 0.5:
                self.drain(bench)
        bench.writer.turn()

    def _events(self, lsn: int, workspace_id: int, received_ms: int) -> object:
        count = self.random.randint(1, 120)
        self._note(workspace_id, "events", lsn * 1000, count)
        return event_rows(lsn * 1000, count, workspace_id=workspace_id, received_ms=received_ms)

    def _note(self, workspace_id: int, kind: str, first: int, count: int) -> None:
        self.sent.update((workspace_id, kind, first + n) for n in range(count))

    def drain(self, bench: Bench) -> None:
        future = bench.writer.flush()
        for _ in range(20):
            bench.writer.turn()
            if future.done():
                future.result()
                return
            bench.now_ms += bench.policy.retry_ms_max
            if self.fs.fault is Fault.ERROR_FROM_HERE:
                self.fs.repair()
        raise AssertionError("a flush does not come to an end")


def run_fault(root: Path, seed: int, fault: Fault, at: int, error: int) -> tuple[bool, list[str]]:
    """(whether the fault fired, what was wrong afterwards)."""
    fs = FaultyFS(fault, at, error)
    story = Story(root, fs, seed)
    with contextlib.suppress(Crash, SyncFailed, OSError):
        story.tell()
    try:
        bench = story.bench or Bench(root, DurableFS(), **POLICY)
        bench.fs = DurableFS()
        bench.start()
        leftovers = os.listdir(bench.paths.staging(bench.fs))
        leftovers += [bench.paths.intent.name] * bench.paths.intent.exists()
        bench.writer.turn(everything=True)
    except Exception as refusal:
        return fs.fired, [f"does not start: {refusal!r}"]
    wrong = [f"left behind: {leftovers}"] * bool(leftovers)
    return fs.fired, wrong + list(violations(bench, story.sent, root))


def violations(bench: Bench, sent: Counter[tuple[int, str, int]], root: Path) -> Iterable[str]:
    found: Counter[tuple[int, str, int]] = Counter()
    for path in bench.data.rglob("*.parquet"):
        workspace_id = int(path.relative_to(bench.data).parts[0])
        try:
            table = pq.ParquetFile(path, page_checksum_verification=True).read()
        except Exception as error:
            yield f"{path.name} is not readable: {error}"
            continue
        kind = path.name.partition("-")[0].removesuffix(".parquet")
        found.update((workspace_id, kind, t) for t in table["timestamp"].to_pylist())
    if found != sent:
        yield f"lost {dict(sent - found)}, too many {dict(found - sent)}"
    if bench.report.unknown_files:
        yield f"unknown {bench.report.unknown_files}"
    if bench.journal or bench.writer.buffered_rows or bench.writer.buffered_bytes:
        yield f"not trimmed: {sorted(bench.journal)}, {bench.writer.buffered_rows} rows buffered"
    large = [f.path for f in bench.manifest.files() if f.bytes > bench.policy.max_file_bytes]
    if large:
        yield f"too large: {large}"
    before = tree(root)
    bench.start()
    bench.writer.turn(everything=True)
    if tree(root) != before:
        yield f"a second recovery changed {tree(root) ^ before}"


def tree(root: Path) -> set[tuple[str, bytes]]:
    return {(str(path), path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def count_calls(seed: int) -> int:
    with tempfile.TemporaryDirectory() as root:
        fs = FaultyFS(Fault.ERROR_ONCE, -1)
        Story(Path(root), fs, seed).tell()
        return len(fs.calls)


def campaign(seed: int, size: int, directory: Path) -> Outcome:
    """Run `size` random faults, or with 0 every kind of fault at every call."""
    outcome = Outcome(seed)
    calls = range(count_calls(seed))
    plans = [(fault, at, error) for fault in Fault for at in calls for error in _errors(fault)]
    if size:
        plans = random.Random(seed).sample(plans, size)
    for fault, at, error in plans:
        root = directory / "run"
        fired, wrong = run_fault(root, seed, fault, at, error)
        outcome.planned += 1
        outcome.fired += fired
        outcome.violations += [f"{fault.value} at {at} ({errno.errorcode[error]}): {text}" for text in wrong]
        shutil.rmtree(root, ignore_errors=True)
    return outcome


def _errors(fault: Fault) -> tuple[int, ...]:
    return ERRORS if fault in (Fault.ERROR_ONCE, Fault.ERROR_FROM_HERE) else ERRORS[:1]


def main() -> int:
    seed, size = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory:
        outcome = campaign(seed, size, Path(directory))
    print(outcome)
    print("\n".join(outcome.violations[:20]))
    return 0 if outcome.fired == outcome.planned and not outcome.violations else 1


if __name__ == "__main__":
    sys.exit(main())
