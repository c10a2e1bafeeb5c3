"""Compares the manifest with the existing files. Pure: sizes and facts in, records out.

A manifest can be missing, or older than the files (restored from a backup): then the files are authoritative,
since each records which commit wrote it. A file can be missing, or changed since it was published: then its
rows are recorded as lost, the file is left as it is, and its partition continues in the next number.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from app.parquet.data_file import DataFile, FileState
from app.parquet.encode import rfc3339
from app.parquet.facts import FileFacts
from app.parquet.location import Location, parse
from app.parquet.partition import Partition
from app.publish.lost_rows import record_of_changed, record_of_gone


class FoundFile(msgspec.Struct, frozen=True):
    """bytes: its length. modified_ms: ms since the epoch."""

    bytes: int
    modified_ms: int


class Listing(msgspec.Struct):
    """files: by path. unreadable: directories that could not be looked into, with a slash at their end."""

    files: dict[str, FoundFile] = {}
    unreadable: list[str] = []

    def hides(self, path: str) -> bool:
        """Whether it is not known that a file is there or not."""
        return any(path.startswith(directory) for directory in self.unreadable)


class Reconciled(msgspec.Struct):
    """adopted: files that the manifest did not know, or not in this version. removed: sealed files that are
    not there any more: operators remove old days. broken: files of which rows are lost. incomplete: paths of
    files of an interrupted publish, whose rows are in the journal. unknown: paths that do not belong to the
    service.
    """

    adopted: list[DataFile] = []
    removed: list[DataFile] = []
    broken: list[DataFile] = []
    incomplete: list[str] = []
    unknown: list[str] = []

    @property
    def changed(self) -> list[DataFile]:
        return [*self.adopted, *self.removed, *self.broken]


class Known(msgspec.Struct, frozen=True):
    """What this start knows by itself. journals: identities whose files are its own. node: in their names.

    is_new: the manifest says nothing, so the files say what was published. accepts_unnamed: also those that
    do not say which journal they are of, as those of earlier versions.
    """

    files: Sequence[DataFile]
    last_commit: int
    journals: frozenset[str]
    node: str | None
    is_new: bool = False
    accepts_unnamed: bool = False


def reconcile(known: Known, listing: Listing, facts: Callable[[str], FileFacts | None]) -> Reconciled:
    """listing: what is below the data path. facts: what a file says of itself; read only where it matters."""
    result = Reconciled()
    rest = dict(listing.files)
    newer: dict[Partition, list[tuple[Location, str, FileFacts]]] = {}
    for file in known.files:
        there = rest.pop(file.path, None)
        if there is None and not listing.hides(file.path):
            _note_missing(file, result)
        elif there is None:
            continue
        elif there.bytes != file.bytes and file.state is FileState.PUBLISHED:
            said, location = facts(file.path), parse(file.path)
            if said is not None and location is not None and _is_newer(said, known):
                newer.setdefault(file.partition, []).append((location, file.path, said))
            else:
                result.broken.append(record_of_changed(file, there.bytes, said))
    for path in sorted(rest):
        location = parse(path)
        said = facts(path) if location is not None and location.node == known.node else None
        if location is None or said is None or not _is_newer(said, known):
            result.unknown.append(path)
        else:
            newer.setdefault(location.partition, []).append((location, path, said))
    old = {file.path: file for file in known.files}
    for files in newer.values():
        _adopt(sorted(files, key=lambda each: each[0].number), old, listing.files, result)
    return result


def _is_newer(said: FileFacts, known: Known) -> bool:
    if said.journal:
        return said.journal in known.journals and (known.is_new or said.commit > known.last_commit)
    return known.is_new and known.accepts_unnamed


def _note_missing(file: DataFile, result: Reconciled) -> None:
    if file.state is FileState.REMOVED:
        return
    if file.sealed:
        result.removed.append(msgspec.structs.replace(file, state=FileState.REMOVED))
        return
    result.broken.append(record_of_gone(file))


def _adopt(
    files: Sequence[tuple[Location, str, FileFacts]],
    old: Mapping[str, DataFile],
    found: Mapping[str, FoundFile],
    result: Reconciled,
) -> None:
    """Files of one partition, by number. One that begins within a commit needs the file before it."""
    commits = {location.number: said.rows_commit for location, _, said in files}
    for place, (location, path, said) in enumerate(files):
        # Rows of a compacted file were published completely before that.
        begins_within = said.flush_offset and said.final is None
        if begins_within and commits.get(location.number - 1) != said.rows_commit:
            result.incomplete.append(path)
            continue
        before = old.get(path)
        modified_at = rfc3339(found[path].modified_ms)
        result.adopted.append(
            DataFile(
                path=path,
                workspace_id=location.partition.workspace_id,
                date=location.partition.date,
                hour=location.partition.hour,
                kind=location.partition.kind,
                number=location.number,
                rows=said.rows,
                bytes=found[path].bytes,
                min_timestamp=said.min_timestamp,
                max_timestamp=said.max_timestamp,
                compression=said.codec,
                created_at=before.created_at if before else modified_at,
                updated_at=modified_at,
                sealed=place < len(files) - 1 or said.final is not None,
                first_lsn=said.first_lsn,
                last_lsn=said.last_lsn,
                commit=said.commit,
                row_groups=said.row_groups,
                recovered=said.recovered,
                final=said.final,
            )
        )
