"""What one workspace feels of another that floods: latencies alone and beside ten kinds of bodies.

    python -m benchmarks.bench_neighbour [--seconds 8] [--connections 8] [--json]

Workspace 2 sends ten JSON rows twenty times a second. Workspace 1 sends one kind of body over some
connections, the next as soon as the last was answered. The table has the neighbour's latencies, how many of
its batches were refused, and the most memory the service had.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from app.kinds import Kind
from benchmarks.generated_rows import json_lines, rows
from benchmarks.hostile_bodies import SHAPES
from benchmarks.service import BenchmarkedService
from tests.decode.decoding import KEY

RATE = 20.0


def flood(port: int, key: str, path: str, body: bytes, stop: threading.Event, statuses: Counter[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        try:
            connection.request("POST", path, body, {"X-API-Key": key})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            statuses[0] += 1
            stop.wait(0.1)
            continue
        statuses[response.status] += 1
        if response.status in (429, 503):
            stop.wait(0.1)
    connection.close()


def neighbour(port: int, key: str, seconds: float) -> dict[str, Any]:
    """Latencies in ms of batches that are sent at even times, and what became of them."""
    body = json_lines(Kind.EVENTS, rows(Kind.EVENTS, 10, 2), flat=False)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()
    number = 0
    while (now := time.perf_counter()) - began < seconds:
        due = began + number / RATE
        if now < due:
            time.sleep(due - now)
        connection.request("POST", "/v1/events", body, {"X-API-Key": key})
        response = connection.getresponse()
        response.read()
        # From when it was to be sent: who waits behind a slow answer is late, too.
        latencies.append((time.perf_counter() - due) * 1000)
        statuses[response.status] += 1
        number += 1
    connection.close()
    quantiles = statistics.quantiles(latencies * 2, n=100)  # also where one answer took all the time
    return {
        "p50_ms": statistics.median(latencies),
        "p99_ms": quantiles[98],
        "max_ms": max(latencies),
        "not_taken": sum(count for status, count in statuses.items() if status != 202),
    }


def measure(shape: str | None, seconds: float, connections: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as directory,
        BenchmarkedService(Path(directory)) as service,
    ):
        keys = [line.partition(":")[0] for line in service.keys.read_text().splitlines()[:2]]
        stop = threading.Event()
        statuses: Counter[int] = Counter()
        threads = []
        if shape is not None:
            path, body = SHAPES[shape]()
            if path == "/v1/ingest":
                body = body.replace(KEY, bytes.fromhex(keys[0]))
            arguments = (service.port, keys[0], path, body, stop, statuses)
            threads = [threading.Thread(target=flood, args=arguments) for _ in range(connections)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        result = neighbour(service.port, keys[1], seconds)
        stop.set()
        for thread in threads:
            thread.join()
        result["flood"] = dict(sorted(statuses.items()))
        result["peak_mb"] = service.memory_bytes() / 1e6
        return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--shape", action="append", help="only shapes whose name holds this")
    options = parser.parse_args()
    wanted = [name for name in SHAPES if not options.shape or any(part in name for part in options.shape)]
    results = {"alone": measure(None, options.seconds, options.connections)}
    for name in wanted:
        results[name] = measure(name, options.seconds, options.connections)
        print(f"{name}: p99 {results[name]['p99_ms']:.1f} ms", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    print("| flood | p50 ms | p99 ms | max ms | refused | peak MB | answers to the flood |")
    print("|---|---|---|---|---|---|---|")
    for name, each in results.items():
        became = ", ".join(f"{count} x {status}" for status, count in each["flood"].items())
        print(
            f"| {name} | {each['p50_ms']:.1f} | {each['p99_ms']:.1f} | {each['max_ms']:.0f} "
            f"| {each['not_taken']} | {each['peak_mb']:.0f} | {became} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
