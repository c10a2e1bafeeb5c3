"""From staged files to published ones: intent, renames, manifest.

Every step may be repeated: after an OSError `publish` is called again with the same intent, after a crash
`recovery` takes up where this left off.
"""

import contextlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from app.durable_fs import DurableFS
from app.parquet.manifest import Commit, Manifest
from app.parquet.paths import SinkPaths
from app.parquet.staging import Placement, Staging

KNOWN_DIRECTORIES_MAX: Final = 10_000

REPLACED_FILES_MAX: Final = 256
"""Descriptors of replaced files that are freed together."""


class Intent(msgspec.Struct, frozen=True):
    """What is about to be published. Durable before the first rename."""

    commit: Commit
    placements: list[Placement]


class IntentDamaged(Exception):
    """The intent cannot be read, so nobody knows which files were being replaced."""


class Publisher:
    """Carries out intents, one at a time."""

    def __init__(self, fs: DurableFS, paths: SinkPaths, staging: Staging, manifest: Manifest) -> None:
        self._fs = fs
        self._paths = paths
        self._manifest = manifest
        self._staging = staging
        self._directories: set[Path] = set()
        self._placed: set[str] = set()

    def publish(self, intent: Intent) -> None:
        """Give all staged files their names, and commit.

        Raises OSError; then what was done so far stays and the call is to be repeated with the same intent.
        Raises SyncFailed when nobody can know what is on the disk.
        """
        self._fs.write_atomically(self._paths.intent, encode_intent(intent))
        finals = {placement: final_path(self._paths, placement) for placement in intent.placements}
        directories = list(dict.fromkeys(final.parent for final in finals.values()))
        self._make_directories(directories)
        waiting = {each: final for each, final in finals.items() if each.staged not in self._placed}
        replaced = [final for each, final in waiting.items() if each.kept_bytes]
        with self._fs.kept_alive(replaced[:REPLACED_FILES_MAX]):
            for placement, final in waiting.items():
                self._place(placement, final)
        self._fs.sync_directories(directories)
        self._manifest.append(intent.commit)
        self._placed.clear()
        with contextlib.suppress(OSError):  # one that stays is recognised as done
            self._fs.unlink(self._paths.intent)

    def _make_directories(self, directories: Iterable[Path]) -> None:
        new = [directory for directory in directories if directory not in self._directories]
        self._fs.make_directories(new)
        if len(self._directories) >= KNOWN_DIRECTORIES_MAX:
            self._directories.clear()
        self._directories.update(new)

    def _place(self, placement: Placement, final: Path) -> None:
        try:
            self._fs.rename(self._staging.path_of(placement), final)
        except FileNotFoundError:
            self._directories.clear()  # somebody removed the directory: make it again
            raise
        self._placed.add(placement.staged)


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
