"""How many rows a second the service makes durable and publishes, and what CPU a row costs.

    python -m benchmarks.bench_ingest [--format flatbuffer] [--rows 500] [--workspaces 1] [--json] ...

Rates count until the last row is in a published file; the files' rows are counted and must equal the rows
acknowledged.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.load_generator import FORMATS
from benchmarks.service import BenchmarkedService

Config = Mapping[str, Mapping[str, Any]]


def measure(directory: Path, config: Config | None = None, **load: object) -> dict[str, Any]:
    """One run on a fresh service; `load` as benchmarks.load_generator takes it. See service.rates."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as name,
        BenchmarkedService(Path(name), config) as service,
    ):
        service.run(**{**load, "seconds": 0.5})  # warm: imports, allocator, segments
        return service.run(**load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, default="flatbuffer")
    parser.add_argument("--kind", choices=["events", "logs", "snapshots"], default="events")
    parser.add_argument("--rows", type=int, default=500, help="rows a batch")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workspaces", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, help="requests a second; default: as fast as they are answered")
    parser.add_argument("--data-format", choices=["json", "binary"], default="json")
    parser.add_argument("--acknowledge", choices=["fsync", "write", "memory"], default="fsync")
    parser.add_argument("--workers", type=int, default=1, help="processes that take batches")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    directory, as_json = options.pop("directory"), options.pop("json")
    config = {
        "sinks.parquet": {"data_format": options.pop("data_format")},
        "journal": {"acknowledge": options.pop("acknowledge")},
        "server": {"workers": options.pop("workers")},
    }
    result = measure(directory, config, **options)
    if as_json:
        print(json.dumps(result))
        return
    for name in ("published_rows_per_s", "rows_per_s", "requests_per_s", "flush_s", "peak_rss_bytes"):
        print(f"{name:24} {result[name]:14,.2f}")
    for name in ("cpu_us_per_row", "cpu_us_per_request", "load_cpu_us_per_row"):
        print(f"{name:24} {result[name]:14,.3f}")
    print("latency_ms", {name: round(value, 2) for name, value in result["latency_ms"].items()})
    print(
        "threads_cpu_s", {name: round(value, 2) for name, value in result["threads_cpu_s"].items() if value}
    )
    print("statuses", result["statuses"])


if __name__ == "__main__":
    main()
