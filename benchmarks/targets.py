"""Targets, as ratios of runs of one round."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Round = Mapping[str, Mapping[str, Any]]
"""The results of one round by scenario, and of what runs once."""


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


def of(scenario: str, *names: str) -> Callable[[Round], float]:
    """One number of a scenario."""

    def read(results: Round) -> float:
        found: Any = results[scenario]
        for name in names:
            found = found[name]
        return float(found)

    return read


def refused(results: Round) -> float:
    """Answers that are neither 202 nor 207, of all."""
    statuses = results["flatbuffer 500, 32 connections"]["statuses"]
    taken = sum(count for status, count in statuses.items() if status in ("202", "207"))
    return 1 - float(taken / sum(statuses.values()))


def cpu_over_encode(results: Round) -> float:
    service = results["flatbuffer 500, 32 connections"]["cpu_us_per_row"]
    return float(service / results["encode limit"]["cpu_us_per_row"])


def requests_over_http(scenario: str) -> Callable[[Round], float]:
    return lambda results: float(
        results[scenario]["requests_per_s"] / results["http limit 3"]["requests_per_s"]
    )


def p99_over_allowed(results: Round) -> float:
    """Of the answers at half load, over 4 x the disk's median fdatasync + 10 ms."""
    allowed = 4 * results["disk limit"]["sync_ms"] + 10
    return float(results["half load"]["latency_ms"]["p99"] / allowed)


def beside_queries(name: str) -> Callable[[Round], float]:
    """A number beside ten queries in a loop, over the same without."""
    return lambda results: float(results["queries"]["beside"][name] / results["queries"]["alone"][name])


def cost_of_ids(results: Round) -> float:
    """Of the ids of messages, by which repeated ones are known, as a share of the CPU a row."""
    with_ids, without = (results[f"segment 100{which}"]["cpu_us_per_row"] for which in ("", " without ids"))
    return float(1 - without / with_ids)


def neighbour(results: Round) -> float:
    """The highest p99 beside a flood, less one slice, over the p99 alone."""
    found = dict(results["neighbour"])
    alone = found.pop("alone")["p99_ms"]
    return float((max(each["p99_ms"] for each in found.values()) - SLICE_MS) / alone)


SLICE_MS: Final = 100
"""See GroupPolicy.slice_s."""

VARIED: Final = (
    ("ids without hyphens", "json-hex-ids 500"),
    ("ids in capitals", "json-capital-ids 500"),
    ("RFC 3339 times", "json-text-times 500"),
    ("no session", "json-no-session 500"),
    ("text beyond ASCII", "json-beyond-ascii 500"),
    ("escaped text", "json-escaped 500"),
    ("one bad row", "json-one-bad 500"),
)

TARGETS: Final = (
    Target("1", "FlatBuffer 500, 32 connections: refused answers", 0.0, refused, at_most=True),
    Target(
        "2", "… rows/s over the encode limit", 0.40, over("flatbuffer 500, 32 connections", "encode limit")
    ),
    Target("2", "… CPU per row over the encode limit's", 3.5, cpu_over_encode, at_most=True),
    Target(
        "3",
        "nested JSON 500 over FlatBuffer 500, 32 connections, rows/s",
        0.75,
        over("nested-json 500", "flatbuffer 500, 32 connections"),
    ),
    Target("3", "… server CPU, µs a row", 3.0, of("nested-json 500", "cpu_us_per_row"), at_most=True),
    Target("4", "flat JSON over nested JSON, rows/s", 0.90, over("flat-json 500", "nested-json 500")),
    *(
        Target("4", f"nested JSON, {what}, over nested JSON", 0.90, over(scenario, "nested-json 500"))
        for what, scenario in VARIED
    ),
    Target(
        "5",
        "FlatBuffer 3, 64 connections, requests/s over the HTTP limit",
        0.55,
        requests_over_http("flatbuffer 3"),
    ),
    Target("5", "JSON 1, 64 connections, likewise", 0.55, requests_over_http("nested-json 1")),
    Target("6", "1000 workspaces over 1, rows/s", 0.65, over("1000 workspaces", "flatbuffer 500")),
    Target("7", "p99 at half load over 4 fdatasync + 10 ms", 1.3, p99_over_allowed, at_most=True),
    Target("8", "peak RSS at the highest load, MB", 400, of("memory", "peak_mb"), at_most=True),
    Target("8", "… growth from the first to the last minute", 0.02, of("memory", "growth"), at_most=True),
    Target(
        "9", "a neighbour's p99 beside ten floods, less one slice, over alone", 1.2, neighbour, at_most=True
    ),
    Target("10", "exec to the first 202, empty journal, s", 0.7, of("start", "empty_s"), at_most=True),
    Target("10", "… with 1,000,000 rows in it, s", 1.5, of("start", "waiting_s"), at_most=True),
    Target(
        "13",
        "CPU of a request at 100/s, FlatBuffer 1, ms",
        0.8,
        of("light load", "cpu_ms_per_request", "flatbuffer 1"),
        at_most=True,
    ),
    Target(
        "13",
        "… nested JSON 10, ms",
        0.7,
        of("light load", "cpu_ms_per_request", "nested-json 10"),
        at_most=True,
    ),
    Target(
        "13",
        "… FlatBuffer 500, ms",
        1.8,
        of("light load", "cpu_ms_per_request", "flatbuffer 500"),
        at_most=True,
    ),
    Target("13", "… idle, ms a second", 3.0, of("light load", "idle_ms_per_s"), at_most=True),
    Target(
        "14", "Segment, 100 messages, over native JSON, rows/s", 0.5, over("segment 100", "native events 100")
    ),
    Target(
        "14", "OTLP protobuf, 100 records, over native JSON, rows/s", 0.5, over("otlp 100", "native logs 100")
    ),
    Target(
        "",
        "row-at-a-time over FlatBuffer 500, rows/s",
        0.07,
        over("row-at-a-time flatbuffer", "flatbuffer 500"),
        at_most=True,
    ),
    Target("14", "… CPU a row that ids of messages cost (Segment), share", 0.15, cost_of_ids, at_most=True),
    Target(
        "15",
        "p99 beside ten queries in a loop, at half load, over alone",
        2.0,
        beside_queries("p99_ms"),
        at_most=True,
    ),
    Target("15", "… rows/s over alone", 0.97, beside_queries("rows_per_s")),
    Target("15", "… batches refused", 0, of("queries", "refused"), at_most=True),
    Target("", "journal replay, rows/s over the encode limit", 0.80, over("replay", "encode limit")),
)
"""Numbers as in the list of targets; 11 and 12 (an outage of ten minutes, a flush interval of ten) take
longer than this benchmark may."""
