"""How fast a start reads back a journal whose rows are not in files: load, kill -9, start again.

python -m benchmarks.bench_replay [--json]
"""

import argparse
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.service import BenchmarkedService, RowsLost

NOTHING_FLUSHED: Mapping[str, Mapping[str, Any]] = {
    "sinks.parquet": {"flush_interval": "3600s", "max_buffered_size": "2GB", "max_file_size": "2GB"},
    "server": {"workspace_share": 1.0},
}


def measure(directory: Path | None, rows: int = 500, seconds: float = 1.5) -> dict[str, Any]:
    """rows_per_s of the start's replay, from the service's own metrics."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        path = Path(name)
        with BenchmarkedService(path, NOTHING_FLUSHED) as service:
            acknowledged = service.load(service.keys, rows=rows, connections=16, seconds=seconds)["rows"]
            in_files = service.rows_in_files()
            service.process.kill()
            service.process.wait()
        with BenchmarkedService(path, NOTHING_FLUSHED) as service:
            text = service.request("GET", "/metrics").decode()
            replayed, took_s = (
                _sample(text, f"parquet_sink_recovery_{what}") for what in ("rows", "seconds")
            )
            service.request("POST", "/flush")
            if service.rows_in_files() != acknowledged or replayed + in_files < acknowledged:
                raise RowsLost(
                    f"{acknowledged} acknowledged, {service.rows_in_files()} in files after replay"
                )
    return {"rows_per_s": replayed / took_s, "rows": int(replayed), "seconds": took_s}


def _sample(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
