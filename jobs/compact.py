"""Compacts the sealed days of a lake into a second lake: one sorted file for each partition and kind.

    spark-submit jobs/compact.py --input hdfs://…/parquet --output hdfs://…/compacted

Reads `{input}/{workspace}/{date}[/{HH}]/{kind}*.parquet`, which the service wrote, and never changes or
removes anything there: the service's manifest knows its files by length. Writes below `{output}`:

    {kind}/{workspace}/{date}[T{HH}]/{kind}-00000.parquet   sorted by timestamp; several if too large for one
    {kind}/{workspace}/{date}[T{HH}]/_compacted.json        the sources (name, bytes), rows and checksum
    _staging/{application}/…                                not yet verified; removed by the next run
    _replaced/…                                             the previous version while late rows are added

A partition is published by one rename of its directory, after its staged files were read back and had the
same number of rows and the same checksum as its sources: it is there whole or not at all, whenever the job is
killed. A partition whose sources have not changed is left alone, also when they have been removed since.

Needs nothing but Spark, so that this file alone can be submitted. docs/maintenance.md says the rest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # so that the plan can be tested without Spark
    from pyspark.sql import DataFrame, SparkSession

KINDS: Final = ("events", "logs", "snapshots")
IDS: Final = ("device_id", "session_id")
ORDER: Final = ("timestamp", "batch_timestamp")
RECORD: Final = "_compacted.json"
STAGING: Final = "_staging"
REPLACED: Final = "_replaced"
ABANDONED: Final = "_abandoned"

ATOMIC_SCHEMES: Final = ("file", "hdfs", "viewfs")
"""File systems on which renaming a directory is atomic."""

NOT_ATOMIC: Final = "directories cannot be renamed atomically there; use file:, hdfs: or viewfs:"

PARALLEL_PARTITIONS: Final = 4
"""Partitions processed at the same time, so that small ones do not leave the cluster idle."""

FILTERED_IDS_MAX: Final = 10_000_000
"""The maximum number of distinct ids for a bloom filter: 12 MB at 1 % false positives."""

_WORKSPACE: Final = re.compile(r"\d{1,20}")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR: Final = re.compile(r"\d{2}")
_FILE: Final = re.compile(rf"({'|'.join(KINDS)})(?:-[a-z0-9_-]+)?\.parquet")
_SIZE: Final = re.compile(r"(\d+)(KB|MB|GB)")


class PartitionFailed(Exception):
    """A partition stays as it was; the text says why and what to do. Others are not affected."""


@dataclass(frozen=True, order=True)
class Partition:
    """One kind of one workspace's day or hour. place: its directory below the output."""

    kind: str
    workspace: str
    date: str
    hour: str | None = None

    @property
    def place(self) -> str:
        time = f"{self.date}T{self.hour}" if self.hour else self.date
        return f"{self.kind}/{self.workspace}/{time}"


@dataclass(frozen=True)
class Account:
    """What a set of rows comes to, whatever their order. checksum: sum and xor of their 64-bit hashes."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Entry:
    """One name in a directory; bytes is 0 for directories."""

    name: str
    is_directory: bool
    bytes: int


class Storage:
    """A directory tree behind Hadoop's file system classes; paths are relative to its root."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        jvm: Any = spark.sparkContext._jvm
        gateway: Any = spark.sparkContext._gateway
        self._hadoop: Any = jvm.org.apache.hadoop.fs
        configuration = spark.sparkContext._jsc.hadoopConfiguration()
        path = self._hadoop.Path(root)
        self._files = path.getFileSystem(configuration)
        self._root = path.makeQualified(self._files.getUri(), self._files.getWorkingDirectory())
        self._context = self._hadoop.FileContext.getFileContext(self._root.toUri(), configuration)
        self._never_over = gateway.new_array(self._hadoop.Options.Rename, 1)
        self._never_over[0] = self._hadoop.Options.Rename.NONE

    @property
    def scheme(self) -> str:
        return str(self._files.getUri().getScheme())

    def full(self, path: str = "") -> str:
        return str(self._path(path).toString())

    def _path(self, path: str) -> Any:
        return self._hadoop.Path(self._root, path) if path else self._root

    def exists(self, path: str = "") -> bool:
        return bool(self._files.exists(self._path(path)))

    def entries(self, path: str = "") -> list[Entry]:
        """What is in a directory, by name; nothing where there is none."""
        if not self.exists(path):
            return []
        found = self._files.listStatus(self._path(path))
        listed = (Entry(each.getPath().getName(), each.isDirectory(), each.getLen()) for each in found)
        return sorted(listed, key=lambda entry: entry.name)

    def directories(self, path: str, name: re.Pattern[str]) -> list[str]:
        return [each.name for each in self.entries(path) if each.is_directory and name.fullmatch(each.name)]

    def read(self, path: str) -> str:
        stream = self._files.open(self._path(path))
        try:
            return bytes(stream.readAllBytes()).decode()
        finally:
            stream.close()

    def write(self, path: str, text: str) -> None:
        """Makes a file that must not exist, on stable storage where the file system knows how."""
        stream = self._files.create(self._path(path), False)
        try:
            stream.write(text.encode())
            stream.hsync()
        finally:
            stream.close()

    def rename(self, source: str, target: str) -> None:
        """Never replaces: fails where the target exists. FileSystem.rename would move into a directory."""
        self._files.mkdirs(self._path(target).getParent())
        self._context.rename(self._path(source), self._path(target), self._never_over)

    def remove(self, path: str) -> None:
        self._files.delete(self._path(path), True)


@dataclass(frozen=True)
class Work:
    """What is to be done for a partition. sources: bytes by path below the input, all that are there now.

    read: those to read. with_previous: the rows of the published version are read, too, since their sources
    are gone. recorded: the sources of the published version; None if there is none.
    """

    partition: Partition
    sources: Mapping[str, int]
    read: Sequence[str]
    with_previous: bool = False
    recorded: Mapping[str, int] | None = None


def plan(partition: Partition, sources: Mapping[str, int], recorded: Mapping[str, int] | None) -> Work | None:
    """What a partition needs, from its sources now and those of its published version; None for nothing.

    Raises PartitionFailed where new rows cannot be told from those that are in the published version already.
    """
    if recorded is None:
        return Work(partition, sources, sorted(sources))
    shrunk = sorted(path for path, size in sources.items() if size < recorded.get(path, 0))
    if shrunk:
        raise PartitionFailed(f"{shrunk[0]} is shorter than when it was compacted, so it is a different file")
    grown = sorted(path for path, size in sources.items() if size > recorded.get(path, size))
    new = sorted(path for path in sources if path not in recorded)
    if not grown and not new:
        return None
    if recorded.keys() <= sources.keys():
        return Work(partition, sources, sorted(sources), recorded=recorded)
    if grown:
        raise PartitionFailed(
            f"{grown[0]} has grown since it was compacted, and other sources were removed: restore those, "
            "or move the published partition away and compact it again from all sources"
        )
    return Work(partition, sources, new, with_previous=True, recorded=recorded)


def last_date(now: datetime.datetime, older_than_days: int) -> str:
    """The last day that ended at least so many days ago, as it stands in paths."""
    return (now.astimezone(datetime.UTC) - datetime.timedelta(days=older_than_days + 1)).date().isoformat()


def find_partitions(
    lake: Storage, kinds: Sequence[str], last: str
) -> Iterator[tuple[Partition, Mapping[str, int]]]:
    """Every partition of these kinds up to a day, with its files' bytes by path; in order of the paths."""
    for workspace in lake.directories("", _WORKSPACE):
        for date in lake.directories(workspace, _DATE):
            if date > last:
                continue
            day = f"{workspace}/{date}"
            for hour in (None, *lake.directories(day, _HOUR)):
                for kind, sources in files_of(lake, f"{day}/{hour}" if hour else day).items():
                    if kind in kinds:
                        yield Partition(kind, workspace, date, hour), sources


def files_of(lake: Storage, directory: str) -> dict[str, dict[str, int]]:
    """The data files directly in a directory: bytes by path by kind."""
    found: dict[str, dict[str, int]] = {}
    for entry in lake.entries(directory):
        match = _FILE.fullmatch(entry.name)
        if match and not entry.is_directory:
            found.setdefault(match[1], {})[f"{directory}/{entry.name}"] = entry.bytes
    return found


class Compactor:
    """Compacts partition after partition of one lake into another, within one Spark application."""

    def __init__(self, spark: SparkSession, lake: Storage, output: Storage, target_bytes: int) -> None:
        self._spark = spark
        self._lake = lake
        self._output = output
        self._target_bytes = target_bytes
        self._staging = f"{STAGING}/{spark.sparkContext.applicationId}"

    def recover(self) -> None:
        """Takes away what killed runs have staged, and puts back what they had begun to replace."""
        for entry in self._output.entries(STAGING):
            # One rename, so that a run that is not dead after all loses everything at once, and fails.
            self._output.rename(f"{STAGING}/{entry.name}", f"{ABANDONED}/{uuid.uuid4()}")
        self._output.remove(ABANDONED)
        for place in self._places(REPLACED):
            if self._output.exists(place):
                self._output.remove(f"{REPLACED}/{place}")
            else:
                self._output.rename(f"{REPLACED}/{place}", place)
        self._output.remove(REPLACED)

    def _places(self, root: str, place: str = "") -> Iterator[str]:
        entries = self._output.entries(f"{root}/{place}" if place else root)
        if any(entry.name == RECORD for entry in entries):
            yield place
            return
        for entry in entries:
            if entry.is_directory:
                yield from self._places(root, f"{place}/{entry.name}" if place else entry.name)

    def recorded(self, partition: Partition) -> Mapping[str, int] | None:
        """The sources of the published version: bytes by path. None if nothing is published."""
        path = f"{partition.place}/{RECORD}"
        if self._output.exists(path):
            return dict(json.loads(self._output.read(path))["sources"])
        if self._output.exists(partition.place):
            raise PartitionFailed(
                f"{self._output.full(partition.place)} was not created by this job: move it away"
            )
        return None

    def compact(self, work: Work) -> str:
        """Writes, verifies and publishes one partition; returns a line about it. Raises PartitionFailed."""
        place = work.partition.place
        staged = f"{self._staging}/{place}"
        rows = self._rows(work)
        before, distinct = account(rows, [name for name in IDS if name in rows.columns])
        size = sum(work.sources[path] for path in work.read)
        if work.with_previous:
            size += sum(entry.bytes for entry in self._output.entries(place))
        self._write(rows, self._output.full(staged), math.ceil(size / self._target_bytes), distinct)
        self._verify(work, rows, before, staged)
        names = self._name_files(work.partition.kind, staged)
        record = {"sources": {**(work.recorded or {}), **work.sources}, "files": names, **asdict(before)}
        self._output.write(f"{staged}/{RECORD}", json.dumps(record, indent=1, sort_keys=True))
        self._publish(work, staged)
        return f"published {place}: {before.rows} rows of {len(work.read)} files in {len(names)}"

    def _rows(self, work: Work) -> DataFrame:
        # UINT64 is decimal(20,0) to Spark, which cannot write it; a workspace beyond 2^63 - 1 fails here.
        reader = self._spark.read.option("mergeSchema", "true")
        rows = reader.parquet(*(self._lake.full(path) for path in work.read))
        rows = rows.withColumn("workspace_id", rows["workspace_id"].cast("bigint"))
        if work.with_previous:
            previous = reader.parquet(self._output.full(work.partition.place))
            rows = previous.unionByName(rows, allowMissingColumns=True)
        return rows

    def _write(self, rows: DataFrame, directory: str, files: int, distinct_ids: Mapping[str, int]) -> None:
        parts = rows.coalesce(1) if files <= 1 else rows.repartitionByRange(files, *ORDER)
        writer = parts.sortWithinPartitions(*ORDER).write.option("compression", "zstd")
        for name, distinct in distinct_ids.items():
            # A chunk that is all dictionary gets no filter from parquet-java; few engines ask dictionaries.
            writer = writer.option(f"parquet.enable.dictionary#{name}", "false")
            writer = writer.option(f"parquet.bloom.filter.enabled#{name}", "true")
            writer = writer.option(f"parquet.bloom.filter.expected.ndv#{name}", str(filtered_ids(distinct)))
        writer.option("parquet.bloom.filter.max.bytes", str(16 << 20)).parquet(directory)

    def _verify(self, work: Work, rows: DataFrame, before: Account, staged: str) -> None:
        written = self._spark.read.parquet(self._output.full(staged))
        if types(written) != types(rows):
            raise PartitionFailed(
                f"staged columns {types(written)} are not those of the sources {types(rows)}"
            )
        after, _ = account(written)
        if after != before:
            raise PartitionFailed(f"staged files hold {after}, the sources {before}: nothing was published")
        if work.recorded is not None and not work.with_previous:
            self._verify_nothing_is_missing(work.partition.place, written)
        now = files_of(self._lake, work.read[0].rpartition("/")[0]).get(work.partition.kind)
        if now != work.sources:
            raise PartitionFailed("the sources have changed in the meantime: run the job again")

    def _verify_nothing_is_missing(self, place: str, written: DataFrame) -> None:
        previous = self._spark.read.parquet(self._output.full(place))
        columns = previous.columns
        known = set(columns) <= set(written.columns)
        if not known or not previous.exceptAll(written.select(columns)).isEmpty():
            raise PartitionFailed("rows of the published version are missing in its sources: compare them")

    def _name_files(self, kind: str, staged: str) -> list[str]:
        """Gives the staged files the names that globs of the service's lake match, too; returns them."""
        names: list[str] = []
        for entry in self._output.entries(staged):
            if entry.name.startswith("part-"):
                names.append(f"{kind}-{len(names):05d}.parquet")
                self._output.rename(f"{staged}/{entry.name}", f"{staged}/{names[-1]}")
        self._output.remove(f"{staged}/_SUCCESS")
        return names

    def _publish(self, work: Work, staged: str) -> None:
        place = work.partition.place
        if work.recorded is not None:
            self._output.rename(place, f"{REPLACED}/{place}")
        self._output.rename(staged, place)
        if work.recorded is not None:
            self._output.remove(f"{REPLACED}/{place}")

    def close(self) -> None:
        self._output.remove(self._staging)


def account(rows: DataFrame, ids: Sequence[str] = ()) -> tuple[Account, dict[str, int]]:
    """Counts rows and sums their hashes; and about how many distinct values each of some columns has."""
    names = [quoted(name) for name in rows.columns]
    # A null counts as such: xxhash64 alone passes over it.
    row_hash = f"xxhash64({', '.join((*names, *(f'{name} is null' for name in names)))})"
    hashed = rows.selectExpr(f"{row_hash} as row_hash", *map(quoted, ids))
    sums = ("count(*)", "sum(cast(row_hash as decimal(20,0)))", "bit_xor(row_hash)")
    (result,) = hashed.selectExpr(
        *sums, *(f"approx_count_distinct({quoted(name)})" for name in ids)
    ).collect()
    count, total, xor, *distinct = result
    return Account(count, f"{total}:{xor}"), dict(zip(ids, distinct, strict=True))


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def filtered_ids(distinct: int) -> int:
    return min(max(1, distinct), FILTERED_IDS_MAX)


def types(rows: DataFrame) -> list[tuple[str, str]]:
    return [(field.name, field.dataType.simpleString()) for field in rows.schema.fields]


def compact_all(compactor: Compactor, found: Sequence[tuple[Partition, Mapping[str, int]]]) -> bool:
    """Compacts what needs it, partition by partition, and prints a line for each; False if one failed."""

    def one(partition: Partition, sources: Mapping[str, int]) -> str:
        try:
            work = plan(partition, sources, compactor.recorded(partition))
            line = compactor.compact(work) if work else "unchanged"
        except Exception as failure:  # whatever it is, the other partitions go on, and the exit code says so
            reason = str(failure).strip().splitlines() or [type(failure).__name__]
            print(f"failed {partition.place}: {reason[0]}", flush=True)
            return "failed"
        if work:
            print(line, flush=True)
        return "published" if work else "unchanged"

    with ThreadPool(PARALLEL_PARTITIONS) as pool:
        outcomes = pool.starmap(one, found, chunksize=1)
    print(*(f"{name}={outcomes.count(name)}" for name in ("published", "unchanged", "failed")), flush=True)
    return "failed" not in outcomes


def size_in_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: a number with KB, MB or GB, such as 512MB")
    unit: int = 1000 ** (1 + ("KB", "MB", "GB").index(match[2]))
    return int(match[1]) * unit


def kind_list(text: str) -> list[str]:
    kinds = text.split(",")
    if not set(kinds) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"{text}: some of {','.join(KINDS)}")
    return kinds


def output_root(text: str) -> str:
    scheme, colon, _ = text.partition(":")
    if colon and scheme not in ATOMIC_SCHEMES:
        raise argparse.ArgumentTypeError(f"{text}: {NOT_ATOMIC}")
    return text


def days(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: a number of days, 0 or more")
    return int(text)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compact.py", description="Compacts days that are over into a second data lake."
    )
    parser.add_argument("--input", required=True, help="the service's [sinks.parquet] path")
    parser.add_argument(
        "--output", required=True, type=output_root, help="root of the compacted data lake; file: or hdfs:"
    )
    parser.add_argument(
        "--older-than", type=days, default=1, help="days after its end that a day is compacted (default 1)"
    )
    parser.add_argument(
        "--kinds",
        type=kind_list,
        default=list(KINDS),
        help="kinds to compact, such as events,logs (default: all)",
    )
    parser.add_argument("--target-file-size", type=size_in_bytes, default=512_000_000, help="default 512MB")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("parquet-sink-compact").getOrCreate()
    try:
        lake, output = Storage(spark, options.input), Storage(spark, options.output)
        if output.scheme not in ATOMIC_SCHEMES:  # the cluster's default file system
            print(f"--output {output.full()}: {NOT_ATOMIC}")
            return 2
        if (output.full() + "/").startswith(lake.full() + "/") or not lake.exists():
            print("--output must not be inside --input, and --input must exist")
            return 2
        compactor = Compactor(spark, lake, output, options.target_file_size)
        compactor.recover()
        last = last_date(datetime.datetime.now(datetime.UTC), options.older_than)
        done = compact_all(compactor, list(find_partitions(lake, options.kinds, last)))
        compactor.close()
        return 0 if done else 1
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
