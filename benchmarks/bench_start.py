"""How long a start takes, from exec to the first 202: with an empty journal, and with rows that wait in it.

python -m benchmarks.bench_start [--rows 1000000] [--json]
"""

import argparse
import http.client
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from benchmarks.bench_replay import NOTHING_FLUSHED
from benchmarks.generated_rows import json_lines, rows
from benchmarks.service import BenchmarkedService, RowsLost

PAUSE_S: Final = 0.005


def first_202_s(service: BenchmarkedService, began: float) -> float:
    """Seconds from `began` until a batch of one row was accepted."""
    body = json_lines(Kind.EVENTS, rows(Kind.EVENTS, 1, 3), flat=False)
    key = service.keys.read_text().partition(":")[0]
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
            connection.request("POST", "/v1/events", body, {"X-API-Key": key})
            if connection.getresponse().status == 202:
                return time.perf_counter() - began
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(PAUSE_S)


def measure(directory: Path | None, waiting: int = 1_000_000) -> dict[str, Any]:
    """empty_s, waiting_s: until the first 202. waiting: rows in the journal of the second start, at least."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        began = time.perf_counter()
        service = BenchmarkedService(Path(name) / "empty", NOTHING_FLUSHED)
        empty_s = first_202_s(service, began)
        service.__exit__()
        path = Path(name) / "waiting"
        acknowledged = 0
        with BenchmarkedService(path, NOTHING_FLUSHED) as service:
            while acknowledged < waiting:
                acknowledged += service.load(service.keys, rows=500, connections=16, seconds=1.0)["rows"]
            service.process.kill()
            service.process.wait()
        began = time.perf_counter()
        service = BenchmarkedService(path, NOTHING_FLUSHED)
        waiting_s = first_202_s(service, began)
        with service:
            service.request("POST", "/flush")
            if service.rows_in_files() != acknowledged + 1:
                raise RowsLost(f"{acknowledged + 1} acknowledged, {service.rows_in_files()} in files")
    return {"empty_s": empty_s, "waiting_s": waiting_s, "waiting_rows": acknowledged}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory, options.rows)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
