"""The hand-laid batches of tests/vectors over HTTP, read back by DuckDB, equal to vectors.json."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.kinds import Kind
from tests.support.service import Service, running_service

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
CONTENTS = json.loads((VECTORS / "vectors.json").read_text())
ROWS: dict[str, Any] = {name: rows for name, rows in CONTENTS["vectors"].items() if isinstance(rows, list)}
REFUSED = {
    "refused-device-id-of-15-bytes": "device_id",
    "refused-event-type-9": "event_type",
    "refused-payload-not-json": "payload",
}
NOW = "time of receipt"


@pytest.fixture(scope="module")
def binary_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Takes every payload as it comes."""
    config = {"sinks.parquet": {"data_format": "binary"}}
    with running_service(tmp_path_factory.mktemp("binary"), config) as service:
        yield service


def kind_of(vector: str) -> Kind:
    return next((kind for kind in Kind if vector.startswith(kind.value)), Kind.EVENTS)


def read_back(service: Service, kind: Kind) -> list[dict[str, Any]]:
    """Every row of a kind, as DuckDB reads the files."""
    with duckdb.connect() as connection:
        result = connection.execute(f"SELECT * FROM '{service.parquet}/*/*/{kind}*.parquet'")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def expected(row: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """vectors.json's row in the types of the columns; `stored` gives the time of receipt."""
    wanted = dict(row)
    if wanted["timestamp"] == NOW:
        wanted["timestamp"] = stored["batch_timestamp"]
    for name in ("device_id", "session_id"):
        if wanted.get(name) is not None:
            wanted[name] = bytes.fromhex(wanted[name])
    return wanted


def same_payload(text: str, stored: bytes) -> bool:
    """Byte for byte; with "+ service NAME" as the object with that member added."""
    object_text, added, service = text.rpartition(" + service ")
    if not added:
        return stored == text.encode()
    return bool(json.loads(stored) == {**json.loads(object_text), "service": service})


@pytest.mark.parametrize("vector", ROWS)
def test_a_vector_gives_the_rows_it_must(service: Service, vector: str) -> None:
    kind = kind_of(vector)
    service.flush()
    before = len(read_back(service, kind)) if service.data_files(kind) else 0

    accepted = service.post_flatbuffer((VECTORS / f"{vector}.fbs").read_bytes(), wait="file")

    assert accepted == len(ROWS[vector])
    stored = read_back(service, kind)[before:]
    assert len(stored) == accepted
    for row, found in zip(ROWS[vector], stored, strict=True):
        wanted = expected(row, found)
        assert same_payload(wanted.pop("payload"), found["payload"])
        assert {name: found[name] for name in wanted} == wanted
        assert found["workspace_id"] == 1
        assert found["source_ip"] == bytes.fromhex("00" * 10 + "ffff" + "7f000001")


@pytest.mark.parametrize("vector", REFUSED)
def test_a_refused_vector_names_row_and_field(service: Service, vector: str) -> None:
    response = service.post("ingest", (VECTORS / f"{vector}.fbs").read_bytes())

    assert response.status_code == 400, response.text
    message = response.json()["message"]
    assert "row 1" in message
    assert REFUSED[vector] in message
    assert service.flush()["flushed_rows"] == 0


def test_a_payload_that_is_not_json_is_kept_where_bytes_are_wanted(binary_service: Service) -> None:
    body = (VECTORS / "refused-payload-not-json.fbs").read_bytes()

    assert binary_service.post_flatbuffer(body) == 1
