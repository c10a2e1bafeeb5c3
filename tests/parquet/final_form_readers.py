"""Readers in loops over a glob while its files are laid again and their old bytes are given back.

    python -m tests.parquet.final_form_readers --files 500

Old bytes are given back when every reader has begun a new query since the last file was laid again: that
is what the grace is for. Prints how many queries ran, failed and counted wrong.
"""

import argparse
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds

from app.parquet.laid_again import LayingPolicy
from app.parquet.layout import Layout
from app.publish.final_policy import FinalPolicy
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.rows import DAY_MS, NOON_MS, event_rows

FLUSHES: Final = 4
ROWS: Final = 40
"""Of each flush of each file."""

GRACE_MS: Final = 3_600_000
POLICY: Final = WriterPolicy(
    final=FinalPolicy(laying=LayingPolicy(layout=Layout()), interval_ms=0, free_bytes_min=0),
    grace_ms=GRACE_MS,
)

Answer = tuple[int, int, int]
"""Rows, sum of timestamps, bytes of ids."""


def by_duckdb(data: Path) -> Callable[[], Answer]:
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    query = f"""select count(*), sum(timestamp)::bigint, sum(octet_length(device_id))::bigint
                from '{data}/*/*/*.parquet'"""
    return lambda: connection.execute(query).fetchall()[0]


def by_polars(data: Path) -> Callable[[], Answer]:
    def ask() -> Answer:
        # A plan of its own each time: one that is kept remembers lengths of files, for longer than the grace.
        lazy = pl.scan_parquet(f"{data}/*/*/*.parquet").select(
            pl.len().alias("rows"), pl.col("timestamp").sum(), pl.col("device_id").bin.size().sum()
        )
        rows, total, id_bytes = lazy.collect().row(0)
        return int(rows), int(total), int(id_bytes)

    return ask


def by_pyarrow(data: Path) -> Callable[[], Answer]:
    def ask() -> Answer:
        table = ds.dataset(data, format="parquet", partitioning=None).to_table(["timestamp", "device_id"])
        ids = pc.sum(pc.binary_length(table["device_id"])).as_py()
        return table.num_rows, pc.sum(table["timestamp"]).as_py(), ids

    return ask


READERS: Final = {"duckdb": by_duckdb, "polars": by_polars, "pyarrow": by_pyarrow}


class Reader(threading.Thread):
    def __init__(self, name: str, ask: Callable[[], Answer], expected: Answer) -> None:
        super().__init__(name=name, daemon=True)
        self.ask = ask
        self.expected = expected
        self.stop = threading.Event()
        self.begun = threading.Condition()
        self.queries = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            with self.begun:
                self.queries += 1
                self.begun.notify_all()
            try:
                answer = self.ask()
            except Exception as error:
                self.wrong.append(f"{self.name}: {error}")
                continue
            if answer != self.expected:
                self.wrong.append(f"{self.name}: {answer} instead of {self.expected}")

    def wait_for_queries(self, more: int) -> None:
        """Until so many have begun: then the one that was under way, if any, is over, from 2 on."""
        with self.begun:
            enough = self.queries + more
            assert self.begun.wait_for(lambda: self.queries >= enough, timeout=120), f"{self.name} hangs"


class Outcome(msgspec.Struct):
    files: int
    queries: dict[str, int]
    wrong: list[str]


def run(directory: Path, files: int) -> Outcome:
    """Raises AssertionError when not every file was laid again and given its bytes back."""
    bench = Bench(directory, policy=POLICY)
    for flush in range(FLUSHES):
        for workspace in range(files):
            lsn = flush * files + workspace + 1
            bench.put(lsn, event_rows(ROWS * lsn, ROWS, workspace_id=workspace + 1))
        bench.flush()
    rows = ROWS * FLUSHES * files
    total = sum(range(ROWS, ROWS + rows))
    readers = [Reader(name, new(bench.data), (rows, total, 16 * rows)) for name, new in READERS.items()]
    for reader in readers:
        reader.start()
    try:
        _lay_and_give_back(bench, readers)
    finally:
        for reader in readers:
            reader.stop.set()
        for reader in readers:
            reader.join(timeout=120)
    wrong = [each for reader in readers for each in reader.wrong]
    return Outcome(files, {reader.name: reader.queries for reader in readers}, wrong)


def _lay_and_give_back(bench: Bench, readers: list[Reader]) -> None:
    for reader in readers:
        reader.wait_for_queries(1)
    count = len(bench.manifest.files())
    for turn in range(count + 1):
        bench.turn_at(NOON_MS + DAY_MS + turn)
    assert all(file.final is not None for file in bench.manifest.files())
    for reader in readers:
        reader.wait_for_queries(2)
    for _ in range(count):
        bench.turn_at(bench.now_ms + GRACE_MS)
    assert all(file.final is not None and file.final.given_back for file in bench.manifest.files())
    for reader in readers:
        reader.wait_for_queries(2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = run(Path(directory), options.files)
    print(
        f"{outcome.files} files laid again and given back; queries {outcome.queries}; "
        f"failed or wrong {len(outcome.wrong)}"
    )
    for each in outcome.wrong[:10]:
        print(f"  {each}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
