"""What the packages really sent, sent again: the rows that must be in the files, read by another engine."""

import json
from typing import Any, Final

import duckdb
import pytest

from tests.clients.captures import Capture, captures, clients, with_key
from tests.clients.expected import ORACLES, Row, clean, expected_rows, ms
from tests.support.service import KEYS, Service

NATIVE: Final = ("tell-", "syslog-ng", "winston")
"""Clients that send the native format: how many rows of it they get is all that is looked at here."""

NUMBERED: Final = ("segment", "rudder", "posthog", "amplitude", "tell-")
"""Clients whose messages are stored once however often they are sent: they have ids, or are known again."""

STATUS: Final = {"POST /loki/api/v1/push": 204}
OF_EVENTS: Final = ("segment", "rudder", "posthog", "amplitude")


def ingesting(client: str) -> list[Capture]:
    skipped = ("/flags/", "/sourceConfig/")
    return [
        capture
        for capture in captures(client)
        if capture.method in ("POST", "PUT") and not capture.target.startswith(skipped)
    ]


def rows_of(service: Service, workspace: int, kind: str) -> list[Row]:
    """Rows as DuckDB reads them, in the order in which they were stored."""
    service.flush()
    files = [str(path) for path in service.data_files(kind, workspace)]
    if not files:
        return []
    result = duckdb.execute("select * from read_parquet(?, hive_partitioning = false)", [files])
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    for row in rows:
        row["payload"] = json.loads(row["payload"])
        for column in ("device_id", "session_id"):
            row[column] = row[column] and row[column].hex() if column in row else None
    return rows


def replay(service: Service, capture: Capture, workspace: int) -> int:
    """Sends it with the key of a workspace in the place of the recorded one; returns the status."""
    response = with_key(capture, KEYS[workspace]).post(service.http)
    assert response.status_code < 300, f"{capture.name}: {response.status_code} {response.text}"
    return response.status_code


@pytest.mark.parametrize("client", [name for name in clients() if not name.startswith(NATIVE)])
def test_a_capture_gives_the_rows_that_it_holds(service: Service, workspace: int, client: str) -> None:
    sent = ingesting(client)
    for capture in sent:
        status = replay(service, capture, workspace)
        assert status == STATUS.get(f"{capture.method} {capture.target}", 200)

    kind = "events" if client.startswith(OF_EVENTS) else "logs"
    found = rows_of(service, workspace, kind)
    wanted = [row for capture in sent for row in expected_rows(capture)]

    assert len(found) == len(wanted)
    for row, want in zip(found, wanted, strict=True):
        compare(row, want)


def compare(row: Row, want: Row) -> None:
    want = dict(want)
    payload = clean(want.pop("payload"))
    sent_at = want.pop("sent_at", None)
    if sent_at is not None:
        want["timestamp"] += row["batch_timestamp"] - ms(sent_at)
        assert abs(want.pop("timestamp") - row["timestamp"]) <= 1
    elif want.get("timestamp", 0) is None:
        want["timestamp"] = row["batch_timestamp"]
    assert {name: row[name] for name in want} == clean(want)
    assert {name: row["payload"].get(name, "absent") for name in payload} == payload


@pytest.mark.parametrize("client", clients())
def test_a_capture_that_is_sent_twice(service: Service, workspace: int, client: str) -> None:
    """Whoever numbers its messages has them stored once, the others twice: nothing is dropped by guessing."""
    kinds = ("events", "logs")
    for capture in ingesting(client):
        replay(service, capture, workspace)
    once = {kind: len(rows_of(service, workspace, kind)) for kind in kinds}
    for capture in ingesting(client):
        replay(service, capture, workspace)
    twice = {kind: len(rows_of(service, workspace, kind)) for kind in kinds}

    if client.startswith(NUMBERED):
        assert twice == once
    elif client.startswith("elasticsearch"):
        assert (once["logs"], twice["logs"]) == (5, 6), "one of the five documents has no id"
    else:
        assert twice == {kind: 2 * rows for kind, rows in once.items()}
    assert sum(once.values()) > 0


def test_every_capture_has_an_oracle_or_is_native() -> None:
    assert [name for name in clients() if not name.startswith((*NATIVE, *ORACLES))] == []


def test_what_is_asked_before_sending_is_answered(service: Service) -> None:
    """Preflights, settings and configurations, as the browsers asked them."""
    asked = [
        capture
        for client in clients()
        for capture in captures(client)
        if capture.method in ("GET", "OPTIONS") or capture.target.startswith("/flags/")
    ]
    assert len(asked) > 10
    for capture in asked:
        response = capture.post(service.http)
        assert response.status_code == 200, f"{capture.name}: {response.text}"
        if capture.method == "OPTIONS":
            assert response.headers["access-control-allow-origin"]


def test_the_settings_that_browsers_ask_for_name_their_own_key(service: Service) -> None:
    key = KEYS[1]
    answers: dict[str, Any] = {
        path: service.http.get(path).json()
        for path in (f"/v1/projects/{key}/settings", f"/sourceConfig/?writeKey={key}", f"/array/{key}/config")
    }
    settings, source, config = answers.values()

    assert settings == {"integrations": {"Segment.io": {"apiKey": key}}}
    assert source["source"]["writeKey"] == key
    assert source["source"]["enabled"] is True
    assert config["token"] == key
