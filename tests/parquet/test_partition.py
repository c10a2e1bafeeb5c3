import random
from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kinds import Kind
from app.parquet.division import split
from app.parquet.location import Location, checked_node_id, parse, relative_path
from app.parquet.partition import Partition, Rotation, partition_of
from app.parquet.placing import AHEAD_MS, Change, Placing, Placings
from app.schema import SCHEMAS
from tests.parquet.rows import DAY_MS, HOUR_MS, NOON_MS, event_rows

RECEIVED = Placing()
DAILY, HOURLY, MONTHLY = Rotation.DAILY, Rotation.HOURLY, Rotation.MONTHLY


@pytest.mark.parametrize(
    ("received_ms", "rotation", "date", "hour"),
    [
        (0, DAILY, "1970-01-01", None),
        (DAY_MS - 1, DAILY, "1970-01-01", None),
        (DAY_MS, DAILY, "1970-01-02", None),
        (DAY_MS - 1, HOURLY, "1970-01-01", 23),
        (NOON_MS, HOURLY, "2026-01-01", 12),
        (NOON_MS + HOUR_MS - 1, HOURLY, "2026-01-01", 12),
        (NOON_MS + HOUR_MS, HOURLY, "2026-01-01", 13),
        (1_709_164_800_000, DAILY, "2024-02-29", None),
        (0, MONTHLY, "1970-01", None),
        (31 * DAY_MS - 1, MONTHLY, "1970-01", None),
        (31 * DAY_MS, MONTHLY, "1970-02", None),
        (1_709_164_800_000, MONTHLY, "2024-02", None),
        (1_709_164_800_000 + DAY_MS, MONTHLY, "2024-03", None),
    ],
)
def test_a_row_belongs_to_the_utc_hour_day_or_month_of_its_receive_time(
    received_ms: int, rotation: Rotation, date: str, hour: int | None
) -> None:
    partition = partition_of(7, received_ms, Kind.LOGS, rotation)
    assert partition == Partition(7, date, hour, Kind.LOGS)
    assert partition.start_ms <= received_ms < partition.end_ms


def test_a_batch_of_one_partition_is_not_copied() -> None:
    rows = event_rows(0, 1000)
    [(_, same)] = split(rows, Kind.EVENTS, DAILY, RECEIVED)
    assert same.column("payload").buffers()[2].address == rows.column("payload").buffers()[2].address


def test_a_piece_does_not_hold_the_memory_of_the_batch_it_came_from() -> None:
    rows = pa.concat_batches([event_rows(0, 10_000), event_rows(0, 1, workspace_id=8)])
    pieces = dict(split(rows, Kind.EVENTS, DAILY, RECEIVED))
    small = pieces[Partition(8, "2026-01-01", None, Kind.EVENTS)]
    assert small.get_total_buffer_size() < 1000
    [(_, alone)] = split(rows.slice(5, 1), Kind.EVENTS, DAILY, RECEIVED)
    assert alone.get_total_buffer_size() < 1000


def test_columns_that_are_views_are_made_plain() -> None:
    rows = event_rows(0, 10)
    viewed = rows.set_column(8, "payload", rows.column("payload").cast(pa.binary_view()))
    [(_, plain)] = split(viewed, Kind.EVENTS, DAILY, RECEIVED)
    assert plain.schema == SCHEMAS[Kind.EVENTS]
    assert plain.equals(rows)


def test_no_rows_make_no_partition() -> None:
    assert split(event_rows(0, 0), Kind.EVENTS, DAILY, RECEIVED) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from(Rotation),
)
def test_every_row_lands_in_its_partition_once_and_in_order(
    keys: list[tuple[int, int]], rotation: Rotation
) -> None:
    workspaces = np.array([workspace for workspace, _ in keys], "u8")
    received = np.array([NOON_MS + hours * 211 * HOUR_MS for _, hours in keys])
    rows = event_rows(0, len(keys))
    rows = rows.set_column(2, SCHEMAS[Kind.EVENTS].field(2), pa.array(workspaces))
    rows = rows.set_column(1, SCHEMAS[Kind.EVENTS].field(1), pa.array(received))
    expected: dict[Partition, list[int]] = {}
    for number, (workspace, received_ms) in enumerate(zip(workspaces, received, strict=True)):
        partition = partition_of(int(workspace), int(received_ms), Kind.EVENTS, rotation)
        expected.setdefault(partition, []).append(number)
    pieces = split(rows, Kind.EVENTS, rotation, RECEIVED)
    assert {p: piece.column("timestamp").to_pylist() for p, piece in pieces} == expected
    assert Counter(p for p, _ in pieces).total() == len(expected)


@pytest.mark.parametrize(
    ("path", "partition", "number"),
    [
        ("7/2026-01-01/events.parquet", Partition(7, "2026-01-01", None, Kind.EVENTS), 0),
        ("7/2026-01-01/logs-0001.parquet", Partition(7, "2026-01-01", None, Kind.LOGS), 1),
        ("7/2026-01-01/05/snapshots-0012.parquet", Partition(7, "2026-01-01", 5, Kind.SNAPSHOTS), 12),
        ("7/2026-01/events-0003.parquet", Partition(7, "2026-01", None, Kind.EVENTS), 3),
        ("0/2026-01-01/events-10000.parquet", Partition(0, "2026-01-01", None, Kind.EVENTS), 10_000),
    ],
)
def test_paths_are_as_the_contract_says(path: str, partition: Partition, number: int) -> None:
    assert relative_path(partition, number) == path
    assert parse(path) == Location(partition, number)


@pytest.mark.parametrize(
    "path",
    [
        "7/2026-01-01/events-0000.parquet",
        "07/2026-01-01/events.parquet",
        "7/2026-01-01/24/events.parquet",
        "7/2026-01-01/metrics.parquet",
        "../7/2026-01-01/events.parquet",
        "7/2026-01-01/events.parquet.tmp",
        "",
    ],
)
def test_other_paths_are_nobodys(path: str) -> None:
    assert parse(path) is None


def test_random_partitions_survive_the_way_through_their_path() -> None:
    seed = 20260101
    print("seed", seed)
    choice = random.Random(seed)
    for _ in range(500):
        hour = choice.choice([None, choice.randrange(24)])
        day = f"20{choice.randrange(10, 99)}-{choice.randrange(1, 13):02}-{choice.randrange(1, 29):02}"
        partition = Partition(choice.randrange(2**32), day, hour, choice.choice(list(Kind)))
        number = choice.choice([0, 1, 9999, 10_000, choice.randrange(100_000)])
        assert parse(relative_path(partition, number)) == Location(partition, number)


@pytest.mark.parametrize(
    ("node", "number", "name"),
    [
        ("a", 0, "events-a.parquet"),
        ("a", 1, "events-a-0001.parquet"),
        ("sink-0", 0, "events-sink-0.parquet"),
        ("sink-0", 10_000, "events-sink-0-10000.parquet"),
        ("b-123", 7, "events-b-123-0007.parquet"),
        ("x_1", 0, "events-x_1.parquet"),
    ],
)
def test_a_node_stands_in_the_name_of_its_files(node: str, number: int, name: str) -> None:
    partition = Partition(7, "2026-01-01", None, Kind.EVENTS)
    assert checked_node_id(node) == node
    assert relative_path(partition, number, node) == f"7/2026-01-01/{name}"
    assert parse(f"7/2026-01-01/{name}") == Location(partition, number, node)


@pytest.mark.parametrize(
    "node", ["", "A", "1a", "a-", "-a", "a/b", "a.b", "a b", "a-0001", "a-12345", "a*", "a" * 64, "\u00e4"]
)
def test_a_node_that_names_would_not_tell_apart_is_refused(node: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of file names"):
        checked_node_id(node)


LATE: Final = Placing(7 * DAY_MS)


@pytest.mark.parametrize(
    ("happened_ms", "date"),
    [
        (NOON_MS, "2026-01-01"),
        (NOON_MS - DAY_MS, "2025-12-31"),
        (NOON_MS - 7 * DAY_MS, "2025-12-25"),
        (NOON_MS - 7 * DAY_MS - 1, "2026-01-01"),
        (NOON_MS + AHEAD_MS, "2026-01-01"),
        (NOON_MS + 13 * HOUR_MS, "2026-01-01"),
        (-1, "2026-01-01"),
        (-(2**63), "2026-01-01"),
        (2**63 - 1, "2026-01-01"),
    ],
)
def test_a_row_is_placed_by_when_it_happened_if_that_can_be_believed(happened_ms: int, date: str) -> None:
    rows = event_rows(0, 2)
    rows = rows.set_column(0, rows.schema.field(0), pa.array([happened_ms, NOON_MS], pa.int64()))
    found = {p.date: piece.num_rows for p, piece in split(rows, Kind.EVENTS, DAILY, LATE)}
    assert found == ({date: 2} if date == "2026-01-01" else {date: 1, "2026-01-01": 1})
    assert [p.date for p, _ in split(rows, Kind.EVENTS, DAILY, RECEIVED)] == ["2026-01-01"]


def test_a_fast_clock_reaches_into_the_next_day_by_an_hour() -> None:
    received = NOON_MS + 11 * HOUR_MS + HOUR_MS // 2
    rows = event_rows(0, 2, received_ms=received)
    for ahead, date in ((AHEAD_MS, "2026-01-02"), (AHEAD_MS + 1, "2026-01-01")):
        moved = rows.set_column(0, rows.schema.field(0), pa.array([received + ahead] * 2, pa.int64()))
        assert [p.date for p, _ in split(moved, Kind.EVENTS, DAILY, LATE)] == [date]


def test_frames_keep_the_placing_that_they_were_divided_by() -> None:
    placings = Placings().changed(LATE, 10).changed(RECEIVED, 20).changed(RECEIVED, 25)
    assert placings.changes == (Change(10, LATE), Change(20, RECEIVED))
    assert [placings.at(lsn) for lsn in (1, 9, 10, 19, 20, 99)] == [
        RECEIVED, RECEIVED, LATE, LATE, RECEIVED, RECEIVED,
    ]  # fmt: skip
    assert (placings.late_ms, placings.spread_ms) == (0, 7 * DAY_MS)
    shorter = placings.changed(RECEIVED, 5)
    assert shorter.changes == (), "a journal that begins again before a change"
    assert placings.changed(LATE, 20).changes == (Change(10, LATE),), "no frame came under the last one"
