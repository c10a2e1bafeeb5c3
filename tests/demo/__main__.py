"""The service shown at work: real data in over HTTP, DuckDB on the files, every row counted.

    python -m tests.demo

Starts the service on directories of its own, sends the flights half as JSON Lines and half as FlatBuffers,
and log lines of this machine; ends by itself, and fails when a row is missing or double. What it has stored
stays in demo/ until it runs again; queries to paste are printed.
"""

import shutil
import sys
import time
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from app.kinds import Kind
from tests.demo.check import Found, count_carriers, find_rows
from tests.demo.flights import as_events, as_flatbuffer_row, carriers, read_flights
from tests.demo.machine_logs import log_lines
from tests.support.flatbuffer_batches import official
from tests.support.payloads import json_lines
from tests.support.service import KEYS, REPOSITORY, Service

BATCH_ROWS = 2_000

DIRECTORY = REPOSITORY / "demo"
MARK = ".made-by-make-demo"

QUERIES = (
    "SELECT event_name, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC",
    "SELECT payload->>'carrier' AS carrier, round(avg((payload->>'dep_delay')::DOUBLE), 1) AS delay "
    "FROM events GROUP BY ALL ORDER BY delay DESC",
    "SELECT level, service, count(*) AS n FROM logs GROUP BY ALL ORDER BY n DESC LIMIT 10",
)
PROGRESS_BATCHES = 20


def main() -> int:
    if DIRECTORY.exists():
        if not (DIRECTORY / MARK).exists():
            print(f"{DIRECTORY} is not of an earlier demo; move it away")
            return 1
        shutil.rmtree(DIRECTORY)
    DIRECTORY.mkdir()
    (DIRECTORY / MARK).touch()
    print("Starting the service ...")
    with Service(DIRECTORY) as service:
        service.start()
        complaints = show(service)
        code = service.terminate()
    if code != 0:
        complaints.append(f"the service ended with exit code {code}:\n{service.stderr}")
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    if complaints:
        return 1
    print("\nThe data stays in demo/; ask it yourself:\n")
    for sql in QUERIES:
        print(f'  .venv/bin/parquet-sink query --config demo/parquet-sink.toml \\\n    "{sql}"')
    print("  .venv/bin/parquet-sink query --config demo/parquet-sink.toml -i")
    return 0


def show(service: Service) -> list[str]:
    """Sends, flushes, asks; what was found wrong."""
    flights = read_flights()
    started = time.perf_counter()
    half = flights.num_rows // 2
    events = send_json(service, flights.slice(0, half))
    events += send_flatbuffers(service, flights.slice(half), half)
    logs = send_logs(service)
    service.flush()
    print(f"{events + logs:,} rows sent and flushed in {time.perf_counter() - started:.1f} s\n")

    with duckdb.connect() as connection:
        found = {kind: find_rows(connection, service.parquet, kind) for kind in ("events", "logs")}
        stored = count_carriers(connection, service.parquet)
    return report(service, found, {"events": events, "logs": logs}, stored, carriers(flights))


def send_json(service: Service, flights: pa.Table) -> int:
    accepted = 0
    for first in slices(flights, "JSON Lines"):
        rows = as_events(flights.slice(first, BATCH_ROWS), first)
        response = service.post("events", json_lines(rows), content_type="application/x-ndjson")
        response.raise_for_status()
        accepted += response.json()["accepted"]
    return accepted


def send_flatbuffers(service: Service, flights: pa.Table, first_number: int) -> int:
    accepted = 0
    for first in slices(flights, "FlatBuffers"):
        events = as_events(flights.slice(first, BATCH_ROWS), first_number + first)
        rows = [as_flatbuffer_row(event) for event in events]
        accepted += service.post_flatbuffer(official(Kind.EVENTS, rows, bytes.fromhex(KEYS[1])))
    return accepted


def send_logs(service: Service) -> int:
    lines = log_lines(fallback=service.directory / "stderr.txt")
    for first in range(0, len(lines), BATCH_ROWS):
        service.post_json("logs", lines[first : first + BATCH_ROWS])
    print(f"{'machine logs':>12}  {len(lines):,} lines of {len({line['service'] for line in lines})} files")
    return len(lines)


def slices(table: pa.Table, label: str) -> Iterator[int]:
    """First rows of the batches of a table; says how far it is."""
    for batch, first in enumerate(range(0, table.num_rows, BATCH_ROWS)):
        yield first
        sent = min(first + BATCH_ROWS, table.num_rows)
        if batch % PROGRESS_BATCHES == PROGRESS_BATCHES - 1 or sent == table.num_rows:
            print(f"{label:>12}  {sent:>7,} of {table.num_rows:,} flights", flush=True)


def report(
    service: Service,
    found: dict[str, Found],
    sent: dict[str, int],
    stored: dict[str, int],
    source: dict[str, int],
) -> list[str]:
    for path in service.data_files():
        print(f"  {path.relative_to(service.directory)}  {path.stat().st_size:,} bytes")
    print("\ncarrier  in the source  in the files")
    for carrier in sorted(source | stored, key=lambda name: -source.get(name, 0)):
        print(f"{carrier:>7}  {source.get(carrier, 0):>13,}  {stored.get(carrier, 0):>12,}")
    print()
    complaints = [] if stored == source else ["the counts per carrier differ from the source"]
    for kind, rows in found.items():
        sign = "=" if sent[kind] == rows.rows else "!="
        print(f"{kind}: rows sent {sent[kind]:,} {sign} rows in files {rows.rows:,}")
        complaint = rows.complaint(sent[kind])
        if complaint:
            complaints.append(f"{kind}: {complaint}")
    return complaints


if __name__ == "__main__":
    sys.exit(main())
