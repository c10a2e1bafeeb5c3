"""The disk limit: append and fdatasync of the bytes of a journal group, nothing else.

python -m benchmarks.bench_disk_limit [--group-bytes 500000] [--seconds 2] [--json]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

FILE_BYTES = 64 << 20


def measure(directory: Path | None, group_bytes: int, seconds: float) -> dict[str, Any]:
    """sync_ms: median of one fdatasync. megabytes_per_s: write and sync together."""
    data = os.urandom(group_bytes)
    syncs: list[float] = []
    written = 0
    with tempfile.TemporaryFile(dir=directory) as file:
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            if written % FILE_BYTES + group_bytes > FILE_BYTES:
                os.ftruncate(file.fileno(), 0)
            written += os.write(file.fileno(), data)
            now = time.perf_counter()
            os.fdatasync(file.fileno())
            syncs.append(time.perf_counter() - now)
        spent = time.perf_counter() - began
    return {
        "sync_ms": statistics.median(syncs) * 1e3,
        "sync_p99_ms": sorted(syncs)[int(len(syncs) * 0.99)] * 1e3,
        "megabytes_per_s": written / spent / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--group-bytes", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory, options.group_bytes, options.seconds)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
