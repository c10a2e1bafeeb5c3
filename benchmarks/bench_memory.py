"""What memory the service takes at its highest load, and whether it grows.

python -m benchmarks.bench_memory [--minutes 2] [--json]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.service import BenchmarkedService


def measure(directory: Path | None, minutes: int = 2, seconds: float = 60.0) -> dict[str, Any]:
    """peak_rss_bytes after each minute of FlatBuffer batches of 500 rows; growth: the last over the first."""
    peaks, rows = [], 0
    with tempfile.TemporaryDirectory(dir=directory) as name, BenchmarkedService(Path(name)) as service:
        for _ in range(minutes):
            rows += service.run(rows=500, connections=16, seconds=seconds)["rows"]
            peaks.append(service.memory_bytes())
    return {"peak_rss_bytes": peaks, "growth": peaks[-1] / peaks[0] - 1, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=int, default=2)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory, options.minutes)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
