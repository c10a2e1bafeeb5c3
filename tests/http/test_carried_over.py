"""A partition that cannot be published for long: its rows do not keep the journal from being trimmed."""

import random
from pathlib import Path

import pytest

from tests.support.asking import query
from tests.support.payloads import event, numbers
from tests.support.service import Service

HARMED, NEIGHBOUR = 1, 2
JOURNAL_BYTES = 1_200_000
CONFIG = {
    "journal": {"max_size": JOURNAL_BYTES, "segment_size": 40_000},
    "sinks.parquet": {"flush_interval": "200ms"},
}
NOISE = random.Random(7)


@pytest.fixture
def service(tmp_path: Path):
    with Service(tmp_path, CONFIG) as service:
        yield service.start()


def block(service: Service) -> Path:
    """A file stands where the harmed workspace's folder belongs."""
    folder = service.parquet / str(HARMED)
    folder.write_text("")
    return folder


def asked(service: Service) -> int:
    """How many rows of the harmed workspace `parquet-sink query` sees."""
    (found,) = query(service, f"select count(*) as rows from events where workspace = {HARMED}")
    return int(found["rows"])


def fill(service: Service, first: int, times: float) -> int:
    """Batches of the neighbour, with a row of the harmed one after each: so many times the journal's size.

    Each must be taken. Returns the number of the next row.
    """
    number = first
    sent = 0
    while sent < times * JOURNAL_BYTES:
        filling = NOISE.randbytes(30_000).hex()  # no compression makes less than half of it
        sent += len(filling)
        rows = [event(1_000_000 + number * 2 + each, filling=filling[each::2]) for each in (0, 1)]
        service.post_json("events", rows, workspace=NEIGHBOUR)
        service.post_json("events", [event(number)], workspace=HARMED)
        number += 1
        if number % 5 == 0:  # a file that grows for longer lags for longer, and this journal is small
            flushed = service.admin("POST", f"/flush?workspace_id={NEIGHBOUR}")
            assert flushed.status_code == 200, flushed.text
    return number


def test_others_go_on_for_longer_than_the_journal_has_room(service: Service) -> None:
    folder = block(service)
    rows = fill(service, 0, 4)
    status = service.status()
    assert status["journal"]["bytes"] < JOURNAL_BYTES
    assert [each["workspace_id"] for each in status["failing_partitions"]] == [HARMED]
    account = {row["workspace_id"]: row for row in status["rows"]}
    assert account[HARMED]["accepted"] == account[HARMED]["buffered"] == rows
    assert asked(service) == rows
    usage = {line["workspace_id"]: line["rows"] for line in service.admin("GET", "/usage").json()["usage"]}
    assert usage == {HARMED: rows, NEIGHBOUR: rows * 2}

    service.kill9()
    assert asked(service) == rows
    (service.journal / "manifest").unlink()  # the files, and the journal, say what it said
    service.start()
    assert service.status()["rows"][0]["buffered"] == rows
    rows = fill(service, rows, 2)
    assert asked(service) == rows

    folder.unlink()
    service.wait_until(lambda: not service.status()["failing_partitions"], 30)
    service.flush()
    assert sorted(numbers(service.table(workspace=HARMED))) == list(range(rows))
    assert len(numbers(service.table(workspace=NEIGHBOUR))) == rows * 2
    usage = {line["workspace_id"]: line["rows"] for line in service.admin("GET", "/usage").json()["usage"]}
    assert usage == {HARMED: rows, NEIGHBOUR: rows * 2}
    service.restart()
    assert service.status()["rows"][0]["published"] == rows
    assert asked(service) == rows, "the journal has none of the frames any more that it once had them in"
