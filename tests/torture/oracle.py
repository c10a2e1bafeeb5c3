"""Holds published files against the client's ledger, with pyarrow alone and none of the service's code."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture.ledger import MARK, Batch, Outcome

KINDS = ("events", "logs", "snapshots")


def rows_in_files(data: Path) -> Counter[tuple[str, int, int]]:
    """How often each (kind, workspace, row number) stands in the files. Raises what pyarrow raises."""
    found: Counter[tuple[str, int, int]] = Counter()
    for path in sorted(data.rglob("*.parquet")):
        found.update(rows_in_file(path.relative_to(data), path))
    return found


def rows_in_file(path: Path, source: Path | pa.NativeFile) -> Iterator[tuple[str, int, int]]:
    """(kind, workspace, row number) of each row of one file; path: below the data directory."""
    file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    table = file.read(columns=["workspace_id", "payload"], use_threads=False)  # they cost more than they save
    kind = path.name.removesuffix(".parquet").partition("-")[0]
    workspaces, payloads = table["workspace_id"].to_pylist(), table["payload"].to_pylist()
    for workspace, payload in zip(workspaces, payloads, strict=True):
        if workspace != int(path.parts[0].removeprefix("workspace=")):
            raise AssertionError(f"{path}: a row of workspace {workspace}")
        yield kind, workspace, json.loads(payload)[MARK]


def violations(batches: Sequence[Batch], data: Path) -> list[str]:
    """What is wrong, in words; nothing when every promise was kept."""
    return compare(batches, rows_in_files(data))


def compare(batches: Sequence[Batch], found: Counter[tuple[str, int, int]]) -> list[str]:
    """The same for what `rows_in_files` has found; `found` is used up."""
    wrong = []
    for batch in batches:
        counts = [found.pop((batch.kind, batch.workspace, number), 0) for number in batch.numbers]
        present = sum(count > 0 for count in counts)
        named = f"{batch.kind} batch {batch.first}+{batch.rows} of workspace {batch.workspace}"
        if max(counts) > 1:
            wrong.append(f"{named}: a row stands {max(counts)} times ({batch.outcome})")
        if batch.outcome is Outcome.ACCEPTED and present < batch.rows:
            wrong.append(f"{named}: acknowledged, and {batch.rows - present} rows are missing")
        elif batch.outcome is Outcome.REFUSED and present:
            wrong.append(f"{named}: refused with {batch.status}, and {present} rows are there")
        elif batch.outcome is Outcome.UNKNOWN and 0 < present < batch.rows:
            wrong.append(f"{named}: without an answer, and {present} of its rows are there")
    wrong += [f"a row nobody sent: {row}" for row in found]
    return wrong


def usage_violations(usage: Sequence[tuple[int, ...]], data: Path) -> list[str]:
    """usage: workspace and rows of events, logs and snapshots, a line a day. Held against the files."""
    told: Counter[tuple[str, int]] = Counter()
    for workspace, *rows in usage:
        told.update({(kind, workspace): count for kind, count in zip(KINDS, rows, strict=True) if count})
    found: Counter[tuple[str, int]] = Counter()
    for (kind, workspace, _), count in rows_in_files(data).items():
        found[kind, workspace] += count
    return [
        f"usage says {told[key]} {key[0]} of workspace {key[1]}, and the files hold {found[key]}"
        for key in sorted({*told, *found})
        if told[key] != found[key]
    ]


def fingerprints(data: Path) -> dict[str, str]:
    """A digest of each file's bytes."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }
