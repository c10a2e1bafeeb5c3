"""Holds published files against the client's ledger, with pyarrow alone and none of the service's code."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from tests.torture.ledger import MARK, Batch, Outcome


def rows_in_files(data: Path) -> Counter[tuple[str, int, int]]:
    """How often each (kind, workspace, row number) stands in the files. Raises what pyarrow raises."""
    found: Counter[tuple[str, int, int]] = Counter()
    for path in sorted(data.rglob("*.parquet")):
        table = pq.ParquetFile(path).read(columns=["workspace_id", "payload"])
        kind = path.name.removesuffix(".parquet").partition("-")[0]
        folder = int(path.relative_to(data).parts[0])
        for workspace, payload in zip(
            table["workspace_id"].to_pylist(), table["payload"].to_pylist(), strict=True
        ):
            if workspace != folder:
                raise AssertionError(f"{path}: a row of workspace {workspace}")
            found[kind, workspace, json.loads(payload)[MARK]] += 1
    return found


def violations(batches: Sequence[Batch], data: Path) -> list[str]:
    """What is wrong, in words; nothing when every promise was kept."""
    found = rows_in_files(data)
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


def fingerprints(data: Path) -> dict[str, str]:
    """A digest of each file's bytes."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }
