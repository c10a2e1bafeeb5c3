"""What little traffic costs: CPU of a request, one after the other at a leisurely rate, and of no traffic.

python -m benchmarks.bench_light [--seconds 3] [--json]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.service import BenchmarkedService

RATE: Final = 100.0
LOADS: Final = {
    "flatbuffer 1": {"format": "flatbuffer", "rows": 1},
    "nested-json 10": {"format": "nested-json", "rows": 10},
    "flatbuffer 500": {"format": "flatbuffer", "rows": 500},
}


def measure(directory: Path | None, seconds: float = 3.0) -> dict[str, Any]:
    """cpu_ms_per_request by load, of RATE requests a second over one connection; idle_ms_per_s."""
    with tempfile.TemporaryDirectory(dir=directory) as name, BenchmarkedService(Path(name)) as service:
        service.run(rows=500, connections=1, seconds=0.5, rate=RATE)
        found = {}
        for load, options in LOADS.items():
            result = service.load(service.keys, connections=1, seconds=seconds, rate=RATE, **options)
            service.acknowledged += result["rows"]
            found[load] = 1000 * result["server_cpu_s"] / result["requests"]
        service.request("POST", "/flush")
        service.verify()
        began = service.cpu_s()
        time.sleep(seconds)
        idle = 1000 * (service.cpu_s() - began) / seconds
    return {"cpu_ms_per_request": found, "idle_ms_per_s": idle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory, options.seconds)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
