"""When a partition's time is over: months, days that stay open for late rows, and how many may."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from app.parquet.partition import Rotation
from app.parquet.placing import Placing, Placings
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.rows import DAY_MS, NOON_MS, all_timestamps, event_rows, over_days

LATE = Placings().changed(Placing(7 * DAY_MS), 0)
HAPPENED = WriterPolicy(placings=LATE, flush_interval_ms=60 * DAY_MS)
MIDNIGHT_MS = NOON_MS + DAY_MS // 2


def sealed(bench: Bench) -> list[str]:
    return sorted(file.date for file in bench.manifest.files() if file.sealed)


def turned(bench: Bench, now_ms: int) -> Bench:
    """At that time; what is declared final is so on the second look."""
    bench.turn_at(now_ms)
    bench.turn_at(now_ms + 1_000)
    return bench


def test_a_month_is_final_when_its_last_day_is_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(rotation=Rotation.MONTHLY))
    bench.put(1, event_rows(0, 5))
    bench.flush()
    january_ends = MIDNIGHT_MS + 30 * DAY_MS
    assert sealed(turned(bench, january_ends - 10_000)) == []
    assert sealed(turned(bench, january_ends + bench.policy.seal_after_ms)) == ["2026-01"]


def test_a_day_gets_late_rows_for_a_week_and_is_final_then(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=HAPPENED)
    bench.put(1, over_days(event_rows(0, 70)))
    bench.flush()
    assert len(bench.manifest.files()) == 7
    bench.put(2, over_days(event_rows(70, 70)))
    bench.turn_at(NOON_MS + 2_000)
    assert bench.writer.buffered_rows == 70, "a past day waits for its turn like any other"
    bench.flush()
    assert {(file.number, file.rows) for file in bench.manifest.files()} == {(0, 20)}

    first_is_over = MIDNIGHT_MS + DAY_MS  # 2025-12-26 ended seven days ago
    assert sealed(turned(bench, first_is_over)) == []
    assert sealed(turned(bench, first_is_over + bench.policy.seal_after_ms)) == ["2025-12-26"]


@pytest.mark.parametrize("most", [3, 20])
def test_of_too_many_open_days_the_oldest_are_final_and_later_rows_have_a_new_file(
    tmp_path: Path, most: int
) -> None:
    policy = msgspec.structs.replace(HAPPENED, open_partitions_max=most, seal_after_ms=0)
    bench = Bench(tmp_path, policy=policy)
    bench.put(1, over_days(event_rows(0, 70)))
    bench.flush()
    turned(bench, NOON_MS + 5_000)
    days = [f"2025-12-{day}" for day in range(26, 32)] + ["2026-01-01"]
    assert sealed(bench) == (days[: 7 - most] if most < 7 else [])
    bench.put(2, over_days(event_rows(70, 70)))
    bench.flush()
    found = {file.date: 0 for file in bench.manifest.files()}
    for file in bench.manifest.files():
        found[file.date] += file.rows
    assert found == dict.fromkeys(days, 20)
    sent: pa.RecordBatch = over_days(event_rows(0, 140))
    assert all_timestamps(bench.data) == sorted(sent.column("timestamp").to_pylist())
