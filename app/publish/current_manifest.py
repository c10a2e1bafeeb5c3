"""The manifest of a running or stopped service, for readers."""

import contextlib
from pathlib import Path

from app.disk.durable_fs import DurableFS
from app.publish.intent import IntentDamaged, read_intent
from app.publish.manifest import Manifest, Publication
from app.publish.paths import SinkPaths


def current_manifest(fs: DurableFS, paths: SinkPaths) -> Manifest:
    """As it is now, with what a killed service had given its place but not noted.

    Raises ManifestDamaged; OSError.
    """
    manifest = Manifest.parse(fs.read(paths.manifest), paths.manifest)
    with contextlib.suppress(IntentDamaged):
        intent = read_intent(fs, paths)
        if intent is not None and intent.commit.id > manifest.last_commit and paths.data is not None:
            root = paths.data
            missing = {
                file.partition for file in intent.commit.files if _size(root / file.path) != file.bytes
            }
            placed = [file for file in intent.commit.files if file.partition not in missing]
            manifest.apply(Publication(id=intent.commit.id, files=placed))
    return manifest


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
