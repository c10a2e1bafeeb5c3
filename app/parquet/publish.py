"""From staged files to published ones: intent, renames, manifest.

Every step may be repeated: after an OSError `publish` is called again with the same intent, after a crash
`recovery` takes up where this left off.
"""

import contextlib
import zlib
from pathlib import Path
from typing import Final

import msgspec

from app.durable_fs import DurableFS
from app.parquet.manifest import Commit, Manifest
from app.parquet.paths import SinkPaths
from app.parquet.stage import Placement

KNOWN_DIRECTORIES_MAX: Final = 10_000


class Intent(msgspec.Struct, frozen=True):
    """What is about to be published. Durable before the first rename."""

    commit: Commit
    placements: list[Placement]


class IntentDamaged(Exception):
    """The intent cannot be read, so nobody knows which files were being replaced."""


class Publisher:
    """Carries out intents, one at a time."""

    def __init__(self, fs: DurableFS, paths: SinkPaths, manifest: Manifest) -> None:
        self._fs = fs
        self._paths = paths
        self._manifest = manifest
        self._staging = paths.staging(fs)
        self._directories: set[Path] = set()
        self._placed: set[str] = set()

    def publish(self, intent: Intent) -> None:
        """Give all staged files their names, and commit.

        Raises OSError; then what was done so far stays and the call is to be repeated with the same intent.
        Raises SyncFailed when nobody can know what is on the disk.
        """
        self._fs.write_atomically(self._paths.intent, encode_intent(intent))
        directories: set[Path] = set()
        for placement in intent.placements:
            final = final_path(self._paths, placement)
            if placement.staged not in self._placed:
                self._make_directory(final.parent)
                try:
                    self._fs.rename(self._staging / placement.staged, final)
                except FileNotFoundError:
                    self._directories.clear()  # somebody removed the directory: make it again
                    raise
                self._placed.add(placement.staged)
            directories.add(final.parent)
        for directory in sorted(directories):
            self._fs.sync_directory(directory)
        self._manifest.append(intent.commit)
        self._placed.clear()
        with contextlib.suppress(OSError):  # one that stays is recognised as done
            self._fs.unlink(self._paths.intent)

    def _make_directory(self, directory: Path) -> None:
        if directory in self._directories:
            return
        self._fs.make_directory(directory)
        if len(self._directories) >= KNOWN_DIRECTORIES_MAX:
            self._directories.clear()
        self._directories.add(directory)


def final_path(paths: SinkPaths, placement: Placement) -> Path:
    root = paths.data if placement.root == "data" else paths.quarantine
    return root / placement.path


def encode_intent(intent: Intent) -> bytes:
    body = msgspec.json.encode(intent)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_intent(fs: DurableFS, paths: SinkPaths) -> Intent | None:
    """The intent of a publish that did not finish, or None. Raises IntentDamaged."""
    try:
        data = fs.read(paths.intent)
    except FileNotFoundError:
        return None
    crc, _, body = data.rstrip(b"\n").partition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        raise IntentDamaged(f"{paths.intent} is damaged; it was written whole, so the disk has changed it")
    return msgspec.json.decode(body, type=Intent)
