"""What it costs to put rows into files: encoding, appending to files of several sizes, many small partitions.

python benchmarks/bench_encode.py [--rows 200000] [--json]
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.layout import CODECS, Layout
from app.parquet.row_group import MAGIC, encode_row_group
from app.parquet.writer_options import writer_options
from app.publish.interrupted import recover
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from app.schema import SCHEMAS

RECEIVED_MS = 1_767_268_800_000
PAYLOAD_BYTES = 130
"""Makes about 240 bytes a row in memory."""

Figures = dict[str, float]


def events(count: int, workspaces: int = 1, seed: int = 1) -> pa.RecordBatch:
    """Rows as those of a web page are: few names, ids that repeat, JSON that differs in some values."""
    rng = np.random.default_rng(seed)
    visitors = pa.array([rng.bytes(16) for _ in range(5000)], pa.binary(16))
    ids = visitors.take(pa.array(rng.integers(0, 5000, count)))
    texts = rng.bytes(count * 20).hex()
    payloads = [
        b'{"page":"/products/%d","referrer":"https://example.com/","value":%d,"session":"%s"}'
        % (i % 900, i % 7919, texts[i * 40 : i * 40 + 40].encode())
        for i in range(count)
    ]
    payloads = [
        payload[:-1] + b',"pad":"' + b"x" * (PAYLOAD_BYTES - len(payload) - 9) + b'"}' for payload in payloads
    ]
    return pa.record_batch(
        [
            np.arange(count) * 3 + RECEIVED_MS - 5000,
            np.full(count, RECEIVED_MS),
            np.sort(np.arange(count) % workspaces).astype("u8"),
            pa.array(["track", "track", "identify", "group"]).take(pa.array(rng.integers(0, 4, count))),
            pa.array([f"event name {i}" for i in range(40)]).take(pa.array(rng.integers(0, 40, count))),
            ids,
            ids,
            pa.array(
                [bytes(10) + b"\xff\xff\x0a\x00\x00" + bytes([i % 200]) for i in range(count)], pa.binary(16)
            ),
            pa.array(payloads, pa.binary()),
        ],
        schema=SCHEMAS[Kind.EVENTS],
    )


def best_s(action: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return min(taken)


def encoding(rows: pa.Table) -> Figures:
    """µs a row and bytes a row: the service's row groups in memory, and pyarrow's own writer beside them."""
    figures = {"memory_bytes_per_row": rows.nbytes / rows.num_rows}
    count = rows.num_rows
    for codec in CODECS:
        size = encode_row_group(rows, Kind.EVENTS, Layout(codec=codec), len(MAGIC)).size
        seconds = best_s(partial(encode_row_group, rows, Kind.EVENTS, Layout(codec=codec), len(MAGIC)))
        figures[f"row_group_{codec}_us_per_row"] = seconds / count * 1e6
        figures[f"row_group_{codec}_bytes_per_row"] = size / count

    def plainly(**options: object) -> None:
        with pq.ParquetWriter(pa.BufferOutputStream(), rows.schema, **options) as writer:
            writer.write_table(rows)

    figures["pyarrow_defaults_us_per_row"] = best_s(plainly) / count * 1e6
    options = writer_options(rows, Kind.EVENTS, Layout())
    figures["pyarrow_same_options_us_per_row"] = best_s(lambda: plainly(**options)) / count * 1e6
    return figures


class Bench:
    """A writer without a thread on a directory of its own."""

    def __init__(self, directory: Path) -> None:
        fs = DurableFS()
        paths = SinkPaths(directory / "data", directory / "state")
        self.manifest, _ = recover(fs, paths)
        policy = WriterPolicy(max_file_bytes=1 << 30)
        self.lsn = 0
        self.writer = Writer(
            policy,
            fs,
            paths,
            self.manifest,
            clock=lambda: RECEIVED_MS,
            timer=lambda: RECEIVED_MS,
            on_trim=lambda lsn: None,
            on_fatal=lambda error: None,
        )

    def publish(self, rows: pa.RecordBatch) -> float:
        """Seconds from put to published."""
        self.lsn += 1
        started = time.perf_counter()
        self.writer.put(self.lsn, Kind.EVENTS, rows)
        done = self.writer.flush()
        self.writer.turn()
        done.result(timeout=0)
        return time.perf_counter() - started


def appending(directory: Path, step: pa.RecordBatch) -> Figures:
    """ms to publish 1,000 more rows, by the size of the file they are appended to."""
    bench = Bench(directory)
    small = step.slice(0, 1000)
    figures = {"publish_us_per_row": bench.publish(step) / step.num_rows * 1e6}
    for megabytes in (16, 64, 128):
        while (size := bench.manifest.files()[0].bytes) < megabytes << 20:
            bench.publish(step)
        took_s = min(bench.publish(small) for _ in range(3))
        figures[f"append_1000_rows_to_{size >> 20}_MB_ms"] = took_s * 1e3
    return figures


def many_partitions(directory: Path) -> Figures:
    """ms a partition, when 1,000 workspaces have five rows each."""
    bench = Bench(directory)
    rows = events(5000, workspaces=1000)
    first_s = bench.publish(rows)
    later_s = min(bench.publish(rows) for _ in range(2))
    return {"first_flush_ms_per_partition": first_s, "later_flush_ms_per_partition": later_s}


def small_flushes(directory: Path, flushes: int) -> Figures:
    """What a day of flushes of few rows leaves: footers stay in the file, as bytes never move."""
    bench = Bench(directory)
    rows = events(flushes * 10)
    for number in range(flushes):
        bench.publish(rows.slice(number * 10, 10))
    [file] = bench.manifest.files()
    return {
        f"file_of_{flushes}_flushes_kB": file.bytes / 1000,
        "of_it_rows_kB": flushes * 10 * PAYLOAD_BYTES / 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the temporary directory"
    )
    options = parser.parse_args()
    rows = events(options.rows)
    figures = encoding(pa.Table.from_batches([rows]))
    directory = Path(tempfile.mkdtemp(dir=options.directory))
    try:
        figures |= appending(directory / "append", rows)
        figures |= many_partitions(directory / "many")
        figures |= small_flushes(directory / "small", 100)
    finally:
        shutil.rmtree(directory)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        print("\n".join(f"{name:45} {value:10.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
