"""Before anything else at a start: finish or undo the publish that a crash interrupted.

Afterwards the files below `{path}` are what the manifest says, and whatever the manifest does not know of is
still in the journal. Can itself be interrupted anywhere; run twice, the second changes nothing.
"""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from app.durable_fs import DurableFS
from app.parquet.manifest import Commit, Manifest, ManifestDamaged
from app.parquet.partition import Partition
from app.parquet.paths import STAGING_BESIDE_DATA, SinkPaths
from app.parquet.publish import Intent, final_path, read_intent
from app.parquet.staging import Placement

READ_CHUNK_BYTES = 8 << 20


class FilesDiffer(Exception):
    """Published files are missing or were changed by something else."""


class RecoveryReport(msgspec.Struct, kw_only=True):
    """What recovery found and did.

    completed: files of an interrupted publish that are published now. undone: partitions of it whose rows
    will come from the journal again. staging_removed: leftovers of encoding.
    unknown_files: paths below `{path}` that no commit knows; they were left alone.
    removed_files: sealed files that are not there any more: operators remove old days.
    """

    completed: int = 0
    undone: int = 0
    staging_removed: int = 0
    unknown_files: list[str] = []
    removed_files: list[str] = []


def recover(fs: DurableFS, paths: SinkPaths) -> tuple[Manifest, RecoveryReport]:
    """Make the directories, open the manifest, roll an interrupted publish forward.

    Raises FilesDiffer, naming the files, when what the manifest says is not there; ManifestDamaged;
    IntentDamaged; OSError; SyncFailed.
    """
    for directory in (paths.data, paths.state, paths.quarantine):
        fs.make_directory(directory)
    fs.make_directory(paths.staging(fs))
    manifest = Manifest.open(fs, paths.manifest)
    report = RecoveryReport()
    try:
        intent = read_intent(fs, paths)
        _refuse_lost_record(manifest, intent, paths)
        if intent is not None:
            if intent.commit.id > manifest.last_commit:
                _roll_forward(fs, paths, manifest, intent, report)
            manifest.cut_torn_tail()
            fs.unlink(paths.intent)
            fs.sync_directory(paths.state)
        _clear_staging(fs, paths, report)
        _compare(fs, paths, manifest, report)
    except BaseException:
        manifest.close()
        raise
    return manifest, report


def _refuse_lost_record(manifest: Manifest, intent: Intent | None, paths: SinkPaths) -> None:
    """A record is torn only while its intent stands: the intent goes when the record is durable."""
    if manifest.has_torn_tail and (intent is None or intent.commit.id <= manifest.last_commit):
        raise ManifestDamaged(
            f"the last record of {paths.manifest} was durable and is not readable any more; restore the file "
            "from a backup"
        )


def _roll_forward(
    fs: DurableFS, paths: SinkPaths, manifest: Manifest, intent: Intent, report: RecoveryReport
) -> None:
    """Complete each partition whose files are all there, and undo the others as a whole."""
    owners = {file.path: file.partition for file in intent.commit.files}
    owners |= {rows.path: rows.partition for rows in intent.commit.quarantined}
    by_partition: dict[Partition, list[Placement]] = {}
    for placement in intent.placements:
        by_partition.setdefault(owners[placement.path], []).append(placement)
    done = {partition for partition in owners.values() if partition not in by_partition}
    for partition, placements in by_partition.items():
        if all(_placed(fs, paths, p) or _staged(fs, paths, p) is not None for p in placements):
            for placement in placements:
                _place(fs, paths, placement)
            done.add(partition)
            report.completed += len(placements)
        else:
            for placement in placements:
                _undo(fs, paths, placement)
            report.undone += 1
    files = [file for file in intent.commit.files if file.partition in done]
    quarantined = [rows for rows in intent.commit.quarantined if rows.partition in done]
    if done:
        manifest.append(Commit(id=intent.commit.id, files=files, quarantined=quarantined))


def _placed(fs: DurableFS, paths: SinkPaths, placement: Placement) -> bool:
    return _is_complete(fs, final_path(paths, placement), placement)


def _staged(fs: DurableFS, paths: SinkPaths, placement: Placement) -> Path | None:
    for place in paths.staging_places:
        if _is_complete(fs, place / placement.staged, placement):
            return place / placement.staged
    return None


def _place(fs: DurableFS, paths: SinkPaths, placement: Placement) -> None:
    final = final_path(paths, placement)
    if not _placed(fs, paths, placement):
        staged = _staged(fs, paths, placement)
        if staged is None:
            raise FilesDiffer(f"{placement.path} vanished while it was being recovered")
        fs.make_directory(final.parent)
        fs.rename(staged, final)
    fs.sync_directory(final.parent)


def _undo(fs: DurableFS, paths: SinkPaths, placement: Placement) -> None:
    """Bring back the old version, which is the beginning of the new."""
    final = final_path(paths, placement)
    if not _placed(fs, paths, placement):
        return
    if placement.kept_bytes:
        old = paths.staging(fs) / f"{placement.staged}.undo"
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(old)
        fs.clone(final, old, placement.kept_bytes)
        fs.sync_file(old)
        fs.rename(old, final)
    else:
        fs.unlink(final)
    fs.sync_directory(final.parent)


def _is_complete(fs: DurableFS, path: Path, placement: Placement) -> bool:
    """Whether this is the file that was staged; its old bytes were there before and are not read."""
    try:
        if fs.stat(path).size != placement.bytes:
            return False
        crc = 0
        for offset in range(placement.kept_bytes, placement.bytes, READ_CHUNK_BYTES):
            length = min(READ_CHUNK_BYTES, placement.bytes - offset)
            crc = zlib.crc32(fs.read(path, offset, length), crc)
    except FileNotFoundError:
        return False
    return crc == placement.crc


def _clear_staging(fs: DurableFS, paths: SinkPaths, report: RecoveryReport) -> None:
    for place in paths.staging_places:
        if fs.exists(place):
            for name in fs.list_directory(place):
                fs.unlink(place / name)
                report.staging_removed += 1


def _compare(fs: DurableFS, paths: SinkPaths, manifest: Manifest, report: RecoveryReport) -> None:
    found = dict(_walk(fs, paths.data))
    wrong = []
    for file in manifest.files():
        size = found.pop(file.path, None)
        if size is None and file.sealed:
            report.removed_files.append(file.path)
        elif size is None:
            wrong.append(f"{file.path} is missing ({file.rows} rows, {file.bytes} bytes)")
        elif size != file.bytes:
            wrong.append(f"{file.path} has {size} bytes instead of {file.bytes}")
    report.unknown_files = sorted(found)
    if wrong:
        shown = "; ".join(wrong[:10]) + ("" if len(wrong) <= 10 else f"; and {len(wrong) - 10} more")
        raise FilesDiffer(
            f"published files below {paths.data} are not as they were written: {shown}. "
            "Put them back from a backup, then start again."
        )


def _walk(fs: DurableFS, root: Path) -> Iterator[tuple[str, int]]:
    """(posix path below root, bytes) of every file; the staging directory is not entered."""
    pending = [""]
    while pending:
        directory = pending.pop()
        for name in fs.list_directory(root / directory):
            if not directory and name == STAGING_BESIDE_DATA:
                continue
            path = f"{directory}/{name}" if directory else name
            stat = fs.stat(root / path)
            if stat.is_directory:
                pending.append(path)
            else:
                yield path, stat.size
