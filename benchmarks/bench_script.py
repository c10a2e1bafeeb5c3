"""What a script would do: the same JSON Lines from a file into Parquet, by Polars and by DuckDB.

    python -m benchmarks.bench_script polars|duckdb [--rows 200000] [--json]

One thread each, no HTTP, no durability. The engine runs in a process of its own; its import is not counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from app.kinds import Kind
from benchmarks.generated_rows import DISTINCT_ROWS, json_lines, rows

ROWS = 200_000


def write_lines(path: Path, count: int, seed: int = 1) -> None:
    """The load generator's rows as nested JSON Lines, repeated as it repeats them."""
    lines = json_lines(Kind.EVENTS, rows(Kind.EVENTS, DISTINCT_ROWS, seed), flat=False).splitlines(True)
    lines[-1] += b"\n"
    with path.open("wb") as file:
        for start in range(0, count, len(lines)):
            file.writelines(lines[: count - start])


def measure(directory: Path, engine: str, count: int = ROWS) -> dict[str, Any]:
    """rows_per_s and cpu_us_per_row of reading and writing one file."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        source, target = Path(name) / "rows.ndjson", Path(name) / "rows.parquet"
        write_lines(source, count)
        command = [sys.executable, "-m", "benchmarks.bench_script", engine, "--convert", name]
        environment = os.environ | {"POLARS_MAX_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert pq.read_metadata(target).num_rows == count
    seconds, cpu_s = json.loads(done.stdout)
    return {"rows_per_s": count / seconds, "cpu_us_per_row": cpu_s / count * 1e6, "rows": count}


def convert(engine: str, directory: Path) -> tuple[float, float]:
    """Seconds and CPU seconds."""
    source, target = directory / "rows.ndjson", directory / "rows.parquet"
    if engine == "polars":
        import polars

        began, cpu = time.perf_counter(), time.process_time()
        polars.read_ndjson(source).write_parquet(target, compression="snappy")
    else:
        import duckdb

        with duckdb.connect(config={"threads": 1}) as connection:
            began, cpu = time.perf_counter(), time.process_time()
            rows = f"SELECT * FROM read_json('{source}')"
            connection.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet, COMPRESSION snappy)")
    return time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("engine", choices=["polars", "duckdb"])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.convert:
        print(json.dumps(convert(options.engine, options.convert)))
        return
    result = measure(options.directory, options.engine, options.rows)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
