"""Readers and flushes at the same time: a file is valid and complete at every instant."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from tests.support.payloads import DEVICE, event, numbers
from tests.support.service import Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
POSTS = 200
REPLACEMENTS = 1_000


@contextmanager
def in_a_loop(look: Callable[[], None]) -> Iterator[list[int]]:
    """Calls `look` again and again in a thread of its own; its first failure is raised at the end.

    Yields a list that grows by one for every look.
    """
    looks: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                look()
            except BaseException as failure:
                failures.append(failure)
                return
            looks.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield looks
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def test_two_hundred_flushes_leave_one_file_that_was_always_valid(own_service: Service) -> None:
    service = own_service
    service.post_json("events", [event(0)])
    service.flush()
    (path,) = service.data_files("events")
    seen = [1]

    def look() -> None:
        rows = numbers(pq.read_table(path, partitioning=None))
        assert rows == list(range(len(rows))), "a row is missing, double or out of order"
        assert len(rows) >= seen[-1], f"{len(rows)} rows after {seen[-1]}"
        seen.append(len(rows))

    with in_a_loop(look) as looks:
        for number in range(1, POSTS):
            service.post_json("events", [event(number)])
            assert service.flush()["flushed_rows"] == 1

    assert len(looks) > 10, "the reader hardly ran"
    assert service.data_files() == [path]
    assert path.name == "events.parquet"
    assert numbers(service.table()) == list(range(POSTS))


def test_duckdb_never_fails_while_its_file_is_replaced_a_thousand_times(own_service: Service) -> None:
    """Every query sees whole batches of three rows, from the first one on, with right values."""
    service = own_service
    post_three(service, 0)
    service.flush()
    (path,) = service.data_files("events")
    connection = duckdb.connect()
    connection.execute("SET enable_object_cache = true")
    query = query_of(path)
    seen = [1]

    def look() -> None:
        count, distinct, highest, total, devices = connection.execute(query).fetchall()[0]
        assert count == 3 * distinct, "a batch is there in part or twice"
        assert highest == distinct - 1, "a batch is missing"
        assert total == 3 * sum(range(distinct))
        assert devices == count
        assert distinct >= seen[-1]
        seen.append(distinct)

    inodes = {path.stat().st_ino}
    with in_a_loop(look) as looks:
        for number in range(1, REPLACEMENTS + 1):
            post_three(service, number)
            assert service.flush()["flushed_rows"] == 3
            inodes.add(path.stat().st_ino)

    connection.close()
    assert len(looks) >= 100, f"only {len(looks)} queries ran beside {REPLACEMENTS} replacements"
    assert len(inodes) > 1, "the file was never replaced: this test showed nothing"
    assert service.table().num_rows == 3 * (REPLACEMENTS + 1)


def post_three(service: Service, number: int) -> None:
    response = service.post("events", json.dumps([event(number)] * 3))
    assert response.status_code == 202, response.text


def query_of(path: Path) -> str:
    number = "CAST(decode(payload)->>'$.number' AS BIGINT)"
    return f"""
        SELECT count(*), count(DISTINCT {number}), max({number}), sum({number}),
               count(*) FILTER (hex(device_id) = '{DEVICE.replace("-", "").upper()}')
        FROM '{path}' WHERE workspace_id = 1 AND event_type = 'track'
    """
