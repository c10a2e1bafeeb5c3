"""Before anything else at a start: finish or undo the publish that a crash interrupted.

Afterwards the files below `{path}` are what the manifest says, and whatever the manifest does not know of is
still in the journal. Can itself be interrupted anywhere; run twice, the second changes nothing.
"""

from pathlib import Path

import msgspec

from app.disk.durable_fs import DurableFS
from app.publish.destination import Destination, NamesTaken
from app.publish.intent import Intent, encode_intent, read_intent
from app.publish.local_directory import LocalDirectory, is_complete, local_destination
from app.publish.manifest import Commit, Manifest, ManifestDamaged
from app.publish.paths import SinkPaths
from app.publish.renaming import free_names
from app.publish.staging_directory import Placement


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


def recover(
    fs: DurableFS, paths: SinkPaths, destination: Destination | None = None
) -> tuple[Manifest, RecoveryReport]:
    """Make the directories, open the manifest, roll an interrupted publish forward.

    destination: where files go; without one, the local directory of `paths`.
    Raises FilesDiffer, naming the files, when what the manifest says is not there; ManifestDamaged;
    IntentDamaged; OSError; SyncFailed.
    """
    destination = destination or local_destination(fs, paths)
    destination.prepare()
    for directory in (paths.state, paths.quarantine):
        fs.make_directory(directory)
    fs.make_directory(paths.staging(fs))
    manifest = Manifest.open(fs, paths.manifest)
    try:
        report = _Recovery(fs, paths, destination, manifest).run()
    except BaseException:
        manifest.close()
        raise
    return manifest, report


class _Recovery:
    """One recovery, with what it works on."""

    def __init__(self, fs: DurableFS, paths: SinkPaths, destination: Destination, manifest: Manifest) -> None:
        self._fs = fs
        self._paths = paths
        self._destinations = {"data": destination, "quarantine": LocalDirectory(fs, paths.quarantine)}
        self._destination = destination
        self._manifest = manifest
        self._report = RecoveryReport()

    def run(self) -> RecoveryReport:
        intent = read_intent(self._fs, self._paths)
        self._refuse_lost_record(intent)
        if intent is not None:
            if intent.commit.id > self._manifest.last_commit:
                self._finish(intent)
            self._manifest.cut_torn_tail()
            self._fs.unlink(self._paths.intent)
            self._fs.sync_directory(self._paths.state)
        self._clear_staging()
        self._compare()
        return self._report

    def _refuse_lost_record(self, intent: Intent | None) -> None:
        """A record is torn only while its intent stands: the intent goes when the record is durable."""
        done = intent is None or intent.commit.id <= self._manifest.last_commit
        if self._manifest.has_torn_tail and done:
            raise ManifestDamaged(
                f"the last record of {self._paths.manifest} was durable and is not readable any more; "
                "restore the file from a backup"
            )

    def _finish(self, intent: Intent) -> None:
        while True:
            try:
                self._roll_forward(intent)
                return
            except NamesTaken as taken:
                intent = intent.renamed(free_names(self._destination, intent.commit.files, taken.paths))
                self._fs.write_atomically(self._paths.intent, encode_intent(intent))

    def _roll_forward(self, intent: Intent) -> None:
        """Complete each partition whose files are all there, and undo the others as a whole."""
        owners = {file.path: file.partition for file in intent.commit.files}
        owners |= {rows.path: rows.partition for rows in intent.commit.quarantined}
        staged = {placement: self._staged(placement) for placement in intent.placements}
        lost = {
            owners[placement.path]
            for placement, path in staged.items()
            if path is None and not self._destinations[placement.root].holds(placement)
        }
        for root, destination in self._destinations.items():
            chosen = [p for p in staged if p.root == root and owners[p.path] not in lost]
            if chosen:
                placed = {placement.staged for placement in chosen if staged[placement] is None}
                destination.place(chosen, lambda placement: _known(staged[placement]), placed)
        for placement in staged:
            if owners[placement.path] in lost:
                scratch = self._paths.staging(self._fs) / f"{placement.staged}.undo"
                self._destinations[placement.root].undo(placement, scratch)
        self._report.undone = len(lost)
        self._report.completed = sum(owners[placement.path] not in lost for placement in staged)
        files = [file for file in intent.commit.files if file.partition not in lost]
        quarantined = [rows for rows in intent.commit.quarantined if rows.partition not in lost]
        if files or quarantined:
            self._manifest.append(Commit(id=intent.commit.id, files=files, quarantined=quarantined))

    def _staged(self, placement: Placement) -> Path | None:
        """Where the staged file stands, whole; None when it does not, for example since it was renamed."""
        places = [place / placement.staged for place in self._paths.staging_places]
        return next((path for path in places if is_complete(self._fs, path, placement)), None)

    def _clear_staging(self) -> None:
        for place in self._paths.staging_places:
            if self._fs.exists(place):
                for name in self._fs.list_directory(place):
                    self._fs.unlink(place / name)
                    self._report.staging_removed += 1

    def _compare(self) -> None:
        differences = self._destination.differences(self._manifest.files())
        self._report.removed_files = differences.gone
        self._report.unknown_files = differences.unknown
        if wrong := differences.wrong:
            shown = "; ".join(wrong[:10]) + ("" if len(wrong) <= 10 else f"; and {len(wrong) - 10} more")
            raise FilesDiffer(
                f"published files below {self._paths.data} are not as they were written: {shown}. "
                "Put them back from a backup, then start again."
            )


def _known(path: Path | None) -> Path:
    if path is None:
        raise ValueError("a file is to be placed of which it is not known where it stands")
    return path
