"""Readers and flushes at the same time: a file is valid and complete at every instant."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.support.payloads import DEVICE, TIMESTAMP_MS, event, numbers
from tests.support.service import KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
POSTS = 200


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


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("workspaces", "flushes"),
    [(5, 200), pytest.param(1, 1_000, marks=pytest.mark.heavy)],
)
def test_duckdb_never_fails_while_its_files_are_replaced_a_thousand_times(
    own_service: Service, workspaces: int, flushes: int
) -> None:
    """Every query, on all threads, sees whole batches of three rows, all up to some batch, with right values.

    The heavy case does it to one file; it takes longer, as every flush leaves a footer in it.
    """
    service = own_service
    chosen = list(KEYS)[:workspaces]
    versions = set(post_threes_and_flush(service, chosen, 0))
    connection = duckdb.connect()
    query = query_of(service.parquet)
    seen = dict.fromkeys(chosen, 1)

    def look() -> None:
        for workspace, count, distinct, highest, total, devices in connection.execute(query).fetchall():
            assert count == 3 * distinct, "a batch is there in part or twice"
            assert highest == distinct - 1, "a batch is missing"
            assert total == 3 * sum(range(distinct))
            assert devices == count
            assert distinct >= seen[workspace]
            seen[workspace] = distinct

    with in_a_loop(look) as looks:
        for number in range(1, flushes + 1):
            versions.update(post_threes_and_flush(service, chosen, number))

    connection.close()
    assert len(versions) == workspaces * (flushes + 1), "each flush gives each file a new version"
    assert len(looks) >= 20, f"only {len(looks)} queries ran beside {len(versions)} replacements"
    assert service.table().num_rows == 3 * workspaces * (flushes + 1)


def post_threes_and_flush(service: Service, workspaces: list[int], number: int) -> list[tuple[str, int]]:
    """Three equal rows for each workspace, published; path and bytes of the new versions."""
    for workspace in workspaces:
        service.post_json("events", [event(number)] * 3, workspace=workspace)
    answer = service.flush()
    assert answer["flushed_rows"] == 3 * len(workspaces)
    return [(file["path"], file["bytes"]) for file in answer["files"]]


def query_of(parquet: Path) -> str:
    number = "CAST(decode(payload)->>'$.number' AS BIGINT)"
    return f"""
        SELECT workspace_id, count(*), count(DISTINCT {number}), max({number}), sum({number}),
               count(*) FILTER (hex(device_id) = '{DEVICE.replace("-", "").upper()}')
        FROM '{parquet}/*/*/events*.parquet'
        WHERE event_type = 'track' AND timestamp >= {TIMESTAMP_MS}
        GROUP BY workspace_id
    """
