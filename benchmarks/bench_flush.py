"""How long /flush takes for many partitions of few rows each, as new files and as ones that grow.

    python -m benchmarks.bench_flush [--workspaces 1000] [--rows 30] [--flushes 3] [--json] ...

Partitions are three for each workspace: events, logs and snapshots. Each is sent until it has rows; then one
/flush, which the service answers when all of them are in files, and within 30 s or not at all.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from benchmarks.service import WORKSPACES_MAX, BenchmarkedService

CONFIG: Final = {"sinks.parquet": {"flush_interval": "1h", "max_buffered_size": "512MB"}}
"""Only /flush publishes."""

CONNECTIONS: Final = 16
LOADS_MAX: Final = 20


def measure(directory: Path | None, workspaces: int, rows: int, flushes: int) -> list[dict[str, Any]]:
    """One result a flush: partitions, rows, seconds, seconds of the server's CPU, µs of both a partition."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as name,
        BenchmarkedService(Path(name), CONFIG) as service,
    ):
        return [_flush(service, workspaces, rows) for _ in range(flushes)]


def _flush(service: BenchmarkedService, workspaces: int, rows: int) -> dict[str, Any]:
    for kind in Kind:
        _fill(service, kind, workspaces, rows)
    began, cpu = time.perf_counter(), service.cpu_s()
    answer = service.request("POST", "/flush")
    seconds, cpu = time.perf_counter() - began, service.cpu_s() - cpu
    service.verify()
    partitions = len(answer["files"])
    return {
        "partitions": partitions,
        "rows": answer["flushed_rows"],
        "seconds": seconds,
        "cpu_s": cpu,
        "us_per_partition": seconds / partitions * 1e6,
        "cpu_us_per_partition": cpu / partitions * 1e6,
    }


def _fill(service: BenchmarkedService, kind: Kind, workspaces: int, rows: int) -> None:
    """Send until every workspace has rows of this kind."""
    done: set[int] = set()
    for seed in range(LOADS_MAX):
        load = {"kind": kind.value, "rows": rows, "workspaces": workspaces, "seed": seed}
        result = service.load(service.keys, connections=CONNECTIONS, seconds=0.5, **load)
        service.acknowledged += result["rows"]
        for line in service.request("GET", "/status")["rows"]:
            if line["kind"] == kind.value and line["buffered"]:
                done.add(line["workspace_id"])
        if len(done) >= workspaces:
            return
    raise RuntimeError(f"only {len(done)} of {workspaces} workspaces have rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workspaces", type=int, default=1000, help=f"at most {WORKSPACES_MAX}")
    parser.add_argument("--rows", type=int, default=30, help="rows a batch; a partition gets one or some")
    parser.add_argument("--flushes", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    results = measure(**options)
    if as_json:
        print(json.dumps(results))
        return
    for result in results:
        print("  ".join(f"{name} {value:,.2f}" for name, value in result.items()))


if __name__ == "__main__":
    main()
