"""Discards damaged data that a start refuses to ignore, on an operator's explicit order: `parquet-sink
repair`."""

from pathlib import Path

import msgspec

from app.disk.data_directory_lock import lock_data_directory
from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage
from app.journal.losses import LOSSES_NAME
from app.journal.repair import repair
from app.object_store.store import ObjectStore
from app.publish.bucket import Bucket
from app.publish.interrupted import RecoveryReport, recover
from app.publish.ownership import read_identity
from app.publish.paths import SinkPaths


class NothingThere(Exception):
    """There is no data directory at this path."""


class Repair(msgspec.Struct, frozen=True):
    """damages: what was discarded, empty if the journal was intact. losses: the file that records it.
    report: the result of comparing manifest and files."""

    damages: list[Damage]
    losses: Path
    report: RecoveryReport


def repair_data_directory(
    fs: DurableFS,
    paths: SinkPaths,
    store: ObjectStore | None = None,
    *,
    syncs: bool,
    node: str | None = None,
) -> Repair:
    """Finish an interrupted publish as a start does, then record every damage of the journal as lost.

    store: where files go, if not to a directory. syncs: as for `app.journal.recovery.recover`: whether the
    journal must reach what the manifest knows.
    Raises NothingThere; DataDirectoryInUse; JournalDamaged if the disk keeps failing; OSError;
    SyncFailed.
    """
    if not fs.exists(paths.state):
        raise NothingThere(f"{paths.state} does not exist; is journal.path correct?")
    lock = lock_data_directory(fs, paths.state)
    try:
        identity = read_identity(fs, paths)
        manifest, report = recover(
            fs,
            paths,
            Bucket(fs, store) if store else None,
            journals=identity.journals if identity is not None else frozenset(),
            node=node,
            accepts_unnamed=fs.exists(paths.segments),
        )
        manifest.close()
        damages = repair(fs, paths.segments, manifest.last_lsn if syncs else 0)
        return Repair(damages, paths.segments / LOSSES_NAME, report)
    finally:
        lock.release()
