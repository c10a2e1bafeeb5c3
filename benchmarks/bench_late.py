"""What `partition_by = "happened"` costs: a day of rows, of which some happened in the week before.

    python -m benchmarks.bench_late [--rows 1000000] [--directory DIR] [--json FILE]

The rows come hour by hour and are written each hour, by the service's own publishing.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.placing import Placing, Placings
from app.publish.interrupted import recover
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from benchmarks.file_rows import DAY_START_MS, HOUR_MS, hours

DAY_MS: Final = 24 * HOUR_MS
DAYS: Final = 7
SHARES: Final = (0.0, 0.05, 1.0)
"""Of rows that happened on one of the days before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure(options.directory, options.rows, None, 0.0)]
    results += [measure(options.directory, options.rows, DAYS * DAY_MS, share) for share in SHARES]
    for line in results:
        print(
            f"{line['placed by']:9} late {line['late']:5.0%}: {line['CPU us/row']:.2f} us CPU a row, "
            f"{line['bytes/row']:.1f} bytes a row, {line['files']} files"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def measure(directory: Path | None, rows: int, late_ms: int | None, share: float) -> dict[str, Any]:
    """late_ms: as Placing has it. share: of late rows."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        root = Path(place)
        paths = SinkPaths(root / "parquet", root / "journal")
        manifest, _ = recover(DurableFS(), paths)
        placings = Placings().changed(Placing(late_ms), 0)
        writer = Writer(
            WriterPolicy(placings=placings), DurableFS(), paths, manifest,
            clock=lambda: DAY_START_MS, timer=lambda: DAY_START_MS,
            on_trim=lambda lsn: None, on_fatal=lambda error: None,
        )  # fmt: skip
        puts = list(_late(hours(rows), share))
        began = time.process_time()
        for lsn, some in enumerate(puts, start=1):
            writer.put(lsn, Kind.EVENTS, some)
            writer.turn(everything=True)
        seconds = time.process_time() - began
        files = manifest.files()
    return {
        "placed by": "received" if late_ms is None else "happened",
        "late": share,
        "CPU us/row": seconds / rows * 1e6,
        "bytes/row": sum(file.bytes for file in files) / rows,
        "files": len(files),
    }


def _late(batches: Iterator[pa.RecordBatch], share: float) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(1)
    for rows in batches:
        days = np.where(rng.random(rows.num_rows) < share, rng.integers(1, DAYS, rows.num_rows), 0)
        received = rows.column("batch_timestamp").to_numpy()
        yield rows.set_column(0, rows.schema.field(0), pa.array(received - days * DAY_MS, pa.int64()))


if __name__ == "__main__":
    main()
