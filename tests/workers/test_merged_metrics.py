"""The metrics of several processes are those of one service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.workers.merged_metrics import MergedMetrics, added, counted, families_of


def process(label: str, rows: float, inflight: float) -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("rows", "Rows.", ("kind",), registry=registry).labels(label).inc(rows)
    Gauge("inflight", "Bytes.", registry=registry).set(inflight)
    Histogram("seconds", "Time.", buckets=(1, 2), registry=registry).observe(rows)
    return registry


def value(merged: MergedMetrics, name: str, **labels: str) -> float:
    (found,) = [
        sample.value
        for metric in merged.collect()
        for sample in metric.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_counters_gauges_and_histograms_are_added() -> None:
    others = [process("logs", 1, 10), process("events", 1.5, 20)]
    merged = MergedMetrics(process("events", 2, 0), lambda: [families_of(each) for each in others])

    assert value(merged, "rows_total", kind="events") == 3.5
    assert value(merged, "rows_total", kind="logs") == 1
    assert value(merged, "inflight") == 30
    assert value(merged, "seconds_count") == 3
    assert value(merged, "seconds_sum") == 4.5
    assert value(merged, "seconds_bucket", le="1.0") == 1
    assert value(merged, "seconds_bucket", le="+Inf") == 3


def test_of_a_process_that_has_ended_what_it_counted_stays_and_no_gauge() -> None:
    past = added([counted(families_of(process("events", 2, 10)))])
    merged = MergedMetrics(process("events", 1, 5), lambda: [past])

    assert value(merged, "rows_total", kind="events") == 3
    assert value(merged, "inflight") == 5


def test_it_counts_since_the_first_of_them() -> None:
    first, second = process("events", 1, 0), process("events", 1, 0)
    merged = MergedMetrics(second, lambda: [families_of(first)])

    assert value(merged, "rows_created", kind="events") == value(
        MergedMetrics(first, list), "rows_created", kind="events"
    )
