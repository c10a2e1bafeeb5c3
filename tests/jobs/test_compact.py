"""The compaction job on a cluster of processes, over files that the real service wrote over HTTP."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.schema import SCHEMAS
from tests.jobs.spark_cluster import Job, SparkCluster
from tests.support.payloads import ROW_OF
from tests.support.service import ADMIN_TOKEN, REPOSITORY, Service, running_service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

JOB: Final = REPOSITORY / "jobs" / "compact.py"
DAYS: Final = ("2026-03-01", "2026-03-02")
HOURLY_DAY: Final = "2026-03-03"
ROWS: Final = 1_200
KINDS: Final = ("events", "logs")
POSTED: Final = (("events", 1), ("logs", 1), ("events", 2))
PARTITIONS: Final = {
    *(f"{kind}/{workspace}/{day}" for kind, workspace in POSTED for day in DAYS),
    f"events/1/{HOURLY_DAY}T12",
}
SINK: Final = {"max_file_size": "30KB", "flush_interval": "3600s"}
CONFIG: Final = {"sinks.parquet": SINK, "sinks.parquet.final": {"enabled": False}}
"""Files are not laid again: the job leaves a partition that changes meanwhile to its next run."""

AFTERWARDS: Final = "2026-03-05T08:00:00+00:00"
SEAL_SECONDS_MAX: Final = 120.0
"""A minute after its start the service declares passed days final; the first two runs take most of it."""
LATE_ROWS: Final = 10

BYTES: Final = pa.binary()
TYPES: Final = {"workspace_id": pa.int64(), "device_id": BYTES, "session_id": BYTES, "source_ip": BYTES}
"""What differs from the service's types, as docs/maintenance.md says."""

LATE: Final = "events/1/2026-03-01"
REPLACED: Final = "events/1/2026-03-02"
EXPIRED: Final = "logs/1/2026-03-02"
EXPIRED_AND_LATE: Final = "events/2/2026-03-02"


@dataclass
class History:
    """The runs of the job, one after the other, and what the compacted lake was after each.

    everything: a copy of the lake as it would be had nobody removed a file, without today's rows.
    """

    directory: Path
    jobs: list[Job] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    rows: list[dict[str, int]] = field(default_factory=list)
    files: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lake = self.directory / "parquet"
        self.output = self.directory / "compacted"
        self.everything = self.directory / "everything"

    def note(self, job: Job, code: int) -> None:
        """Notes a run: rows by partition, modification times by file, as they are now."""
        self.jobs.append(job)
        self.codes.append(code)
        found = sorted(self.output.glob("[!_]*/*/*/*.parquet"))
        rows: dict[str, int] = {}
        for path in found:
            place = path.parent.relative_to(self.output).as_posix()
            rows[place] = rows.get(place, 0) + pq.read_metadata(path).num_rows
        self.rows.append(rows)
        self.files.append(
            {path.relative_to(self.output).as_posix(): path.stat().st_mtime_ns for path in found}
        )


def rows_of(call: str, day: str, workspace: int, first: int = 0, count: int = ROWS) -> list[dict[str, Any]]:
    """Rows whose timestamps are in no order, half of them without a session, of many devices."""
    seed = f"{day}/{workspace}"
    rows = []
    for number in range(first, first + count):
        fields: dict[str, Any] = {"timestamp": 1_770_000_000_000 + (number * 7919) % 100_003}
        if call == "events":
            fields["device_id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{number % 300}"))
            fields["session_id"] = (
                str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{number}")) if number % 2 else None
            )
        rows.append(ROW_OF[call](number, **{name: value for name, value in fields.items() if value}))
    return rows


def write_lake(directory: Path) -> None:
    for day in DAYS:
        with running_service(directory, CONFIG, clock=f"{day}T12:00:00+00:00") as service:
            for call, workspace in POSTED:
                for first in range(0, ROWS, ROWS // 3):
                    rows = rows_of(call, day, workspace, first, ROWS // 3)
                    service.post_json(call, rows, workspace=workspace, wait="file")
    hourly = {**CONFIG, "sinks.parquet": {**SINK, "rotation": "hourly"}}
    with running_service(directory, hourly, clock=f"{HOURLY_DAY}T12:10:00+00:00") as service:
        service.post_json("events", rows_of("events", HOURLY_DAY, 1), wait="file")


def compact(cluster: SparkCluster, history: History, *options: str) -> Job:
    return cluster.submit(JOB, "--input", str(history.lake), "--output", str(history.output), *options)


def die_between_two_renames(history: History, place: str) -> None:
    """What a run leaves that was killed while it replaced a partition."""
    replaced = history.output / "_replaced" / place
    replaced.parent.mkdir(parents=True)
    (history.output / place).rename(replaced)


def originals(lake: Path, place: str) -> list[Path]:
    kind, workspace, time = place.split("/")
    return sorted((lake / workspace / time.replace("T", "/")).glob(f"{kind}*.parquet"))


def expire(history: History, service: Service) -> None:
    """Runs the program that the document has for it, once the service has declared all files final."""
    text = (REPOSITORY / "docs" / "maintenance.md").read_text()
    (program,) = re.findall(r"^```python expire-originals\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    service.wait_until(lambda: all(file["sealed"] for file in service.files()), SEAL_SECONDS_MAX)
    places = [str(history.output / place) for place in (EXPIRED, EXPIRED_AND_LATE)]
    arguments = [service.base_url, ADMIN_TOKEN, str(history.lake), *places]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=60)


def come_late(history: History) -> None:
    """Old days get rows that a node had in its journal, and today gets rows, which are none of the job's."""
    for place in (LATE, EXPIRED_AND_LATE):
        call, workspace, day = place.split("/")
        with running_service(history.directory, CONFIG, f"{day}T18:00:00+00:00") as service:
            late = rows_of(call, day, int(workspace), ROWS, LATE_ROWS)
            service.post_json(call, late, workspace=int(workspace), wait="file")
    shutil.copytree(history.lake, history.everything, dirs_exist_ok=True)
    with running_service(history.directory, CONFIG) as service:
        service.post_json("events", rows_of("events", "today", 1, count=5), wait="file")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Three runs: the driver is killed; a worker is killed; rows came late, and originals are gone."""
    history = History(tmp_path_factory.mktemp("lake"))
    write_lake(history.directory)
    shutil.copytree(history.lake, history.everything)
    with contextlib.ExitStack() as stack:
        # First, since its files are final a minute after its start.
        service = stack.enter_context(running_service(history.directory, CONFIG, AFTERWARDS))
        cluster = stack.enter_context(SparkCluster(tmp_path_factory.mktemp("spark"), workers=2))
        job = compact(cluster, history)
        job.read_until("published")
        job.kill()
        history.note(job, job.process.returncode)

        job = compact(cluster, history)
        job.read_until("published")
        cluster.kill_worker(0)
        history.note(job, job.wait())

        expire(history, service)
        assert service.terminate() == 0
        come_late(history)
        die_between_two_renames(history, REPLACED)
        job = compact(cluster, history, "--kinds", "events,logs", "--target-file-size", "20KB")
        history.note(job, job.wait())
    return history


def test_originals_are_several_files_and_the_job_was_needed(history: History) -> None:
    assert len(originals(history.everything, LATE)) >= 2


def test_a_killed_run_leaves_whole_partitions_or_none(history: History) -> None:
    assert history.codes[0] == -signal.SIGKILL
    assert 0 < len(history.rows[0]) < len(PARTITIONS), "it was killed in the middle"
    assert set(history.rows[0].values()) == {ROWS}


def test_the_next_run_completes_although_a_worker_is_lost(history: History) -> None:
    assert history.codes[1] == 0, history.jobs[1].stderr[-3000:]
    assert "Lost executor" in history.jobs[1].stderr, "the fault fired while the job ran"
    assert history.rows[1] == dict.fromkeys(PARTITIONS, ROWS)
    assert history.files[0].items() <= history.files[1].items(), "what was published was left alone"


def test_only_what_has_new_rows_is_compacted_again(history: History) -> None:
    assert history.codes[2] == 0, history.jobs[2].lines
    assert f"published=2 unchanged={len(PARTITIONS) - 3} failed=0" in history.jobs[2].lines
    late = {LATE: ROWS + LATE_ROWS, EXPIRED_AND_LATE: ROWS + LATE_ROWS}
    assert history.rows[2] == {**history.rows[1], **late}
    rewritten = {path for path, time in history.files[2].items() if history.files[1].get(path) != time}
    assert {path.rpartition("/")[0] for path in rewritten} == {LATE, EXPIRED_AND_LATE}


def test_the_documented_program_removes_what_was_compacted(history: History) -> None:
    assert originals(history.lake, EXPIRED) == []
    assert len(originals(history.lake, EXPIRED_AND_LATE)) == 1, "the late one"
    assert len(originals(history.everything, EXPIRED)) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_originals_each_once(history: History, kind: str) -> None:
    columns = ", ".join(name for name in SCHEMAS[Kind(kind)].names if name != "workspace_id")
    select = f"select workspace_id::ubigint, {columns} from read_parquet"
    before = f"{select}('{history.everything}/**/{kind}*.parquet')"
    after = f"{select}('{history.output}/{kind}/*/*/{kind}*.parquet')"
    with duckdb.connect() as connection:
        for left, right in ((before, after), (after, before)):
            query = f"select count(*) from ({left} except all {right})"
            assert connection.execute(query).fetchall() == [(0,)]
        late = 2 * LATE_ROWS if kind == "events" else 0
        assert connection.execute(f"select count(*) from ({after})").fetchall() == [
            (count_of(kind) * ROWS + late,)
        ]


@pytest.mark.parametrize("place", sorted(PARTITIONS))
def test_a_partition_is_one_sorted_file_or_some_of_the_size_asked_for(history: History, place: str) -> None:
    paths = sorted((history.output / place).glob("*.parquet"))
    assert len(paths) == 1 or (len(paths) >= 2 and place in (LATE, EXPIRED_AND_LATE))
    stamps = [
        stamp
        for path in paths
        for stamp in pq.read_table(path, columns=["timestamp"])["timestamp"].to_pylist()
    ]
    assert stamps == sorted(stamps), "also from one file to the next"


def test_a_target_size_divides_large_partitions(history: History) -> None:
    for place in (LATE, EXPIRED_AND_LATE):
        assert len(list((history.output / place).glob("*.parquet"))) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_columns_have_the_documented_types_in_the_services_order(history: History, kind: str) -> None:
    schema = SCHEMAS[Kind(kind)]
    for path in history.output.glob(f"{kind}/*/*/*.parquet"):
        written = pq.read_schema(path)
        assert written.names == schema.names
        assert written.types == [TYPES.get(field.name, field.type) for field in schema]


def test_a_look_up_of_an_id_skips_by_bloom_filter(history: History) -> None:
    (path,) = history.output.glob(f"{REPLACED}/*.parquet")
    there = pq.read_table(path, partitioning=None)["device_id"][0].as_py()
    with duckdb.connect() as connection:
        probe = "select bloom_filter_excludes from parquet_bloom_probe(?, ?, ?::blob)"
        for column in ("device_id", "session_id"):
            assert set(connection.execute(probe, [str(path), column, bytes(16)]).fetchall()) == {(True,)}
        assert set(connection.execute(probe, [str(path), "device_id", there]).fetchall()) == {(False,)}


def test_nothing_is_left_behind(history: History) -> None:
    left = [path for path in history.output.rglob("*") if path.is_file() and path.parts[-4] in KINDS]
    others = [path for path in history.output.rglob("*") if path.is_file() and path not in left]
    assert others == []


def count_of(kind: str) -> int:
    """How many partitions of a kind there are."""
    return sum(place.startswith(kind) for place in PARTITIONS)
