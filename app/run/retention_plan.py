"""Lists the files that retention would remove now: `parquet-sink retention`. Reads the manifest, writes
nothing."""

from collections.abc import Sequence

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FileState
from app.publish.manifest import Manifest
from app.publish.paths import SinkPaths
from app.publish.placings_file import load_placings
from app.publish.retention_rules import RetentionPolicy, expired


class NoManifest(Exception):
    """There is no journal of a service."""


def would_go(fs: DurableFS, paths: SinkPaths, policy: RetentionPolicy, now_ms: int) -> Sequence[DataFile]:
    """The files, oldest first; a running service removes only those of partitions without waiting rows.

    Raises NoManifest; ManifestDamaged; PlacingsDamaged; OSError.
    """
    if not fs.exists(paths.manifest):
        raise NoManifest(f"{paths.state} is not the journal of a service; is journal.path correct?")
    manifest = Manifest.parse(fs.read(paths.manifest), paths.manifest)
    due = expired(manifest.files(), policy, now_ms - load_placings(fs, paths).late_ms)
    return [file for files in due.values() for file in files if file.state is FileState.PUBLISHED]
