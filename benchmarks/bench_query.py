"""What clients that send feel of queries: ingest at a given rate, alone and beside ten queries in a loop.

python -m benchmarks.bench_query [--rate 500] [--seconds 6] [--json]
"""

import argparse
import http.client
import json
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.service import ADMIN_TOKEN, BenchmarkedService

QUERIES_AT_ONCE: Final = 10
SQL: Final = "SELECT event_name, count(*), max(payload->>'n') FROM events GROUP BY ALL"


def ask(port: int, stop: threading.Event, statuses: Counter[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        connection.request("POST", "/query", SQL, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        response = connection.getresponse()
        response.read()
        statuses[response.status] += 1
        if response.status != 200:
            stop.wait(0.2)
    connection.close()


def measure(directory: Path | None, rate: float, seconds: float = 6.0, rows: int = 500) -> dict[str, Any]:
    """p99 and rows/s of both runs, and the answers to the queries. rate: requests a second."""
    load: dict[str, Any] = {"rows": rows, "connections": 16, "seconds": seconds, "rate": rate}
    with tempfile.TemporaryDirectory(dir=directory) as name, BenchmarkedService(Path(name)) as service:
        service.run(**{**load, "seconds": 2.0})  # warm, and something to query
        alone = service.run(**load)
        stop, statuses = threading.Event(), Counter[int]()
        arguments = (service.port, stop, statuses)
        threads = [threading.Thread(target=ask, args=arguments) for _ in range(QUERIES_AT_ONCE)]
        for thread in threads:
            thread.start()
        beside = service.run(**load)
        stop.set()
        for thread in threads:
            thread.join()
    sent = beside["statuses"]
    return {
        "alone": {"p99_ms": alone["latency_ms"]["p99"], "rows_per_s": alone["rows_per_s"]},
        "beside": {"p99_ms": beside["latency_ms"]["p99"], "rows_per_s": beside["rows_per_s"]},
        "refused": sum(count for status, count in sent.items() if status != "202"),
        "queries": {str(status): count for status, count in sorted(statuses.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.directory, options.rate, options.seconds)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
