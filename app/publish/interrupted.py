"""The first step of a start: finish or undo a publish that a crash interrupted.

Afterwards the files below `{path}` match the manifest, and rows unknown to the manifest are still in the
journal. It can itself be interrupted at any point; running it again changes nothing.
"""

import logging
from pathlib import Path

import msgspec

from app.disk.durable_fs import DurableFS
from app.publish.destination import Destination, NamesTaken, NotPlaced
from app.publish.intent import Intent, IntentDamaged, encode_intent, read_intent
from app.publish.local_directory import LocalDirectory, is_complete, local_destination
from app.publish.manifest import Manifest, ManifestDamaged, Publication
from app.publish.paths import SinkPaths
from app.publish.reconcile import Known, Reconciled, reconcile
from app.publish.renaming import free_names
from app.publish.staging_directory import Placement

log = logging.getLogger(__name__)


class RecoveryReport(msgspec.Struct, kw_only=True):
    """What recovery found and did.

    completed: files of an interrupted publish that are published now. undone: partitions of it whose rows
    will come from the journal again. staging_removed: leftovers of encoding. set_aside: state files that
    could not be read. files: what the manifest and the files said of each other.
    """

    completed: int = 0
    undone: int = 0
    staging_removed: int = 0
    set_aside: list[Path] = []
    files: Reconciled = msgspec.field(default_factory=Reconciled)


def recover(
    fs: DurableFS,
    paths: SinkPaths,
    destination: Destination | None = None,
    *,
    journals: frozenset[str] = frozenset(),
    node: str | None = None,
    accepts_unnamed: bool = False,
) -> tuple[Manifest, RecoveryReport]:
    """Make the directories, open the manifest, roll an interrupted publish forward, and hold the manifest
    against the files.

    destination: where files go; without one, the local directory of `paths`. journals, node,
    accepts_unnamed: as in `Known`. Raises OSError; SyncFailed. Never for the state of a file.
    """
    destination = destination or local_destination(fs, paths)
    destination.prepare()
    for directory in (paths.state, paths.quarantine):
        fs.make_directory(directory)
    fs.make_directory(paths.staging(fs))
    set_aside: list[Path] = []
    try:
        manifest = Manifest.open(fs, paths.manifest)
    except ManifestDamaged as damaged:
        set_aside.append(_set_aside(fs, paths.manifest, damaged))
        manifest = Manifest.open(fs, paths.manifest)
    is_new = manifest.last_commit == 0 or manifest.is_cut
    recovery = _Recovery(fs, paths, destination, manifest)
    recovery.report.set_aside = set_aside
    known = Known(
        files=(),
        last_commit=0,
        journals=journals,
        node=node,
        is_new=is_new,
        accepts_unnamed=accepts_unnamed,
    )
    try:
        recovery.run(known)
    except BaseException:
        manifest.close()
        raise
    return manifest, recovery.report


def _set_aside(fs: DurableFS, path: Path, damage: Exception) -> Path:
    """Give a damaged state file another name; nothing is ever deleted."""
    number = 1
    while fs.exists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    fs.rename(path, aside)
    fs.sync_directory(path.parent)
    log.error(
        "%s; it is kept as %s, and the published state is read from the files themselves", damage, aside
    )
    return aside


class _Recovery:
    """One recovery, with what it works on."""

    def __init__(self, fs: DurableFS, paths: SinkPaths, destination: Destination, manifest: Manifest) -> None:
        self._fs = fs
        self._paths = paths
        self._destinations = {"data": destination, "quarantine": LocalDirectory(fs, paths.quarantine)}
        self._destination = destination
        self._manifest = manifest
        self.report = RecoveryReport()
        self._found_together = False
        """Whether what an intent brings counts only with what the files say: the manifest has less."""

    def run(self, known: Known) -> None:
        intent = self._intent()
        last_commit = self._manifest.last_commit
        finished = intent is not None and intent.commit.id > last_commit
        # An intent is of the commit after the last one: between those two the manifest has lost some.
        is_older = intent is not None and intent.commit.id > last_commit + 1
        behind = is_older or self._manifest.is_cut or bool(self.report.set_aside)
        behind |= self._lost_its_last_record(finished)
        thorough = behind or (known.is_new and (known.accepts_unnamed or len(known.journals) > 1))
        is_listed = thorough or self._destination.grows_in is not None
        self._found_together = is_listed and (known.is_new or is_older)
        if intent is not None:
            if finished:
                self._finish(intent)
            self._manifest.cut_torn_tail()
            if self._destination.grows_in is not None:
                self._fs.unlink(self._paths.intent)
                self._fs.sync_directory(self._paths.state)
        self._clear_staging()
        self._compare(known, thorough, last_commit if is_older else self._manifest.last_commit)

    def _intent(self) -> Intent | None:
        try:
            return read_intent(self._fs, self._paths)
        except IntentDamaged as damaged:
            self.report.set_aside.append(_set_aside(self._fs, self._paths.intent, damaged))
            return None

    def _lost_its_last_record(self, finished: bool) -> bool:
        """A record is torn only while its intent stands: the intent goes when the record is durable."""
        if not self._manifest.has_torn_tail or finished:
            return False
        log.error(
            "the last record of %s was durable but cannot be read any more; its contents are read from the "
            "files themselves",
            self._paths.manifest,
        )
        self._manifest.cut_torn_tail()
        return True

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
            placed = {placement.staged for placement in chosen if staged[placement] is None}
            try:
                if chosen:
                    destination.place(chosen, lambda placement: _known(staged[placement]), placed)
            except NotPlaced as failed:
                for path, error in failed.errors.items():
                    log.error(
                        "%s cannot be moved into place, its rows will be published again: %s", path, error
                    )
                    lost.add(owners[path])
        for placement in staged:
            if owners[placement.path] in lost:
                scratch = self._paths.staging(self._fs) / f"{placement.staged}.undo"
                self._destinations[placement.root].undo(placement, scratch)
        self.report.undone = len(lost)
        self.report.completed = sum(owners[placement.path] not in lost for placement in staged)
        files = [file for file in intent.commit.files if file.partition not in lost]
        quarantined = [rows for rows in intent.commit.quarantined if rows.partition not in lost]
        removed, carried = intent.commit.removed, intent.commit.carried
        if files or quarantined or removed or carried:
            self._manifest.append(
                Publication(
                    id=intent.commit.id,
                    files=files,
                    quarantined=quarantined,
                    removed=removed,
                    removed_rows=[] if lost else intent.commit.removed_rows,
                    carried=carried,
                    more=self._found_together,
                )
            )

    def _staged(self, placement: Placement) -> Path | None:
        """Where the staged file stands, whole; None when it does not, for example since it was renamed."""
        places = [place / placement.staged for place in self._paths.staging_places]
        return next((path for path in places if is_complete(self._fs, path, placement)), None)

    def _clear_staging(self) -> None:
        for place in self._paths.staging_places:
            if self._fs.exists(place):
                for name in self._fs.list_directory(place):
                    self._fs.unlink(place / name)
                    self.report.staging_removed += 1

    def _compare(self, known: Known, thorough: bool, last_commit: int) -> None:
        """last_commit: files of later ones are not known."""
        files = self._manifest.files()
        known = msgspec.structs.replace(known, files=files, last_commit=last_commit)
        listing = self._destination.listing(thorough)
        if listing is None:
            return
        for path in self._manifest.leaving():  # the writer goes on with deleting them
            listing.files.pop(path, None)
        self.report.files = found = reconcile(known, listing, self._destination.facts)
        for path in found.incomplete:
            self._take_away(path)
        if found.changed or self._manifest.is_cut:
            last = max([self._manifest.last_commit, *(file.commit or 0 for file in found.adopted)])
            if self._destination.grows_in is not None:
                self._manifest.append(Publication(id=last, files=found.changed))
                return
            # As any other commit: were its record lost, nobody would list the files again.
            commit = Publication(id=last + 1, files=found.changed)
            self._fs.write_atomically(self._paths.intent, encode_intent(Intent(commit, [])))
            self._manifest.append(commit)

    def _take_away(self, path: str) -> None:
        """A file of a publish that was not finished: its rows come from the journal again."""
        directory = self._destination.grows_in
        if directory is not None:
            aside = self._paths.quarantine / f"interrupted-{path.replace('/', '-')}"
            # Not suppressed: a file that stays would have its rows twice.
            self._fs.rename(directory / path, aside)
            self._fs.sync_directory((directory / path).parent)


def _known(path: Path | None) -> Path:
    if path is None:
        raise ValueError("a file is to be moved into place, but its location is not known")
    return path
