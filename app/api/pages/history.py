"""The last hour of the metrics, kept in memory: read every few seconds, and bounded."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

STEP_S: Final = 10.0
READINGS_MAX: Final = 361
"""One hour of readings, plus the one that it starts from."""

WORKSPACES_MAX: Final = 100
"""Workspaces that a reading keeps: those that have sent the most."""

SHORTEST_S: Final = 2.0
"""Over less time than this, a rate is meaningless."""

RATE_S: Final = 60.0
"""The period over which `rows/s` is measured."""

Point = tuple[float, float]
"""Seconds before now, as a negative number, and a value."""


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Counts since the start of the service."""

    rows: float = 0.0
    bytes: float = 0.0
    refused: float = 0.0


class MetricsReading(msgspec.Struct, frozen=True):
    """at_s: of the clock. all: of all workspaces together. of: by workspace, as the metrics label it.

    refusals: by workspace, reason and field. told_to_come_again: requests, by reason.
    """

    at_s: float
    all: Counts
    of: Mapping[str, Counts]
    journal_bytes: float = 0.0
    oldest_row_s: float = 0.0
    buffered_rows: float = 0.0
    refusals: Mapping[tuple[str, str, str], float] = {}
    told_to_come_again: Mapping[str, float] = {}

    def counts(self, workspace: str | None) -> Counts:
        """The counts of one workspace, or of all if it is None."""
        return self.all if workspace is None else self.of.get(workspace, Counts())


class History:
    """May be used from any thread. collector: the source of GET /metrics. clock_s: a monotonic clock."""

    def __init__(self, collector: Collector, clock_s: Callable[[], float]) -> None:
        self._collector = collector
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._readings: deque[MetricsReading] = deque(maxlen=READINGS_MAX)

    def note(self) -> None:
        """Called every STEP_S."""
        reading = self.read()
        largest = sorted(reading.of.items(), key=lambda pair: pair[1].rows, reverse=True)[:WORKSPACES_MAX]
        kept = MetricsReading(reading.at_s, reading.all, dict(largest), reading.journal_bytes)
        with self._lock:
            self._readings.append(kept)

    def read(self) -> MetricsReading:
        """The current counts."""
        families = {family.name: family.samples for family in self._collector.collect()}
        by_workspace: dict[str, list[float]] = {}
        refusals: dict[tuple[str, str, str], float] = {}
        for place, name in enumerate(("workspace_rows_accepted", "workspace_bytes_accepted")):
            for sample in _totals(families, name):
                by_workspace.setdefault(sample.labels["workspace"], [0.0, 0.0, 0.0])[place] = sample.value
        for sample in _totals(families, "refusals"):
            labels = sample.labels
            refusals[labels["workspace"], labels["reason"], labels["field"]] = sample.value
            by_workspace.setdefault(labels["workspace"], [0.0, 0.0, 0.0])[2] += sample.value
        return MetricsReading(
            self._clock_s(),
            Counts(
                sum(sample.value for sample in _totals(families, "rows_accepted")),
                sum(counts[1] for counts in by_workspace.values()),
                sum(refusals.values()),
            ),
            {workspace: Counts(*counts) for workspace, counts in by_workspace.items()},
            _level(families, "journal_bytes"),
            _level(families, "oldest_row_age_seconds"),
            _level(families, "buffered_rows"),
            refusals,
            {sample.labels["reason"]: sample.value for sample in _totals(families, "backpressure_refusals")},
        )

    def until(self, reading: MetricsReading) -> "Hour":
        """The hour that ends with a reading."""
        with self._lock:
            return Hour([*self._readings, reading])


class Hour:
    """readings: oldest first, at least one."""

    def __init__(self, readings: Sequence[MetricsReading]) -> None:
        self._readings = readings

    def rows_per_second(self, workspace: str | None) -> float:
        """Over the last RATE_S, or since the start."""
        last = self._readings[-1]
        first = next(
            each for each in self._readings if each is last or last.at_s - each.at_s <= RATE_S + STEP_S
        )
        return _rate(first, last, lambda each: each.counts(workspace).rows)

    def rates(self, value: Callable[[MetricsReading], float]) -> list[Point]:
        """The rate of a count, per second."""
        end = self._readings[-1].at_s
        return [
            (after.at_s - end, _rate(before, after, value))
            for before, after in pairwise(self._readings)
            if after.at_s - before.at_s >= SHORTEST_S
        ]

    def levels(self, value: Callable[[MetricsReading], float]) -> list[Point]:
        end = self._readings[-1].at_s
        return [(each.at_s - end, value(each)) for each in self._readings]


def _rate(before: MetricsReading, after: MetricsReading, value: Callable[[MetricsReading], float]) -> float:
    seconds = after.at_s - before.at_s
    return max(value(after) - value(before), 0.0) / seconds if seconds > 0 else 0.0


def _totals(families: Mapping[str, Sequence[object]], name: str) -> list[Sample]:
    return [
        sample
        for sample in families.get(f"parquet_sink_{name}", ())
        if isinstance(sample, Sample) and sample.name.endswith("_total")
    ]


def _level(families: Mapping[str, Sequence[object]], name: str) -> float:
    samples = families.get(f"parquet_sink_{name}", ())
    return sum(sample.value for sample in samples if isinstance(sample, Sample))
