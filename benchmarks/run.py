"""All benchmarks in one run, interleaved; writes docs/performance.md and its plots. `make bench` runs this.

    python -m benchmarks.run [--rounds 3] [--seconds 3] [--directory DIR] [--json results.json]

Each round runs every scenario once, so what is compared saw the same machine. Ratios are taken within a
round; the table has their median and spread. What docs/performance.md says below its mark is kept: it is
written by hand.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from benchmarks import (
    bench_clients,
    bench_disk_limit,
    bench_encode_limit,
    bench_ingest,
    bench_light,
    bench_memory,
    bench_neighbour,
    bench_query,
    bench_reference_servers,
    bench_replay,
    bench_script,
    bench_start,
)
from benchmarks.generated_rows import VARIANTS
from benchmarks.hostile_bodies import SHAPES
from benchmarks.plots import line_chart
from benchmarks.targets import TARGETS, Round, rate

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
MARK: Final = "<!-- What follows is written by hand. -->"
BATCH_ROWS: Final = (3, 10, 100, 500, 2000)
WORKSPACES: Final = (1, 10, 100, 1000)
PACKAGES: Final = (
    "pyarrow",
    "numpy",
    "msgspec",
    "orjson",
    "uvicorn",
    "uvloop",
    "httptools",
    "polars",
    "duckdb",
)

NEIGHBOUR_S: Final = 4.0
"""Of one flood."""

Scenario = Callable[[Round], Mapping[str, Any]]


def connections(rows: int) -> int:
    return 64 if rows < 100 else 16


def scenarios(directory: Path, seconds: float) -> dict[str, Scenario]:
    """What each round runs, in this order; a scenario sees the results of those before it."""
    table = bench_encode_limit.decoded_rows(Kind.EVENTS, bench_encode_limit.TABLE_ROWS)
    group_bytes = 500_000

    def service(config: Mapping[str, Any] | None = None, **load: Any) -> Scenario:
        load = {"rows": 500, "seconds": seconds, **load}
        load.setdefault("connections", connections(load["rows"]))
        return lambda before: bench_ingest.measure(directory, config, **load)

    def reference(server: str, rows: int = 500, form: str = "flatbuffer") -> Scenario:
        load: dict[str, Any] = {"rows": rows, "format": form, "seconds": seconds}
        load["connections"] = connections(rows)
        return lambda before: bench_reference_servers.measure(directory, server, **load)

    def half_load(before: Round) -> Mapping[str, Any]:
        rate = before["flatbuffer 500"]["requests_per_s"] / 2
        return bench_ingest.measure(directory, None, rows=500, connections=16, seconds=seconds, rate=rate)

    return {
        "encode limit": lambda before: bench_encode_limit.measure(directory, table=table),
        "flatbuffer 500": service(),
        "flatbuffer 500, 32 connections": service(connections=32),
        "half load": half_load,
        "disk limit": lambda before: bench_disk_limit.measure(directory, group_bytes, 1.0),
        "flatbuffer 3": service(rows=3),
        "nested-json 1": service(rows=1, format="nested-json"),
        "http limit 3": reference("http-limit", 3),
        "1000 workspaces": service(workspaces=1000),
        "nested-json 500": service(format="nested-json", connections=32),
        "flat-json 500": service(format="flat-json", connections=32),
        **{f"{name} 500": service(format=name, connections=32) for name in VARIANTS},
        "row-at-a-time flatbuffer": reference("row-at-a-time"),
        "row-at-a-time json": reference("row-at-a-time", form="nested-json"),
        "light load": lambda before: bench_light.measure(directory, seconds),
        **clients(),
    }


def clients() -> dict[str, Scenario]:
    """Requests of other clients beside native ones of the same content: measured together."""
    names = {
        "native events 100": "native events",
        "segment 100": "segment",
        "segment 100 without ids": "segment without ids",
        "native logs 100": "native logs",
        "otlp 100": "otlp protobuf",
    }
    found: dict[str, Mapping[str, Any]] = {}

    def read(name: str) -> Scenario:
        def scenario(before: Round) -> Mapping[str, Any]:
            if name == "native events":
                found.update(bench_clients.compare())
            return found[name]

        return scenario

    return {scenario: read(name) for scenario, name in names.items()}


def once(directory: Path, seconds: float, minutes: int, rate: float) -> dict[str, Mapping[str, Any]]:
    """For the plots, and what takes long. rate: requests a second at half load."""
    measure = bench_ingest.measure
    found: dict[str, Mapping[str, Any]] = {}
    for rows in (10, 100, 2000):
        load = {"rows": rows, "connections": connections(rows), "seconds": seconds}
        found[f"flatbuffer {rows}"] = measure(directory, None, **load)
        found[f"nested-json {rows}"] = measure(directory, None, **load, format="nested-json")
    for workspaces in (10, 100):
        found[f"{workspaces} workspaces"] = measure(
            directory, None, rows=500, connections=16, seconds=seconds, workspaces=workspaces
        )
    for kind in ("logs", "snapshots"):
        found[kind] = measure(directory, None, rows=500, connections=16, seconds=seconds, kind=kind)
    found["polars"] = bench_script.measure(directory, "polars")
    found["duckdb"] = bench_script.measure(directory, "duckdb")
    found["replay"] = bench_replay.measure(directory)
    found["start"] = bench_start.measure(directory)
    memory = bench_memory.measure(directory, minutes)
    found["memory"] = {"peak_mb": memory["peak_rss_bytes"][-1] / 1e6, "growth": memory["growth"]}
    shapes = ("alone", *SHAPES)
    found["queries"] = bench_query.measure(directory, rate)
    found["neighbour"] = {
        name: bench_neighbour.measure(None if name == "alone" else name, NEIGHBOUR_S, 8) for name in shapes
    }
    return found


def medians(rounds: list[dict[str, Mapping[str, Any]]], extra: Mapping[str, Mapping[str, Any]]) -> Round:
    """Every scenario with the median of its numbers."""
    joined: dict[str, dict[str, Any]] = {name: dict(result) for name, result in extra.items()}
    for name, result in rounds[0].items():
        numbers = [key for key, value in result.items() if isinstance(value, int | float)]
        joined[name] = {key: statistics.median(r[name][key] for r in rounds) for key in numbers}
        if "latency_ms" in result:
            joined[name]["latency_ms"] = {
                q: statistics.median(r[name]["latency_ms"][q] for r in rounds) for q in result["latency_ms"]
            }
    return joined


def target_lines(rounds: list[dict[str, Mapping[str, Any]]], extra: Round) -> list[str]:
    lines = ["| # | what | target | median | lowest - highest | |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        values = sorted(target.ratio({**extra, **results}) for results in rounds)
        middle = statistics.median(values)
        word = "at most" if target.at_most else "at least"
        spread = "one run" if len(set(values)) == 1 else f"{values[0]:.2f} - {values[-1]:.2f}"
        lines.append(
            f"| {target.number} | {target.what} | {word} {target.limit:g} | **{middle:.2f}** "
            f"| {spread} | {'reached' if target.reached(middle) else 'missed'} |"
        )
    return lines


def figure_lines(results: Round) -> list[str]:
    lines = [
        "| scenario | rows/s | requests/s | server CPU µs/row | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        if "rows_per_s" not in result:
            continue
        latency = result.get("latency_ms", {})
        cells = [
            f"{rate(name)(results):,.0f}",
            f"{result['requests_per_s']:,.0f}" if "requests_per_s" in result else "",
            f"{result['cpu_us_per_row']:.2f}" if "cpu_us_per_row" in result else "",
            *(f"{latency[q]:.1f}" if q in latency else "" for q in ("p50", "p99")),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def machine() -> str:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()
    return (
        f"{model}, {os.cpu_count()} cores shared by server, load generator and whatever else ran "
        f"(load average at the end {load[0]:.1f}, {load[1]:.1f}, {load[2]:.1f}); "
        f"{platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, {packages}."
    )


def write_plots(results: Round) -> None:
    def batch_sizes(form: str, value: Callable[[str], float]) -> list[tuple[float, float]]:
        names = [(rows, f"{form} {rows}") for rows in BATCH_ROWS]
        return [(rows, value(name)) for rows, name in names if name in results]

    def workspaces(value: Callable[[str], float]) -> list[tuple[float, float]]:
        return [(n, value("flatbuffer 500" if n == 1 else f"{n} workspaces")) for n in WORKSPACES]

    def rows_per_s(name: str) -> float:
        return rate(name)(results)

    def cpu(name: str) -> float:
        return float(results[name]["cpu_us_per_row"])

    for file, y_title, value in (("rows", "rows/s", rows_per_s), ("cpu", "server CPU µs/row", cpu)):
        forms = {"FlatBuffer": "flatbuffer", "nested JSON": "nested-json"}
        series = {name: batch_sizes(form, value) for name, form in forms.items()}
        chart = line_chart(f"{y_title} by batch size", "rows a batch", y_title, series)
        (DOCS / f"performance-{file}-by-batch.svg").write_text(chart)
        series = {"FlatBuffer, 500 rows": workspaces(value)}
        chart = line_chart(f"{y_title} by workspaces", "workspaces", y_title, series)
        (DOCS / f"performance-{file}-by-workspaces.svg").write_text(chart)


def write_document(
    rounds: list[dict[str, Mapping[str, Any]]], extra: dict[str, Mapping[str, Any]], minutes: float
) -> None:
    results = medians(rounds, extra)
    write_plots(results)
    path = DOCS / "performance.md"
    by_hand = path.read_text().partition(MARK)[2] if path.exists() else "\n"
    lines = [
        "# Performance",
        "",
        f"Measured by `make bench` in {minutes:.0f} minutes; rounds that ran every scenario once: "
        f"{len(rounds)}. Ratios are taken within a round. Rates count until the last row is in a published "
        "file, and a run fails unless the files hold exactly the rows that were acknowledged.",
        "",
        machine(),
        "",
        "## Targets",
        "",
        *target_lines(rounds, extra),
        "",
        "## Medians",
        "",
        *figure_lines(results),
        "",
        f"Disk: median fdatasync of 500 kB {results['disk limit']['sync_ms']:.2f} ms, "
        f"{results['disk limit']['megabytes_per_s']:.0f} MB/s.",
        "",
        "![rows/s by batch size](performance-rows-by-batch.svg)",
        "![CPU by batch size](performance-cpu-by-batch.svg)",
        "![rows/s by workspaces](performance-rows-by-workspaces.svg)",
        "![CPU by workspaces](performance-cpu-by-workspaces.svg)",
        "",
        MARK,
    ]
    path.write_text("\n".join(lines) + by_hand)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load a scenario")
    parser.add_argument("--minutes", type=int, default=2, help="of the highest load for the memory benchmark")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", type=Path, help="also writes all results there")
    options = parser.parse_args()
    began = time.monotonic()
    plan = scenarios(options.directory, options.seconds)
    rounds: list[dict[str, Mapping[str, Any]]] = []
    for number in range(options.rounds):
        results: dict[str, Mapping[str, Any]] = {}
        for name, run in plan.items():
            results[name] = run(results)
            rows_per_s = results[name].get("published_rows_per_s", results[name].get("rows_per_s", 0))
            print(f"round {number + 1}  {name:26} {rows_per_s:14,.0f} rows/s", flush=True)
        rounds.append(results)
    half = statistics.median(results["flatbuffer 500"]["requests_per_s"] for results in rounds) / 2
    extra = once(options.directory, options.seconds, options.minutes, half)
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "once": extra}))
    write_document(rounds, extra, (time.monotonic() - began) / 60)
    print("\n".join(target_lines(rounds, extra)))


if __name__ == "__main__":
    main()
