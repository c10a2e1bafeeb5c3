"""How close a journal append comes to a bare write and fdatasync on the same disk.

    python benchmarks/bench_journal.py [--directory DIR] [--seconds 2] [--json]

Groups of 1.5 kB, 150 kB and 2.4 MB, each as 1 and as 16 frames; the two loops take turns, so that both
see the same disk. `overhead` is the time of an append outside its fdatasync.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from app.disk.durable_fs import DurableFS
from app.journal.journal import Journal
from app.journal.policy import JournalPolicy

GROUPS = {"1.5 kB": 1_500, "150 kB": 150_000, "2.4 MB": 2_400_000}
FRAMES = (1, 16)
TURNS = 4


class Bare:
    """write + fdatasync of the same bytes, in files of the same size."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self._directory, self._segment_bytes = directory, segment_bytes
        self._number = self._size = 0
        self._fd = -1

    def append(self, data: bytes) -> None:
        if self._fd < 0 or self._size >= self._segment_bytes:
            self._open()
        self._size += os.write(self._fd, data)
        os.fdatasync(self._fd)

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            (self._directory / f"bare-{self._number}").unlink()
        self._number, self._size = self._number + 1, 0
        path = self._directory / f"bare-{self._number}"
        path.unlink(missing_ok=True)
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)


def measure(directory: Path, group_bytes: int, frames: int, seconds: float) -> dict[str, Any]:
    """Median and 99th percentile of one append, seconds; rate in groups and MB a second."""
    policy = JournalPolicy()
    journal = Journal.open(DurableFS(), directory / f"journal-{group_bytes}-{frames}", policy)
    bare = Bare(directory, policy.segment_bytes)
    data = os.urandom(group_bytes)
    part = group_bytes // frames
    payloads = [[data[i * part : (i + 1) * part]] for i in range(frames)]
    bare_times: list[float] = []
    times: list[float] = []
    overheads: list[float] = []
    for _ in range(TURNS):
        until = time.perf_counter() + seconds / TURNS / 2
        while (started := time.perf_counter()) < until:
            bare.append(data)
            bare_times.append(time.perf_counter() - started)
        until = time.perf_counter() + seconds / TURNS / 2
        while (started := time.perf_counter()) < until:
            appended = journal.append(payloads)
            times.append(time.perf_counter() - started)
            overheads.append(times[-1] - appended.sync_seconds)
        journal.trim(journal.last_lsn)
    journal.close()
    return {
        "group_bytes": group_bytes,
        "frames": frames,
        "journal": summary(times, group_bytes),
        "bare": summary(bare_times, group_bytes),
        "write_and_overhead_us": round(statistics.median(overheads) * 1e6, 1),
    }


def cpu_only(directory: Path, group_bytes: int, frames: int) -> float:
    """Median µs of an append without any sync (`acknowledge = "write"`): own cost and the write."""
    journal = Journal.open(DurableFS(), directory / "write", JournalPolicy(acknowledge="write"))
    data = os.urandom(group_bytes // frames)
    times = []
    for _ in range(300):
        started = time.perf_counter()
        journal.append([[data]] * frames)
        times.append(time.perf_counter() - started)
        journal.trim(journal.last_lsn)
    journal.close()
    return round(statistics.median(times) * 1e6, 1)


def summary(times: list[float], group_bytes: int) -> dict[str, float]:
    return {
        "median_us": round(statistics.median(times) * 1e6, 1),
        "p99_us": round(statistics.quantiles(times, n=100)[98] * 1e6, 1),
        "groups_per_s": round(len(times) / sum(times), 1),
        "megabytes_per_s": round(len(times) * group_bytes / sum(times) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the current directory"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="per line")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(dir=options.directory or Path.cwd()) as name:
        for group_bytes in GROUPS.values():
            for frames in FRAMES:
                result = measure(Path(name), group_bytes, frames, options.seconds)
                result["without_sync_us"] = cpu_only(Path(name), group_bytes, frames)
                results.append(result)
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print("group bytes  frames | journal: median, p99, MB/s  | bare: median, p99, MB/s     | no sync   (µs)")
    for r in results:
        line = f"{r['group_bytes']:11,} {r['frames']:7}"
        for loop in (r["journal"], r["bare"]):
            line += f" | {loop['median_us']:9} {loop['p99_us']:9} {loop['megabytes_per_s']:7}"
        print(f"{line} | {r['without_sync_us']:7}")


if __name__ == "__main__":
    main()
