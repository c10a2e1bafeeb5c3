"""What happens when a day, or an hour, is over: the service runs under a set clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.payloads import ROW_OF, event, numbers
from tests.support.service import Service, running_service

LATE = "2026-03-01T23:10:00+00:00"
NEXT_DAY = "2026-03-02T06:30:00+00:00"


@pytest.fixture
def late_service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service whose clock says late evening; the test's parameter is its rotation."""
    config = {"sinks.parquet": {"rotation": request.param, "flush_interval": "3600s"}}
    with running_service(tmp_path, config, clock=LATE) as service:
        yield service


def on_disk(service: Service) -> list[str]:
    return [path.relative_to(service.parquet).as_posix() for path in service.data_files("events")]


@pytest.mark.parametrize(
    ("late_service", "before", "after"),
    [
        ("daily", "1/2026-03-01/events.parquet", "1/2026-03-02/events.parquet"),
        ("hourly", "1/2026-03-01/23/events.parquet", "1/2026-03-02/06/events.parquet"),
    ],
    indirect=["late_service"],
)
def test_rows_go_where_they_were_received(late_service: Service, before: str, after: str) -> None:
    service = late_service
    service.post_json("events", [event(1)])
    service.kill9()
    service.clock = NEXT_DAY
    service.start()
    service.post_json("events", [event(2)])
    service.flush()

    assert on_disk(service) == [before, after]
    assert numbers(service.table()) == [1, 2], "also the row that only the journal had on the day itself"


@pytest.mark.parametrize("late_service", ["daily"], indirect=True)
def test_a_clients_clock_opens_no_partition(late_service: Service) -> None:
    timestamps = [0, 100_000_000_000, 951_782_400_000, 1_772_323_200_000, 1_803_859_200_000]
    for call in ("events", "logs", "snapshots"):
        late_service.post_json(call, [ROW_OF[call](1, timestamp=timestamp) for timestamp in timestamps])
    late_service.flush()

    assert {path.parent.name for path in late_service.data_files()} == {"2026-03-01"}
    stored = late_service.table("logs")["timestamp"].to_pylist()
    received = late_service.table("logs")["batch_timestamp"].to_pylist()
    assert stored == [received[0], *timestamps[1:]], "0 means now; other times are the client's to tell"


@pytest.mark.parametrize("late_service", ["daily"], indirect=True)
def test_a_clock_that_is_set_back_loses_and_doubles_nothing(late_service: Service) -> None:
    late_service.post_json("events", [event(1)], wait="file")
    late_service.clock = NEXT_DAY
    late_service.restart()
    late_service.post_json("events", [event(2)], wait="file")
    late_service.clock = LATE
    late_service.restart()
    late_service.post_json("events", [event(3)], wait="file")
    late_service.restart()

    assert sorted(numbers(late_service.table())) == [1, 2, 3]
