"""The files of the service beside those that others write from the same rows: size, CPU, six questions.

    python -m benchmarks.bench_files [--rows 1000000] [--codecs snappy zstd] [--repeats 7] [--json FILE]

`service` is one flush of everything, `service-day` what a day of flushes by the default rules leaves,
`service-final` the same day laid again, its old bytes given back. Bytes are those on the disk.
Questions are asked with the files in the page cache. Ratios are of `service` to the least of the others
(duckdb, polars, pyarrow), in time and in CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.file_queries import QUESTIONS
from benchmarks.file_rows import DAY_START_MS, HOUR_MS, hours
from benchmarks.file_writers import WRITERS

ENGINES: Final = ("duckdb", "polars", "chdb")
OTHERS: Final = ("duckdb", "polars", "pyarrow")
WORKSPACE_ASKED: Final = 3

Figures = dict[str, Any]


def write_all(directory: Path, codec: str, rows: list[pa.RecordBatch]) -> Figures:
    """Bytes a row, CPU µs a row and number of files of each writer."""
    count = sum(batch.num_rows for batch in rows)
    figures: Figures = {}
    for name, write in WRITERS.items():
        cpu_s = write(directory / name, codec, rows)
        found = [path.stat() for path in (directory / name).rglob("*.parquet")]
        sizes = [min(each.st_size, each.st_blocks * 512) for each in found]
        figures[name] = {
            "bytes_per_row": sum(sizes) / count,
            "cpu_us_per_row": cpu_s / count * 1e6,
            "files": len(sizes),
        }
    return figures


def facts_of(rows: list[pa.RecordBatch]) -> Figures:
    """What is asked for: a device and a session of a common number of events."""
    whole = pa.Table.from_batches(rows).select(["device_id", "session_id"])
    found: Figures = {"hour": DAY_START_MS + 14 * HOUR_MS, "workspace": WORKSPACE_ASKED}
    for key in ("device", "session"):
        counted = whole[f"{key}_id"].value_counts()
        order = pc.sort_indices(counted.field("counts"))
        found[key] = counted.field("values")[order[len(order) // 2].as_py()].as_py().hex()
    return found


def ask(engine: str, facts: Figures, repeats: int, directory: Path) -> Figures:
    command = [sys.executable, "-m", "benchmarks.file_queries", engine, json.dumps(facts), str(repeats)]
    command += [str(directory / name) for name in WRITERS]
    environment = os.environ | {"POLARS_FORCE_ASYNC": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    return {
        question: {
            measure: {Path(name).name: value for name, value in values.items()}
            for measure, values in found[question].items()
        }
        for question in QUESTIONS
    }


def measure(directory: Path, count: int, codecs: list[str], repeats: int) -> Figures:
    rows = list(hours(count))
    facts = facts_of(rows)
    figures: Figures = {"rows": count}
    for codec in codecs:
        place = directory / codec
        written = write_all(place, codec, rows)
        print(codec, json.dumps(written), file=sys.stderr)
        asked = {engine: ask(engine, facts, repeats, place) for engine in ENGINES}
        figures[codec] = {"files": written, "engines": asked}
    return figures


def report(figures: Figures) -> str:
    """Tables in Markdown."""
    lines = [f"{figures['rows']:,} rows"]
    for codec, found in figures.items():
        if codec == "rows":
            continue
        lines += ["", f"| {codec} | bytes/row | CPU µs/row | files |", "|---|---|---|---|"]
        for name, each in found["files"].items():
            lines.append(
                f"| {name} | {each['bytes_per_row']:.2f} | {each['cpu_us_per_row']:.2f} | {each['files']} |"
            )
        for engine, questions in found["engines"].items():
            lines += [
                "",
                f"| {codec}, {engine}: ms (MB read) | "
                + " | ".join(WRITERS)
                + " | to best | CPU | final to best |",
            ]
            lines.append("|---" * (len(WRITERS) + 4) + "|")
            lines += [_line(question, questions[question]) for question in QUESTIONS]
    return "\n".join(lines)


def _line(question: str, measured: Figures) -> str:
    seconds, read = measured["seconds"], measured["bytes"]
    cells = [f"{seconds[name] * 1e3:.1f} ({read[name] / 1e6:.2f})" for name in WRITERS]
    cells += [f"{_to_best(measured[key]):.2f}" for key in ("seconds", "cpu_seconds")]
    cells.append(f"{_to_best(seconds, 'service-final'):.2f}")
    return f"| {question} | " + " | ".join(cells) + " |"


def _to_best(figures: dict[str, float], name: str = "service") -> float:
    return figures[name] / min(figures[other] for other in OTHERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--codecs", nargs="+", default=["snappy", "zstd"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--directory", type=Path, help="on the disk to use; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        figures = measure(Path(name), options.rows, options.codecs, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print(report(figures))


if __name__ == "__main__":
    main()
