"""Whether a service whose files were harmed has kept what the fault matrix of docs/durability.md promises.

Every acknowledged row stands in the files exactly once. Only rows of a file that the campaign destroyed may
be missing, only where the journal had them no more, and only if the service says so: in `lost_files` with
their number, or, of a sealed file that was removed, by its state in /files. A file that was not destroyed
loses nothing, and what is left of one that was stays as it is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from tests.torture.harm import Harm
from tests.torture.ledger import Batch, Outcome
from tests.torture.oracle import rows_in_file
from tests.torture.state_on_disk import files_in_manifest, marks_in_journal

UNREADABLE: Final = (OSError, pa.ArrowException, KeyError, ValueError)
"""What reading a damaged file raises: also for a column that has another name, or text that is none."""

Row = tuple[str, int, int]
"""Kind, workspace and number."""

Found = Mapping[str, Counter[Row]]
"""How often each row stands in each file that can be read, by path."""


class Told(msgspec.Struct, frozen=True):
    """What the service says. files: /files by path. lost, account: `lost_files` and `rows` of /status.

    metric: the rows that /metrics says are lost.
    """

    files: dict[str, dict[str, Any]]
    lost: dict[str, int]
    account: list[dict[str, Any]]
    metric: int


def read_rows(data: Path, destroyed: Mapping[str, Harm]) -> tuple[Found, list[str]]:
    """The rows, and which files cannot be read though they were not destroyed, or are not what was left."""
    found: dict[str, Counter[Row]] = {}
    wrong = []
    for path in sorted(data.rglob("*.parquet")):
        name = str(path.relative_to(data))
        try:
            found[name] = Counter(rows_in_file(Path(name), path))
        except UNREADABLE as error:
            if name not in destroyed:
                wrong.append(f"{name} cannot be read: {error}")
            elif path.read_bytes() != destroyed[name].left:
                wrong.append(f"{destroyed[name]} is not what was left of it")
    return found, wrong


def note_what_must_return(harms: Sequence[Harm], journal: Path, found: Found) -> None:
    """Before a start, while nothing runs: which rows it must publish again.

    Of a sealed file that was removed, none: operators remove old days. Nor those of a flush that has filled a
    file and begun the next one, while the other of the two is there: they record the same frames.
    """
    in_manifest = files_in_manifest(journal)
    intent = journal / "publish-intent"
    begun = intent.read_bytes() if intent.exists() else b""
    waiting = []
    for harm in harms:
        harm.starts += 1
        listed = in_manifest.get(harm.path)
        removed = harm.left is None and listed is not None and listed["sealed"] and "state" not in listed
        if harm.taken and not removed and harm.path.encode() not in begun:
            waiting.append(harm)
    if not waiting:
        return
    there = {mark for rows in found.values() for _, _, mark in rows}
    for lsn, marks in marks_in_journal(journal).items():
        for harm in waiting:
            if not any(_is_of_neighbour(lsn, harm.path, file) for file in in_manifest.values()):
                harm.must_return |= marks & harm.taken - there


def _is_of_neighbour(lsn: int, path: str, file: dict[str, Any]) -> bool:
    """Whether the file before or behind this one may have rows of that frame."""
    if partition(path) != partition(file["path"]) or abs(number(path) - file["number"]) != 1:
        return False
    return bool(file["first_lsn"] <= lsn <= file["last_lsn"])


def partition(path: str) -> tuple[str, str]:
    directory, _, name = path.rpartition("/")
    return directory, name.removesuffix(".parquet").partition("-")[0]


def number(path: str) -> int:
    return int(path.removesuffix(".parquet").rpartition("/")[2].partition("-")[2] or 0)


def judge(
    batches: Sequence[Batch], found: Found, harms: Sequence[Harm], forgiven: set[int], told: Told
) -> list[str]:
    """harms: those of which the service may still have to speak. forgiven: rows that it said are lost."""
    rows: Counter[Row] = Counter()
    for of_file in found.values():
        rows.update(of_file)
    there = {mark for _, _, mark in rows}
    wrong = _counts(batches, rows, forgiven.union(*(harm.taken for harm in harms)))
    for harm in harms:
        gone = harm.taken - there
        if gone & harm.must_return:
            wrong.append(
                f"{harm}: {len(gone & harm.must_return)} of its rows were in the journal, and are in no file"
            )
        said = _said(harm, len(gone), told)
        if said != len(gone):
            wrong.append(f"{harm}: {len(gone)} of its rows are gone, and {said} are said to be")
    if told.metric != sum(told.lost.values()):
        wrong.append(f"{told.metric} rows are lost by the metric, and {told.lost} by the status")
    wrong += [
        f"the account does not add up: {line}"
        for line in told.account
        if line["accepted"] != line["published"] + line["buffered"] + line["quarantined"] + line["removed"]
    ]
    return wrong


def listed_wrongly(whole: Found, told: Told) -> list[str]:
    """whole: files that were not destroyed. Each is listed with its rows, and of none are rows said to be
    lost."""
    wrong = [f"{path} was not destroyed, and is said to be" for path in whole.keys() & told.lost.keys()]
    for path, rows in whole.items():
        listed = told.files.get(path)
        if listed is None or listed["rows"] != rows.total():
            wrong.append(f"{path} has {rows.total()} rows, and /files says {listed}")
    return wrong


def _said(harm: Harm, gone: int, told: Told) -> int:
    """How many rows are said to be lost with this file."""
    if harm.path in told.lost:
        return told.lost[harm.path]
    state = told.files.get(harm.path, {}).get("state", "published")
    if state == "removed" and (not harm.was_growing or not harm.starts):
        return int(told.files[harm.path]["rows"])
    if state == "changed" and not harm.starts:
        return gone  # noticed; how much of it is lost is found out by the next start
    return 0


def _counts(batches: Sequence[Batch], rows: Counter[Row], excused: set[int]) -> list[str]:
    """What stands twice, or was sent by nobody, or is missing though no file that had it was destroyed."""
    rest = Counter(rows)
    wrong = []
    for batch in batches:
        counts = {number: rest.pop((batch.kind, batch.workspace, number), 0) for number in batch.numbers}
        there = {number for number, count in counts.items() if count}
        missing = counts.keys() - there - excused
        named = f"{batch.kind} batch {batch.first}+{batch.rows} of workspace {batch.workspace}"
        if max(counts.values()) > 1:
            wrong.append(f"{named}: a row stands {max(counts.values())} times ({batch.outcome})")
        if batch.outcome is Outcome.ACCEPTED and missing:
            wrong.append(f"{named}: acknowledged, and {len(missing)} rows are missing")
        elif batch.outcome is Outcome.REFUSED and there:
            wrong.append(f"{named}: refused with {batch.status}, and {len(there)} rows are there")
        elif batch.outcome is Outcome.UNKNOWN and missing and there:
            wrong.append(f"{named}: without an answer, and {len(there)} of its rows are there")
    return wrong + [f"a row nobody sent: {row}" for row in rest]
