"""The encode limit: pyarrow writes the very same rows from memory, with the service's writer options.

    python -m benchmarks.bench_encode_limit [--rows 500] [--json]

One thread, one Parquet file, rows decoded before the clock starts. What the service is measured against.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.decode.flatbuffer.decode import decode_flatbuffers
from app.kinds import Kind
from app.parquet.layout import Layout
from app.parquet.writer_options import writer_options
from app.submission import DecodePolicy, Submission, WireFormat
from benchmarks.generated_rows import DISTINCT_ROWS, flatbuffer, rows

KEY = bytes(15) + b"\x01"
TABLE_ROWS = 200_000


def decoded_rows(kind: Kind, count: int, batch_rows: int = 500, seed: int = 1) -> pa.Table:
    """The rows that the load generator sends, repeated as it repeats them, as the service decodes them."""
    pool = rows(kind, DISTINCT_ROWS, seed)
    batches = [pool[i : i + batch_rows] for i in range(0, len(pool), batch_rows)]
    submissions = [
        Submission(
            WireFormat.FLATBUFFER,
            None,
            flatbuffer(kind, batches[i % len(batches)], KEY),
            KEY,
            1,
            bytes(16),
            1_790_000_000_000 + i,
        )
        for i in range(max(count // batch_rows, 1))
    ]
    [group] = decode_flatbuffers(submissions, DecodePolicy(payload_must_be_json=False)).groups
    return pa.Table.from_batches([group.rows])


def measure(directory: Path, kind: Kind = Kind.EVENTS, table: pa.Table | None = None) -> dict[str, Any]:
    """rows_per_s and cpu_us_per_row of one file."""
    table = decoded_rows(kind, TABLE_ROWS) if table is None else table
    with tempfile.TemporaryDirectory(dir=directory) as name:
        began, cpu = time.perf_counter(), time.process_time()
        pq.write_table(table, Path(name) / "rows.parquet", **writer_options(table, kind, Layout()))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {
        "rows_per_s": table.num_rows / seconds,
        "cpu_us_per_row": cpu_s / table.num_rows * 1e6,
        "rows": table.num_rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=TABLE_ROWS)
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default="events")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kind = Kind(options.kind)
    result = measure(options.directory, kind, decoded_rows(kind, options.rows))
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
