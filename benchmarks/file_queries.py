"""Six questions to a directory of event files, asked of DuckDB, Polars and chDB in a process of its own.

    python -m benchmarks.file_queries ENGINE FACTS REPEATS DIRECTORY…

Prints for each question and directory the medians of the seconds and of the CPU seconds, then the bytes that
the first asking read (through read calls; what an engine maps into memory is not among them), as JSON. The
directories take turns, and each is the first as often as the others. REPEATS is the least number of turns: a
short question is asked until it has taken a second in all.
FACTS is JSON: device, session (hex), hour (ms), workspace.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

HOUR_MS: Final = 3_600_000
SECONDS_MIN: Final = 1.0
"""The least time over which a median is taken, for each question and directory."""

QUESTIONS: Final = ("by type", "one hour", "one device", "one session", "top names", "JSON of an hour")

Asked = Callable[[str, str], list[Any]]


def sql(
    question: str, facts: dict[str, Any], source: Callable[[str], str], field: Callable[[str], str]
) -> str:
    """field: how the engine takes a member of the payload."""
    everything, one = source("*"), source(str(facts["workspace"]))
    hour = f"timestamp >= {facts['hour']} AND timestamp < {facts['hour'] + HOUR_MS}"
    ids = "count(*), min(timestamp), max(timestamp), max(event_name)"
    return {
        "by type": f"SELECT event_type, count(*) FROM {everything} GROUP BY event_type ORDER BY event_type",
        "one hour": f"SELECT event_name, count(*) AS n FROM {everything} WHERE {hour} "
        "GROUP BY event_name ORDER BY n, event_name",
        "one device": f"SELECT {ids} FROM {everything} WHERE device_id = unhex('{facts['device']}')",
        "one session": f"SELECT {ids} FROM {everything} WHERE session_id = unhex('{facts['session']}')",
        "top names": f"SELECT event_name, count(*) AS n FROM {one} GROUP BY event_name "
        "ORDER BY n DESC, event_name LIMIT 10",
        "JSON of an hour": f"SELECT {field('country')} AS c, count(*) FROM {everything} WHERE {hour} "
        "GROUP BY c ORDER BY c",
    }[question]


def duckdb_engine(facts: dict[str, Any]) -> Asked:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SELECT 1")

    def ask(question: str, directory: str) -> list[Any]:
        def source(workspace: str) -> str:
            return f"'{directory}/{workspace}/*/events*.parquet'"

        text = sql(question, facts, source, lambda name: f"decode(payload)->>'$.{name}'")
        return [list(row) for row in connection.execute(text).fetchall()]

    return ask


def chdb_engine(facts: dict[str, Any]) -> Asked:
    import chdb

    chdb.query("SELECT 1")

    def ask(question: str, directory: str) -> list[Any]:
        def source(workspace: str) -> str:
            return f"file('{directory}/{workspace}/*/events*.parquet', Parquet)"

        text = sql(question, facts, source, lambda name: f"JSONExtractString(payload, '{name}')")
        answer = chdb.query(text + " SETTINGS storage_file_read_method = 'pread'", "JSONCompactEachRow")
        rows = [json.loads(line) for line in str(answer).splitlines()]
        return [[int(v) if isinstance(v, str) and v.isdigit() else v for v in row] for row in rows]

    return ask


def polars_engine(facts: dict[str, Any]) -> Asked:
    import polars as pl

    time_, name = pl.col("timestamp"), pl.col("event_name")
    within = (time_ >= facts["hour"]) & (time_ < facts["hour"] + HOUR_MS)
    ids = [pl.len(), time_.min().alias("first"), time_.max().alias("last"), name.max().alias("name")]

    def ask(question: str, directory: str) -> list[Any]:
        workspace = str(facts["workspace"]) if question == "top names" else "*"
        rows = pl.scan_parquet(f"{directory}/{workspace}/*/events*.parquet")
        match question:
            case "by type":
                rows = rows.group_by("event_type").len().sort("event_type")
            case "one hour":
                rows = rows.filter(within).group_by("event_name").len().sort("len", "event_name")
            case "one device":
                rows = rows.filter(pl.col("device_id") == bytes.fromhex(facts["device"])).select(ids)
            case "one session":
                rows = rows.filter(pl.col("session_id") == bytes.fromhex(facts["session"])).select(ids)
            case "top names":
                rows = rows.group_by("event_name").len()
                rows = rows.sort(["len", "event_name"], descending=[True, False]).head(10)
            case _:
                country = pl.col("payload").cast(pl.String).str.json_path_match("$.country").alias("c")
                rows = rows.filter(within).select(country).group_by("c").len().sort("c")
        return [list(row) for row in rows.collect().rows()]

    return ask


def bytes_read() -> int:
    """Through read calls of this process so far."""
    return int(Path("/proc/self/io").read_text().partition("rchar: ")[2].split()[0])


class Turns:
    """The times that one question took with each directory."""

    def __init__(self, directories: list[str]) -> None:
        self._seconds: dict[str, list[float]] = {directory: [] for directory in directories}
        self._cpu_seconds: dict[str, list[float]] = {directory: [] for directory in directories}
        self._order = list(directories)
        self._turns = 0

    def done(self, repeats: int) -> bool:
        shortest = min(sum(each) for each in self._seconds.values())
        return self._turns >= repeats and shortest >= SECONDS_MIN

    def take(self, ask: Callable[[str], object]) -> None:
        for directory in self._order:
            started, cpu_started = time.perf_counter(), time.process_time()
            ask(directory)
            self._cpu_seconds[directory].append(time.process_time() - cpu_started)
            self._seconds[directory].append(time.perf_counter() - started)
        self._order.append(self._order.pop(0))
        self._turns += 1

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            "seconds": {directory: statistics.median(each) for directory, each in self._seconds.items()},
            "cpu_seconds": {d: statistics.median(each) for d, each in self._cpu_seconds.items()},
        }


def ask_all(ask: Asked, directories: list[str], repeats: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for question in QUESTIONS:
        answers, read = [], {}
        for directory in directories:
            before = bytes_read()
            answers.append(ask(question, directory))
            read[directory] = bytes_read() - before
        assert answers[0], f"{question}: an empty answer would prove nothing"
        assert all(answer == answers[0] for answer in answers), f"{question}: the answers differ: {answers}"
        turns = Turns(directories)
        while not turns.done(repeats):
            turns.take(partial(ask, question))
        figures[question] = turns.medians() | {"bytes": read}
    return figures


def main() -> None:
    engine, facts, repeats, *directories = sys.argv[1:]
    engines = {"duckdb": duckdb_engine, "polars": polars_engine, "chdb": chdb_engine}
    print(json.dumps(ask_all(engines[engine](json.loads(facts)), directories, int(repeats))))


if __name__ == "__main__":
    main()
