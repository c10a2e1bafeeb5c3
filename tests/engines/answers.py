"""The right answer of each named query of the documents, computed from the rows that were sent."""

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.engines.sent_rows import events, logs, morning_ms, snapshots

Rows = list[tuple[Any, ...]]


def one_day() -> Rows:
    names = Counter(s.row["event"] for s in events() if (s.workspace, s.day) == (1, "2026-03-01"))
    return sorted(names.items())


def of_one_workspace() -> Rows:
    return sorted(Counter(s.row["event"] for s in events() if s.workspace == 1).items())


def days() -> Rows:
    return sorted(Counter(date(s.day) for s in events() if s.workspace == 1).items())


def since_the_second_day() -> Rows:
    start = morning_ms("2026-03-02") - 8 * 3_600_000
    counted = Counter(s.workspace for s in events() if s.workspace in (1, 2) and s.row["timestamp"] >= start)
    return sorted(counted.items())


def revenue() -> Rows:
    total: defaultdict[str, Decimal] = defaultdict(Decimal)
    for s in events():
        if s.workspace == 1 and s.row["event"] == "purchase":
            total[s.row["properties"]["path"]] += Decimal(str(s.row["properties"]["price"]))
    return sorted(total.items())


def revenue_by_day() -> Rows:
    prices: defaultdict[datetime.date, list[float]] = defaultdict(list)
    for s in events():
        if s.workspace == 1 and s.row["event"] == "purchase":
            prices[date(s.day)].append(s.row["properties"]["price"])
    return sorted((day, len(found), round(sum(found), 2)) for day, found in prices.items())


def one_device() -> Rows:
    device = "00000000-0000-4000-8000-000000000001"
    sessions = {s.row["session_id"] for s in events() if s.workspace == 1 and s.row["device_id"] == device}
    return [(device.replace("-", ""), len(sessions))]


def bad_levels() -> Rows:
    return sorted(Counter(s.row["level"] for s in logs() if s.row["level"] in ("error", "critical")).items())


def last_stars() -> Rows:
    last: dict[str, tuple[int, int]] = {}
    for s in snapshots():
        if s.workspace == 2:
            seen = (s.row["timestamp"], s.row["metrics"]["stars"])
            last[s.row["entity"]] = max(last.get(s.row["entity"], seen), seen)
    return sorted((entity, str(stars)) for entity, (_, stars) in last.items())


def purchases_of_the_second_workspace() -> Rows:
    bought = [s for s in events() if s.workspace == 2 and s.row["event"] == "purchase"]
    return sorted((2, s.row["timestamp"], "purchase") for s in bought)


def date(day: str) -> datetime.date:
    return datetime.date.fromisoformat(day)


ANSWERS: dict[str, Callable[[], Rows]] = {
    "duckdb-one-day": one_day,
    "duckdb-days": days,
    "duckdb-filter": since_the_second_day,
    "duckdb-payload": revenue,
    "duckdb-ids": one_device,
    "duckdb-logs": bad_levels,
    "duckdb-snapshots": last_stars,
    "pyarrow-one-day": one_day,
    "pyarrow-dataset": purchases_of_the_second_workspace,
    "polars-one-day": one_day,
    "polars-filter": of_one_workspace,
    "polars-scan": revenue_by_day,
    "clickhouse-days": days,
    "clickhouse-filter": since_the_second_day,
    "clickhouse-payload": revenue,
    "spark-days": days,
    "spark-payload": revenue,
}
