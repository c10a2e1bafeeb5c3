"""Rows that are merely odd are stored, beside their neighbours; what is meant is found in the files."""

import json
import uuid
from typing import Any

import pytest

from app.decode.name_based_ids import NAMESPACE
from tests.support.payloads import DEVICE, event
from tests.support.service import Service

BACKENDS = ["directory", "workers"]


def stored(service: Service, workspace: int, kind: str = "events") -> list[dict[str, Any]]:
    service.flush(workspace)
    return service.table(kind, workspace).to_pylist()


def odd(**members: Any) -> str:
    return json.dumps({"type": "track", "event": "e", "device_id": DEVICE, **members})


@pytest.mark.parametrize(
    ("fault", "repaired"),
    [
        (r'"cut \ud83d"', "cut �"),
        (r'"\ude00 cut"', "� cut"),
        (r'"whole \ud83d\ude00, \\ud83d"', "whole 😀, \\ud83d"),
        ("NaN", None),
        ("[Infinity, -Infinity]", [None, None]),
        ('"NaN and Infinity"', "NaN and Infinity"),
    ],
)
@pytest.mark.parametrize("shape", ["[%s,%s,%s]", "%s\n%s\n%s\n"])
def test_almost_json_is_stored_beside_its_neighbours(
    service: Service, workspace: int, fault: str, repaired: Any, shape: str
) -> None:
    middle = odd(timestamp=1_714_564_800_001)[:-1] + f', "properties": {{"a": {fault}}}}}'
    body = shape % (odd(properties={"n": 1}), middle, odd(properties={"n": 2}))
    assert service.post("events", body, workspace=workspace).json()["accepted"] == 3
    rows = [json.loads(row["payload"]) for row in stored(service, workspace)]
    assert {"a": repaired} in rows
    assert {"n": 1} in rows
    assert {"n": 2} in rows


@pytest.mark.parametrize("fault", ['"a\tb"', "undefined", "[1,]", "01", "'x'", '"a" "b"'])
@pytest.mark.parametrize("shape", ["[%s,%s,%s]", "%s\n%s\n%s\n"])
def test_a_row_that_is_no_json_costs_no_neighbour(
    service: Service, workspace: int, fault: str, shape: str
) -> None:
    body = shape % (odd(n=1), odd()[:-1] + f', "a": {fault}}}', odd(n=2))
    response = service.post("events", body, workspace=workspace)
    assert response.status_code == 207
    assert [each["line"] for each in response.json()["errors"]] == [2]
    assert [json.loads(row["payload"]) for row in stored(service, workspace)] == [{"n": 1}, {"n": 2}]


def test_what_a_repair_says_is_counted(service: Service, workspace: int) -> None:
    body = "\n".join([odd(), odd()[:-1] + ',"a":NaN}', odd(device_id="anna"), "{}"])
    assert service.post("events", body, workspace=workspace).json()["accepted"] == 3
    samples = {
        name: value for name, value in service.metrics().items()
        if "rows_repaired_total" in name and f'workspace="{workspace}"' in name
    }  # fmt: skip
    assert sum(samples.values()) == 2, samples
    refused = f'reason="invalid_row",workspace="{workspace}"'
    assert (
        sum(value for name, value in service.metrics().items() if refused in name and "_total" in name) == 1
    )
    assert any('reason="not_a_number"' in name for name in samples)
    assert any('reason="name_based_id"' in name and 'field="device_id"' in name for name in samples)


def test_ids_that_are_no_uuids_are_the_same_for_ever(service: Service, workspace: int) -> None:
    body = [
        event(1, device_id="anna", session_id=7),
        event(2, device_id=None, anonymous_id="anna"),
        event(3, device_id=None, user_id="anna"),
        event(4, device_id=DEVICE.upper().replace("-", "")),
        event(5, device_id=None),
    ]
    service.post_json("events", body, workspace=workspace)
    rows = sorted(stored(service, workspace), key=lambda row: json.loads(row["payload"])["number"])
    anna = uuid.uuid5(NAMESPACE, "anna").bytes
    ids = [row["device_id"] for row in rows]
    assert ids == [anna, anna, anna, uuid.UUID(DEVICE).bytes, None]
    assert rows[0]["session_id"] == uuid.uuid5(NAMESPACE, "7").bytes
    first = json.loads(rows[0]["payload"])
    assert (first["device_id"], first["session_id"]) == ("anna", 7)
    assert json.loads(rows[1]["payload"])["anonymous_id"] == "anna"


def test_a_key_that_stands_twice_loses_nothing(service: Service, workspace: int) -> None:
    head = f'"type":"identify","device_id":"{DEVICE}"'
    body = "\n".join(
        [
            f'{{{head},"properties":{{"a":1}},"properties":{{"b":2}}}}',
            f'{{{head}, "flat": 1, "flat": 2, "flat": 3}}',
            f'{{{head},"user_id":"u","user_id":"v"}}',
        ]
    )
    assert service.post("events", body, workspace=workspace).json()["accepted"] == 3
    payloads = [json.loads(row["payload"]) for row in stored(service, workspace)]
    assert {"b": 2, "_shadowed": {"repeated": {"properties": {"a": 1}}}} in payloads
    assert {"flat": 3, "_shadowed": {"repeated": {"flat": [1, 2]}}} in payloads
    assert {"user_id": "v", "_shadowed": {"repeated": {"user_id": "u"}}} in payloads


def test_user_data_that_is_no_object_is_kept(service: Service, workspace: int) -> None:
    service.post_json(
        "events",
        [
            {"type": "identify", "properties": [1, 2], "traits": "t"},
            {"type": "identify", "properties": 5, "x": 1},
        ],
        workspace=workspace,
    )
    payloads = [json.loads(row["payload"]) for row in stored(service, workspace)]
    assert {"properties": [1, 2], "traits": "t"} in payloads
    assert {"properties": 5, "x": 1} in payloads


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (1_714_564_800, 1_714_564_800_000),
        (1_714_564_800.25, 1_714_564_800_250),
        (1_714_564_800_250, 1_714_564_800_250),
        (1_714_564_800_250_999, 1_714_564_800_250),
        (1_714_564_800_250_999_999, 1_714_564_800_250),
        ("1714564800", 1_714_564_800_000),
        ("2024-05-01 12:00:00", 1_714_564_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_time_is_read_in_its_unit(service: Service, workspace: int, written: Any, at: int) -> None:
    service.post_json("events", [event(1, timestamp=written), event(2)], workspace=workspace)
    assert at in [row["timestamp"] for row in stored(service, workspace)]


def test_a_time_out_of_range_is_refused_with_its_date_and_unit(service: Service) -> None:
    response = service.post("events", json.dumps([event(1), event(2, timestamp=99_999_999_999)]))
    assert response.status_code == 207
    (refused,) = response.json()["errors"]
    assert refused["line"] == 2
    assert "is 5138-11-16T09:46:39.000Z when read as seconds" in refused["error"]
