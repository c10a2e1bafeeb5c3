"""What the compaction job decides to do, without Spark."""

import argparse
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.compact import (
    Partition,
    PartitionFailed,
    arguments,
    last_date,
    plan,
    size_in_bytes,
)

PARTITION = Partition("events", "7", "2026-03-01")
FILES = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 4), min_size=1)


def test_without_a_published_version_all_is_read() -> None:
    work = plan(PARTITION, {"b": 2, "a": 1}, None)
    assert work is not None
    assert work.read == ["a", "b"]
    assert not work.with_previous


@given(sources=FILES, recorded=FILES)
def test_every_row_is_taken_from_exactly_one_place(sources: dict[str, int], recorded: dict[str, int]) -> None:
    """A file of n bytes stands for n rows, of which the first are those it had when it was shorter."""
    before = {(path, row) for path, size in recorded.items() for row in range(size)}
    now = {(path, row) for path, size in sources.items() for row in range(size)}
    try:
        work = plan(PARTITION, sources, recorded)
    except PartitionFailed:
        assert not recorded.keys() <= sources.keys() or any(
            sources[path] < recorded[path] for path in recorded
        )
        return
    if work is None:
        assert now <= before
        return
    taken = [(path, row) for path in work.read for row in range(sources[path])]
    taken += list(before) if work.with_previous else []
    assert len(taken) == len(set(taken)), "no row twice"
    assert set(taken) == before | now


@given(sources=FILES)
def test_what_was_compacted_is_left_alone_whatever_was_removed_since(sources: dict[str, int]) -> None:
    for path in sources:
        assert plan(PARTITION, {path: sources[path]}, sources) is None


@pytest.mark.parametrize(
    ("now", "days", "last"),
    [
        ("2026-03-10T00:00:00+00:00", 0, "2026-03-09"),
        ("2026-03-10T00:00:00+00:00", 1, "2026-03-08"),
        ("2026-03-10T23:59:59+00:00", 1, "2026-03-08"),
        ("2026-03-10T01:00:00+02:00", 0, "2026-03-08"),
        ("2026-03-10T12:00:00+00:00", 30, "2026-02-07"),
    ],
)
def test_a_day_is_taken_when_it_ended_long_enough_ago(now: str, days: int, last: str) -> None:
    assert last_date(datetime.datetime.fromisoformat(now), days) == last


def test_hours_and_days_of_one_date_are_different_places() -> None:
    day, hour = PARTITION, Partition("events", "7", "2026-03-01", "00")
    assert day.place == "events/7/2026-03-01"
    assert hour.place == "events/7/2026-03-01T00"


def test_sizes_and_kinds_are_checked() -> None:
    assert size_in_bytes("512MB") == 512_000_000
    assert size_in_bytes("1KB") == 1_000
    with pytest.raises(argparse.ArgumentTypeError, match="such as 512MB"):
        size_in_bytes("512")
    with pytest.raises(SystemExit):
        arguments(["--input", "a", "--output", "b", "--kinds", "traces"])


def test_an_output_where_publishing_would_not_be_one_step_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        arguments(["--input", "s3a://lake/parquet", "--output", "s3a://lake/compacted"])
    assert "use file:, hdfs:" in capsys.readouterr().err
    given = ["--input", "s3a://lake/parquet", "--output", "hdfs://namenode/compacted"]
    assert arguments(given).output == "hdfs://namenode/compacted"
