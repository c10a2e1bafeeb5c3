"""A year of small files: 365 days x 20 workspaces x 3 kinds, listed by the service, queried over the glob.

    python -m benchmarks.bench_year [--days 365] [--rows 20] [--directory DIR] [--json FILE]

--rows: rows in a file. The files are written by the service's own publishing, one flush each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.publish.interrupted import recover
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from app.schema import SCHEMAS
from benchmarks.file_rows import DAY_START_MS
from tests.support.service import Service

DAY_MS: Final = 86_400_000
WORKSPACES: Final = 20
REPEATS: Final = 7

QUERIES: Final = {
    "duckdb count": "import duckdb; print(duckdb.sql(\"select count(*) from '{glob}'\").fetchall())",
    "duckdb one day by name": "import duckdb; print(duckdb.sql(\"select event_name, count(*) from '{day}' "
    'group by all order by all").fetchall())',
    "duckdb year by name": "import duckdb; print(duckdb.sql(\"select event_name, count(*) from '{glob}' "
    'group by all order by all").fetchall())',
    "polars count": "import polars as pl; print(pl.scan_parquet('{glob}').select(pl.len()).collect())",
    "polars year by name": "import polars as pl; print(pl.scan_parquet('{glob}').group_by('event_name')"
    ".len().collect())",
}

MEASURED: Final = """
import json, time
from pathlib import Path
{import_first}
before = time.perf_counter()
{code}
seconds = time.perf_counter() - before
peak_kib = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps([seconds, peak_kib / 1024]))
"""


def rows_of(kind: Kind, day_ms: int, each: int) -> pa.RecordBatch:
    """`each` rows of every workspace, received at noon."""
    count = WORKSPACES * each
    values: dict[str, Any] = {
        "timestamp": np.arange(count) + day_ms,
        "batch_timestamp": np.full(count, day_ms + DAY_MS // 2),
        "workspace_id": np.repeat(np.arange(1, WORKSPACES + 1, dtype="u8"), each),
        "payload": [b'{"page":"/product/%d","value":%d}' % (n % 9, n) for n in range(count)],
    }
    texts = pa.array([f"value {n % 5}" for n in range(count)])
    ids = pa.array([bytes(12) + n.to_bytes(4) for n in range(count)], pa.binary(16))
    columns = [
        values.get(field.name, texts if pa.types.is_string(field.type) else ids) for field in SCHEMAS[kind]
    ]
    return pa.record_batch(columns, schema=SCHEMAS[kind])


def write(directory: Path, days: int, each: int) -> dict[str, float]:
    """Seconds and bytes."""
    paths = SinkPaths((directory / "parquet").absolute(), (directory / "journal").absolute())
    manifest, _ = recover(DurableFS(), paths)
    now_ms = DAY_START_MS
    writer = Writer(
        WriterPolicy(), DurableFS(), paths, manifest, clock=lambda: now_ms, timer=lambda: now_ms,
        on_trim=lambda lsn: None, on_fatal=lambda error: None,
    )  # fmt: skip
    started = time.perf_counter()
    for day in range(days):
        now_ms = DAY_START_MS + day * DAY_MS + DAY_MS // 2
        for number, kind in enumerate(Kind):
            writer.put(day * 3 + number + 1, kind, rows_of(kind, DAY_START_MS + day * DAY_MS, each))
        writer.turn(everything=True)
    files = manifest.files()
    return {
        "write_s": time.perf_counter() - started,
        "files": len(files),
        "MB": sum(file.bytes for file in files) / 1e6,
        "manifest_MB": paths.manifest.stat().st_size / 1e6,
    }


def median_ms(call: Any) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def listing(directory: Path) -> dict[str, float]:
    """Of the real service on these files: seconds to start, ms a listing, MB of memory."""
    with Service(directory, {"journal": {"acknowledge": "memory"}}) as service:  # there is no journal of it
        started = time.perf_counter()
        service.start()
        figures = {"start_s": time.perf_counter() - started}
        figures["files_first_page_ms"] = median_ms(lambda: service.admin("GET", "/files"))
        chosen = {"workspace_id": "7", "date": "2026-01-15"}
        figures["files_of_a_day_ms"] = median_ms(lambda: service.admin("GET", "/files", params=chosen))
        started = time.perf_counter()
        figures["listed"] = len(service.files())
        figures["files_all_pages_ms"] = (time.perf_counter() - started) * 1e3
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        figures["service_peak_MB"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        assert service.terminate() == 0
    return figures


def queries(directory: Path) -> dict[str, float]:
    """ms and peak MB of each query in a process of its own."""
    figures = {}
    glob, day = "parquet/**/events*.parquet", "parquet/*/2026-01-15/events*.parquet"
    for name, code in QUERIES.items():
        imported, _, rest = code.format(glob=glob, day=day).partition("; ")
        program = MEASURED.format(import_first=imported, code=rest)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, check=True
        )
        seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
        figures[f"{name} ms"] = seconds * 1e3
        figures[f"{name} peak MB"] = megabytes
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--directory", type=Path, help="on the disk to use; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        figures = write(directory, options.days, options.rows)
        figures |= listing(directory)
        figures |= queries(directory)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print("\n".join(f"{key:30} {value:12.1f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
