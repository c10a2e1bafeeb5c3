"""Usage by workspace and day is what stands in the files, over stops, kills and lost accounts."""

import datetime
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tests.support.payloads import ROW_OF, event
from tests.support.service import KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}, "journal": {"segment_size": "64KiB"}}
BYTES = {
    "events": "coalesce(strlen(event_name), 0) + octet_length(payload)",
    "logs": "coalesce(strlen(source), 0) + coalesce(strlen(service), 0) + octet_length(payload)",
    "snapshots": "strlen(source) + strlen(entity) + octet_length(payload)",
}
NUMBERS = itertools.count()


def usage(service: Service, **params: str) -> list[dict[str, Any]]:
    response = service.admin("GET", "/usage", params=params)
    assert response.status_code == 200, response.text
    return list(response.json()["usage"])


def of_files(service: Service) -> list[dict[str, Any]]:
    """The same from the files, by DuckDB alone."""
    lines: dict[int, dict[str, Any]] = {}
    for kind, expression in BYTES.items():
        if not service.data_files(kind):
            continue
        found = duckdb.sql(
            f"SELECT workspace_id, count(*), sum({expression}) "
            f"FROM read_parquet('{service.parquet}/*/*/{kind}*.parquet') GROUP BY ALL"
        ).fetchall()
        for workspace, rows, size in found:
            line = lines.setdefault(
                workspace,
                {"workspace_id": workspace, **dict.fromkeys((*BYTES, "rows", "bytes"), 0)},
            )
            line[kind] += rows
            line["rows"] += rows
            line["bytes"] += int(size)
    return [lines[workspace] for workspace in sorted(lines)]


def without_dates(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A test may run over midnight."""
    summed: dict[int, dict[str, Any]] = {}
    for line in lines:
        numbers = {name: value for name, value in line.items() if name not in ("date", "workspace_id")}
        known = summed.setdefault(
            line["workspace_id"], {"workspace_id": line["workspace_id"], **dict.fromkeys(numbers, 0)}
        )
        for name, value in numbers.items():
            known[name] += value
    return [summed[workspace] for workspace in sorted(summed)]


def post_some(service: Service) -> None:
    for kind, workspace in itertools.product(ROW_OF, (1, 2, 3)):
        rows = [ROW_OF[kind](next(NUMBERS)) for _ in range(workspace + 1)]
        service.post_json(kind, rows, workspace=workspace)


@pytest.mark.parametrize("backend", ["directory", "workers"], scope="module")
def test_usage_is_what_the_files_hold_over_stops_and_kills(own_service: Service) -> None:
    service = own_service
    for ending in (service.kill9, service.terminate, service.kill9):
        post_some(service)
        service.flush()
        post_some(service)  # these are in the journal alone
        before = without_dates(usage(service))
        ending()
        service.start()
        assert without_dates(usage(service)) == before
    service.flush()

    assert without_dates(usage(service)) == of_files(service)
    today = service.status()["usage"]
    assert today == usage(service, **{"from": today[0]["date"], "to": today[0]["date"]})


def test_kills_under_load_count_nothing_twice_and_miss_nothing(own_service: Service) -> None:
    service = own_service
    for _ in range(3):
        ended = threading.Event()

        def load(workspace: int, ended: threading.Event = ended) -> None:
            try:
                while not ended.is_set():
                    service.post("events", json.dumps([event(next(NUMBERS))] * 50), workspace=workspace)
            except Exception:
                return  # the service was killed

        def flush(ended: threading.Event = ended) -> None:
            try:
                while not ended.is_set():
                    service.flush()
            except Exception:
                return

        threads = [threading.Thread(target=load, args=(each,)) for each in (1, 2)]
        threads.append(threading.Thread(target=flush))
        for thread in threads:
            thread.start()
        saved = service.journal / "usage"
        service.wait_until(lambda saved=saved: saved.exists() and any(saved.iterdir()), 30)
        service.kill9()
        ended.set()
        for thread in threads:
            thread.join()
        service.start()
    service.flush()

    assert without_dates(usage(service)) == of_files(service)


def test_an_account_that_is_gone_begins_with_the_rows_that_are_there(own_service: Service) -> None:
    service = own_service
    post_some(service)
    service.flush()
    post_some(service)
    service.kill9()
    for file in (service.journal / "usage").glob("*"):
        file.unlink()
    if (service.journal / "usage").exists():
        (service.journal / "usage").rmdir()
    service.start()
    service.flush()

    rows = [{**line, "bytes": 0} for line in without_dates(usage(service))]
    assert rows == [{**line, "bytes": 0} for line in of_files(service)]
    assert "usage begins with" in service.stderr


def test_what_is_refused_or_came_before_does_not_count(service: Service, workspace: int) -> None:
    body = json.dumps([event(1), event(2), {"type": "no such"}])
    headers = {"Idempotency-Key": "the-same"}
    for _ in range(2):
        assert service.post("events", body, workspace=workspace, headers=headers).status_code == 207

    (line,) = usage(service, workspace_id=str(workspace))
    assert (line["events"], line["rows"]) == (2, 2)


def test_a_key_sees_its_own_workspace(service: Service, unused_workspaces: Iterator[int]) -> None:
    one, other = next(unused_workspaces), next(unused_workspaces)
    for workspace in (one, other):
        service.post_json("events", [event(1)], workspace=workspace)
    headers = {"X-API-Key": KEYS[one]}

    mine = service.http.get("/usage", headers=headers).json()["usage"]
    assert [line["workspace_id"] for line in mine] == [one]
    assert service.http.get("/usage", headers=headers, params={"workspace_id": other}).status_code == 403
    assert service.http.get("/usage", headers={"X-API-Key": "0" * 32}).status_code == 401


def test_days_are_asked_for_by_date(service: Service) -> None:
    service.post_json("events", [event(1)])
    answer = service.admin("GET", "/usage").json()
    first, last = (datetime.date.fromisoformat(answer[name]) for name in ("from", "to"))

    assert (last - first).days == 30
    assert usage(service, to="2020-01-01") == []
    assert service.admin("GET", "/usage", params={"to": "0001-01-05"}).json()["from"] == "0001-01-01"
    for wrong in (
        {"from": "2020-02-01", "to": "2020-01-01"},
        {"from": "2018-01-01", "to": "2020-01-01"},
        {"from": "9999-12-31"},
        {"from": "yesterday"},
        {"workspace_id": "-1"},
    ):
        response = service.admin("GET", "/usage", params=wrong)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_parameter"), wrong


def test_metrics_count_it_by_workspace(own_service: Service) -> None:
    own_service.post_json("events", [event(1), event(2)])
    (line,) = usage(own_service)
    samples = own_service.metrics()

    assert samples['parquet_sink_workspace_rows_accepted_total{workspace="1"}'] == 2
    assert samples['parquet_sink_workspace_bytes_accepted_total{workspace="1"}'] == line["bytes"] > 0
