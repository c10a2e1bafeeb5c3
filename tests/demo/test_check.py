"""The demo fails when a row is missing, double, or of another run."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.schema import SCHEMAS
from tests.demo.check import find_rows
from tests.demo.flights import FLIGHTS, as_events, carriers, read_flights


def write_events(parquet: Path, stored: list[int]) -> None:
    row = {
        "timestamp": 1,
        "batch_timestamp": 1,
        "workspace_id": 1,
        "event_type": "track",
        "source_ip": bytes(16),
    }
    rows = [
        {**row, "source_ip": bytes(16), "payload": json.dumps({"number": number}).encode()}
        for number in stored
    ]
    path = parquet / "1" / "2026-03-01" / "events.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[Kind.EVENTS]), path)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ([0, 1, 2, 3], None),
        ([3, 0, 2, 1], None),
        ([0, 1, 3], "1 rows are missing and 0 are double"),
        ([0, 1, 2, 3, 3], "0 rows are missing and 1 are double"),
        ([0, 1, 3, 3], "1 rows are missing and 1 are double"),
        ([0, 1, 2, 4], "0 rows are missing and 0 are double (numbers 0 to 4)"),
    ],
)
def test_only_every_row_once_is_good(tmp_path: Path, stored: list[int], complaint: str | None) -> None:
    write_events(tmp_path, stored)

    with duckdb.connect() as connection:
        found = find_rows(connection, tmp_path, "events").complaint(sent=4)

    assert (found is None) == (complaint is None)
    assert found is None or str(complaint) in found


def test_the_flights_are_all_there_each_with_a_number_of_its_own() -> None:
    flights = read_flights()

    assert sum(carriers(flights).values()) == flights.num_rows == FLIGHTS
    events = list(as_events(flights.slice(1000, 500), 1000))
    assert [event["properties"]["number"] for event in events] == list(range(1000, 1500))
    assert all(event["properties"]["carrier"] in carriers(flights) for event in events)
