"""Each protection of publishing, taken away in turn: a campaign must find out, else nothing guards it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.disk.durable_file import Buffer
from app.parquet.draft import Draft
from app.parquet.row_group import RowGroup
from app.publish import interrupted, local_directory, reconcile
from app.publish.manifest import Manifest
from app.publish.writer import Writer
from tests.parquet.crash_campaign import Result, any_fault, power_loss
from tests.support.simulated_disk import SimulatedFS, SimulatedHandle

# Two thirds of a minute, and the mutants cover the same protections from the source.
pytestmark = pytest.mark.heavy

SEED = 20260103
Patch = pytest.MonkeyPatch


def no_sync_of_staged_files(patch: Patch) -> None:
    kept = SimulatedHandle.sync
    patch.setattr(SimulatedHandle, "sync", lambda self: None if self.path.suffix == ".staged" else kept(self))


def no_sync_of_the_intent(patch: Patch) -> None:
    kept = SimulatedHandle.sync
    patch.setattr(SimulatedHandle, "sync", lambda self: None if self.path.suffix == ".tmp" else kept(self))


def no_sync_of_the_manifest(patch: Patch) -> None:
    patch.setattr(SimulatedHandle, "datasync", lambda self: None)


def no_sync_of_data_directories(patch: Patch) -> None:
    kept = SimulatedFS.sync_directory

    def sync(self: SimulatedFS, path: Path) -> None:
        if "data" not in path.parts:
            kept(self, path)

    patch.setattr(SimulatedFS, "sync_directory", sync)


def no_sync_of_the_state_directory(patch: Patch) -> None:
    kept = SimulatedFS.sync_directory

    def sync(self: SimulatedFS, path: Path) -> None:
        if path.name != "state":
            kept(self, path)

    patch.setattr(SimulatedFS, "sync_directory", sync)


def no_intent(patch: Patch) -> None:
    kept = SimulatedFS.write_atomically

    def write(self: SimulatedFS, path: Path, data: Buffer) -> None:
        if path.name != "publish-intent":
            kept(self, path, data)

    patch.setattr(SimulatedFS, "write_atomically", write)


def no_sync_of_the_manifest_and_no_word_of_files(patch: Patch) -> None:
    no_sync_of_the_manifest(patch)
    no_word_of_files(patch)


def no_word_of_files(patch: Patch) -> None:
    """Files say themselves which commit wrote them; without that, the intent alone knows."""
    patch.setattr(reconcile, "_is_newer", lambda said, known: False)


def no_intent_and_no_word_of_files(patch: Patch) -> None:
    no_intent(patch)
    no_word_of_files(patch)


def no_sync_of_the_intent_and_no_word_of_files(patch: Patch) -> None:
    no_sync_of_the_intent(patch)
    no_word_of_files(patch)


def no_roll_forward(patch: Patch) -> None:
    patch.setattr(interrupted._Recovery, "_finish", lambda *arguments: None)


def no_check_of_what_was_staged(patch: Patch) -> None:
    for module in (interrupted, local_directory):
        patch.setattr(module, "is_complete", lambda fs, path, placement: fs.exists(path))


def no_clearing_of_staging(patch: Patch) -> None:
    patch.setattr(interrupted._Recovery, "_clear_staging", lambda *arguments: None)


def no_memory_of_what_is_published(patch: Patch) -> None:
    patch.setattr(Manifest, "is_published", lambda self, partition, lsn: False)


def trimmed_before_it_is_published(patch: Patch) -> None:
    patch.setattr(Writer, "_trim", lambda self: self._on_trim(self._last_lsn))


def no_limit_of_file_size(patch: Patch) -> None:
    kept = Draft.size_with

    def size_with(self: Draft, group: RowGroup) -> int:
        return min(kept(self, group), 0)

    patch.setattr(Draft, "size_with", size_with)


@pytest.mark.parametrize(
    ("removal", "campaign", "size"),
    [
        (no_sync_of_staged_files, power_loss, 100),
        (no_sync_of_the_intent_and_no_word_of_files, power_loss, 400),
        (no_sync_of_the_manifest_and_no_word_of_files, power_loss, 200),
        (no_sync_of_data_directories, power_loss, 200),
        (no_sync_of_the_state_directory, power_loss, 400),
        (no_intent_and_no_word_of_files, power_loss, 200),
        (no_roll_forward, power_loss, 200),
        (no_check_of_what_was_staged, power_loss, 300),
        (no_clearing_of_staging, any_fault, 30),
        (no_memory_of_what_is_published, any_fault, 20),
        (trimmed_before_it_is_published, any_fault, 20),
        (no_limit_of_file_size, any_fault, 5),
    ],
)
def test_a_missing_protection_is_found(
    removal: Callable[[Patch], None],
    campaign: Callable[[int, int], Result],
    size: int,
    monkeypatch: Patch,
) -> None:
    removal(monkeypatch)
    result = campaign(SEED, size)
    print(result)
    assert result.violations, f"nobody noticed {removal.__name__}"
