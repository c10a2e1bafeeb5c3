"""Publishes staged files: intent, files moved into place, manifest.

Every step may be repeated: after an OSError `publish` is called again with the same intent, after a crash
`recovery` takes up where this left off.
"""

import contextlib
import zlib
from collections.abc import Sequence

import msgspec

from app.disk.durable_fs import DurableFS
from app.publish.destination import Destination
from app.publish.local_directory import LocalDirectory
from app.publish.manifest import Manifest, Publication
from app.publish.paths import SinkPaths
from app.publish.renaming import NewNames, rename_files, rename_placements
from app.publish.staging_directory import Placement, Staging


class Intent(msgspec.Struct, frozen=True):
    """A record of what is about to be published. Durable before the first file is placed."""

    commit: Publication
    placements: list[Placement]

    def renamed(self, names: NewNames) -> "Intent":
        """The same files under other names."""
        commit = msgspec.structs.replace(self.commit, files=rename_files(self.commit.files, names))
        return Intent(commit, rename_placements(self.placements, names))


class IntentDamaged(Exception):
    """The intent cannot be read, so it is unknown which files were being replaced."""


class IntentLog:
    """Carries out intents, one at a time."""

    def __init__(
        self, fs: DurableFS, paths: SinkPaths, staging: Staging, destination: Destination, manifest: Manifest
    ) -> None:
        self._fs = fs
        self._paths = paths
        self._manifest = manifest
        self._staging = staging
        self._copies = destination.grows_in is None
        self._destinations = {"data": destination, "quarantine": LocalDirectory(fs, paths.quarantine)}
        self._placed: set[str] = set()

    def publish(self, intent: Intent) -> None:
        """Move all staged files into place, and record them in the manifest.

        Raises OSError; then what was done so far stays and the call is to be repeated with the same intent.
        Raises NamesTaken; the same, with an intent that has other names for these files.
        Raises SyncFailed when it is unknown what is on the disk.
        """
        if self._copies:
            self._staging.sync_names()
        self._fs.write_atomically(self._paths.intent, encode_intent(intent))
        for root, destination in self._destinations.items():
            placements = [placement for placement in intent.placements if placement.root == root]
            if placements:
                destination.place(placements, self._staging.path_of, self._placed)
        self._manifest.append(intent.commit)
        self._placed.clear()
        if self._copies:
            # It stays until the next one: a start that lists no files knows by it that its manifest is older.
            self._staging.discard(intent.placements)
            return
        with contextlib.suppress(OSError):  # one that stays is recognised as done
            self._fs.unlink(self._paths.intent)

    def withdraw(self, placements: Sequence[Placement]) -> None:
        """Bring back what was there before these files, which will not be published now. Raises OSError."""
        for placement in placements:
            scratch = self._staging.path_of(placement).with_suffix(".undo")
            self._destinations[placement.root].undo(placement, scratch)
            self._placed.discard(placement.staged)
        self._staging.discard(placements)

    def abandon(self) -> None:
        """Nothing of an intent is left to be published. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(self._paths.intent)
        self._fs.sync_directory(self._paths.state)


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
        raise IntentDamaged(
            f"{paths.intent} is damaged; it was written completely, so the disk has changed it"
        )
    return msgspec.json.decode(body, type=Intent)
