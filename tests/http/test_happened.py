"""`partition_by = "happened"`: a late row is in the file of its own day, once, whatever happens meanwhile."""

import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.asking import asked, query
from tests.support.payloads import event, log_line, numbers
from tests.support.service import NewService, Service, running

BACKENDS = ["directory", "bucket"]
CLOCK: Final = "2026-03-10T12:00:00+00:00"
NEXT_DAY: Final = "2026-03-11T12:00:00+00:00"
NOW: Final = datetime.datetime.fromisoformat(CLOCK)
SINK: Final[dict[str, Any]] = {"flush_interval": "3600s", "partition_by": "happened"}


def ago(number: int, **delta: float) -> dict[str, Any]:
    """An event that happened so long before noon."""
    return event(number, timestamp=int((NOW - datetime.timedelta(**delta)).timestamp() * 1000))


def by_day(service: Service, kind: str = "events") -> dict[str, list[int]]:
    """Numbers of rows by the date in the path of their file, read by pyarrow alone."""
    found: dict[str, list[int]] = {}
    for path in service.data_files(kind):
        date = path.relative_to(service.parquet).parts[1].removeprefix("date=")
        found.setdefault(date, []).extend(numbers(_table(path)))
    return {date: sorted(rows) for date, rows in sorted(found.items())}


def _table(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(path, partitioning=None)


FIRST: Final = {
    "2026-03-03": [3],
    "2026-03-09": [2],
    "2026-03-10": [1, 4, 5, 6],
}
"""One row a case: now, yesterday, at the end of the window, beyond it, years ago, in the far future."""


def sent() -> list[dict[str, Any]]:
    return [
        ago(1, minutes=1),
        ago(2, days=1),
        ago(3, days=6, hours=23),
        ago(4, days=7, minutes=5),
        ago(5, days=900),
        ago(6, days=-30),
    ]


@pytest.mark.parametrize("layout", ["hive"])
def test_last_week_s_rows_land_in_last_week_over_kills_and_restarts(
    new_service: NewService, tmp_path: Path, backend: str, layout: str
) -> None:
    config = {"sinks.parquet": {**SINK, "layout": layout}}
    with running(new_service(tmp_path, config, clock=CLOCK)) as service:
        service.post_json("events", sent())
        late_log = log_line(1, timestamp=ago(1, days=2)["timestamp"])
        service.post_json("logs", [late_log])
        service.flush(workspace=2)
        service.kill9()  # all of it is in the journal alone
        service.start()
        service.post_json("events", [ago(7, days=1)])
        service.flush()
        service.kill9()  # and published, while the journal still has the frames
        service.start()
        expected = {**FIRST, "2026-03-09": [2, 7]}
        assert by_day(service) == expected
        assert by_day(service, "logs") == {"2026-03-08": [1]}
        if backend == "directory":
            assert not any(file["sealed"] for file in service.files()), "a day stays open for a week"

        service.post_json("events", [ago(8, days=1), ago(9, hours=2)])
        counted = "SELECT date, count(*) AS n FROM events GROUP BY date"
        assert asked(service, counted) == [{"date": "2026-03-10", "n": 9}], "the day of receipt"
        assert asked(service, counted, since="2026-03-10", until="2026-03-10") == [
            {"date": "2026-03-10", "n": 9}
        ]
        assert asked(service, counted, since="2026-03-11") == []
        assert asked(service, counted, until="2026-03-09") == []
        if backend == "directory":
            assert query(service, counted, "--since", "2026-03-10") == [{"date": "2026-03-10", "n": 9}]
        service.kill9()
        service.clock = NEXT_DAY
        service.start()
        service.post_json("events", [ago(10, days=1)])
        assert asked(service, counted + " ORDER BY date") == [
            {"date": "2026-03-10", "n": 9},
            {"date": "2026-03-11", "n": 1},
        ]
        service.flush()
        expected = {**FIRST, "2026-03-09": [2, 7, 8, 10], "2026-03-10": [1, 4, 5, 6, 9]}
        assert by_day(service) == expected
        assert sum(file["rows"] for file in service.files(kind="events")) == 10
        names = {path.name for path in service.data_files("events")}
        assert names == ({"events.parquet"} if backend == "directory" else names)


def test_rows_that_wait_are_placed_as_when_they_came_whatever_is_configured_then(tmp_path: Path) -> None:
    """Else a row would be taken for published because others of another day are."""
    received = {"sinks.parquet": {**SINK, "partition_by": "received"}}
    happened = {"sinks.parquet": SINK}
    with running(Service(tmp_path, received, CLOCK)) as service:
        service.post_json("events", [ago(1, days=1)])
        service.kill9()
        service.configure(happened)
        service.start()
        service.post_json("events", [ago(2, days=1), ago(3, days=5)])
        service.post_json("events", [ago(4, minutes=1)], workspace=2)
        service.flush(workspace=2)
        service.kill9()
        service.configure({"sinks.parquet": {**SINK, "late_window": "2d"}})
        service.start()
        service.post_json("events", [ago(5, days=1), ago(6, days=5)])
        service.kill9()
        service.configure(received)
        service.start()
        service.post_json("events", [ago(7, days=1)])
        counted = "SELECT count(*) AS n FROM events"
        assert asked(service, counted) == [{"n": 6}]
        service.flush()
        assert asked(service, counted) == [{"n": 6}]
        service.kill9()
        service.start()
        service.flush()
        assert by_day(service) == {"2026-03-05": [3], "2026-03-09": [2, 5], "2026-03-10": [1, 4, 6, 7]}
        line = [row for row in service.status()["rows"] if row["workspace_id"] == 1]
        assert [row["accepted"] for row in line] == [6]
        assert asked(service, counted, since="2026-03-10", until="2026-03-10") == [{"n": 6}]


def test_a_damaged_record_of_placings_refuses_the_start_with_its_name(tmp_path: Path) -> None:
    with Service(tmp_path, {"sinks.parquet": SINK}, CLOCK) as service:
        service.start()
        service.kill9()
        (service.journal / "placings").write_bytes(b"{")
        assert service.launch().wait(60) != 0
        assert "placings" in service.stderr
        assert "restore it from a backup" in service.stderr
        assert "Traceback" not in service.stderr
