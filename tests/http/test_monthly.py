"""`rotation = "monthly"`: one file a month, and what the calls and queries say of its days."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import asked, query
from tests.support.payloads import event, log_line, numbers
from tests.support.service import NewService, Service, running

BACKENDS = ["directory", "bucket"]
FIRST = "2026-01-30T22:10:00+00:00"
LAST_DAY = "2026-01-31T23:10:00+00:00"
NEXT_MONTH = "2026-02-02T06:30:00+00:00"
AFTER_RETENTION = "2026-02-12T06:30:00+00:00"
CONFIG: dict[str, Any] = {
    "sinks.parquet": {"flush_interval": "3600s", "rotation": "monthly"},
    "retention": [{"workspace": "*", "older_than": "10d"}],
}


def on_disk(service: Service) -> list[str]:
    return [path.relative_to(service.parquet).as_posix() for path in service.data_files()]


def started_at(service: Service, clock: str) -> Service:
    service.kill9()
    service.clock = clock
    return service.start()


@pytest.mark.parametrize("layout", ["plain", "hive"])
def test_a_month_is_one_partition_until_it_is_over(
    new_service: NewService, tmp_path: Path, backend: str, layout: str
) -> None:
    if (backend, layout) == ("bucket", "hive"):
        pytest.skip("the names are the same there")
    config = {**CONFIG, "sinks.parquet": {**CONFIG["sinks.parquet"], "layout": layout}}
    january, february = (
        ("1/2026-01", "1/2026-02")
        if layout == "plain"
        else ("workspace=1/month=2026-01", "workspace=1/month=2026-02")
    )
    with running(new_service(tmp_path, config, clock=FIRST)) as service:
        service.post_json("events", [event(1)])
        service.flush()
        service.post_json("events", [event(2)])
        started_at(service, LAST_DAY)
        service.post_json("events", [event(3)])
        service.flush()
        grown = ["events.parquet"] if backend == "directory" else ["events.parquet", "events-0001.parquet"]
        paths = sorted(f"{january}/{name}" for name in grown)
        assert sorted(on_disk(service)) == paths
        assert sorted(numbers(service.table("events"))) == [1, 2, 3]
        listed = service.files()
        assert {(file["date"], file["period"], file["hour"]) for file in listed} == {
            ("2026-01-01", "month", None)
        }
        for day, found in (("2026-01-15", True), ("2026-01-31", True), ("2026-02-01", False)):
            assert bool(service.files(date=day)) is found
        if backend == "directory":
            assert not listed[0]["sealed"], "its time is not over"

        by_day = "SELECT date, count(*) AS n FROM events GROUP BY date ORDER BY date"
        both = [{"date": "2026-01-30", "n": 2}, {"date": "2026-01-31", "n": 1}]
        service.post_json("events", [event(4)])
        both[1]["n"] = 2
        assert asked(service, by_day) == both
        assert asked(service, by_day, since="2026-01-31") == both[1:]
        assert asked(service, by_day, until="2026-01-30") == both[:1]
        assert asked(service, by_day, since="2026-02-01") == []
        assert asked(service, f"SELECT * FROM ({by_day}) WHERE date = '2026-01-31'") == both[1:]
        if backend == "directory":
            assert query(service, by_day) == both
            assert query(service, by_day, "--since", "2026-01-31") == both[1:]

        started_at(service, NEXT_MONTH)
        service.post_json("events", [event(5)])
        service.flush()
        assert f"{february}/events.parquet" in on_disk(service)
        assert sorted(numbers(service.table("events"))) == [1, 2, 3, 4, 5]
        assert service.status()["retention"]["removed_files"] == 0, "the month is over since one day"

        started_at(service, AFTER_RETENTION)
        service.wait_until(lambda: on_disk(service) == [f"{february}/events.parquet"], 30)
        assert numbers(service.table("events")) == [5]


def test_days_and_months_stand_side_by_side(tmp_path: Path) -> None:
    """The rotation changes while rows wait in the journal, and the manifest is lost after it."""
    daily = {"sinks.parquet": {"flush_interval": "3600s"}}
    monthly = {"sinks.parquet": {"flush_interval": "3600s", "rotation": "monthly"}}
    with running(Service(tmp_path, daily, LAST_DAY)) as service:
        service.post_json("events", [event(1)])
        service.flush()
        service.post_json("events", [event(2)])
        service.post_json("logs", [log_line(1)])
        service.kill9()
        service.configure(monthly)
        service.start()
        service.post_json("events", [event(3)])
        service.flush()
        expected = ["1/2026-01-31/events.parquet", "1/2026-01/events.parquet", "1/2026-01/logs.parquet"]
        assert sorted(on_disk(service)) == expected
        assert sorted(numbers(service.table("events"))) == [1, 2, 3]
        assert len(service.files(date="2026-01-31", kind="events")) == 2
        by_day = "SELECT date, count(*) AS n FROM events GROUP BY date ORDER BY date"
        assert asked(service, by_day) == [{"date": "2026-01-31", "n": 3}]
        service.kill9()
        (service.journal / "manifest").unlink()
        service.configure(daily)
        service.start()
        service.post_json("events", [event(4)])
        service.flush()
        assert sorted(numbers(service.table("events"))) == [1, 2, 3, 4]
        assert sorted(file["path"] for file in service.files()) == sorted(on_disk(service))
        assert {file["period"] for file in service.files()} == {"day", "month"}
