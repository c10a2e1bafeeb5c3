"""Targets, as ratios of runs of one round."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Round = Mapping[str, Mapping[str, Any]]
"""The results of one round by scenario."""


class Target(NamedTuple):
    """at_most: whether `limit` is the most that is allowed, else the least."""

    number: str
    what: str
    limit: float
    ratio: Callable[[Round], float]
    at_most: bool = False

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


def rate(scenario: str) -> Callable[[Round], float]:
    def read(results: Round) -> float:
        result = results[scenario]
        return float(result.get("published_rows_per_s", result["rows_per_s"]))

    return read


def over(above: str, below: str) -> Callable[[Round], float]:
    return lambda results: rate(above)(results) / rate(below)(results)


def cpu_over_encode(results: Round) -> float:
    return float(results["flatbuffer 500"]["cpu_us_per_row"] / results["encode limit"]["cpu_us_per_row"])


def requests_over_http(results: Round) -> float:
    return float(results["flatbuffer 3"]["requests_per_s"] / results["http limit 3"]["requests_per_s"])


def p99_over_allowed(results: Round) -> float:
    """Of the answers at half load, over 4 x the disk's median fdatasync + 10 ms."""
    allowed = 4 * results["disk limit"]["sync_ms"] + 10
    return float(results["half load"]["latency_ms"]["p99"] / allowed)


TARGETS: Final = (
    Target("1", "FlatBuffer 500, rows/s over the encode limit", 0.50, over("flatbuffer 500", "encode limit")),
    Target("2", "FlatBuffer 500, CPU per row over the encode limit's", 2.5, cpu_over_encode, at_most=True),
    Target("3a", "FlatBuffer 3, 64 connections, requests/s over the HTTP limit", 0.75, requests_over_http),
    Target("3b", "FlatBuffer 100 over 500, rows/s", 0.75, over("flatbuffer 100", "flatbuffer 500")),
    Target("4", "nested JSON 500 over Polars' script, rows/s", 0.60, over("nested-json 500", "polars")),
    Target("5", "flat JSON over nested JSON, rows/s", 0.70, over("flat-json 500", "nested-json 500")),
    Target("6a", "FlatBuffer 500 over row-at-a-time", 15, over("flatbuffer 500", "row-at-a-time flatbuffer")),
    Target("6b", "JSON 500 over row-at-a-time", 4, over("nested-json 500", "row-at-a-time json")),
    Target("7", "1000 workspaces over 1, rows/s", 0.70, over("1000 workspaces", "flatbuffer 500")),
    Target("8", "data_format json over binary", 0.80, over("flatbuffer 500", "flatbuffer 500 binary")),
    Target("9", "p99 at half load over 4 fdatasync + 10 ms", 1.0, p99_over_allowed, at_most=True),
)
