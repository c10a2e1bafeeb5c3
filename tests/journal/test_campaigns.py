"""Every fault campaign at its CI size, and the proof that each would notice a missing protection."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import app.journal.frame
import app.journal.inspection
import app.journal.scan
import app.journal.segment_reader
from app.disk.durable_file import Buffer
from app.journal.journal import Journal
from app.journal.segment import SegmentWriter
from tests.journal.campaigns import (
    Result,
    corrupt_everything,
    corrupt_in_several_places,
    crash_everywhere,
    crash_in_recovery,
    crash_in_repair,
    error_everywhere,
    power_loss,
)
from tests.support.simulated_disk import Fault, SimFile, SimulatedDisk, SimulatedFS


@pytest.mark.parametrize(
    ("campaign", "size"),
    [
        (crash_everywhere, 2),
        (error_everywhere, 1),
        (power_loss, 5000),
        (crash_in_recovery, 500),
        (corrupt_everything, 1),
        (corrupt_in_several_places, 300),
        (crash_in_repair, 200),
    ],
)
def test_no_fault_breaks_the_promise(campaign: Callable[[int, int], Result], size: int) -> None:
    result = campaign(1, size)
    print(result)
    assert result.passed, str(result)


# Everything below takes one protection away and asks whether a campaign above would fail.


class LyingFS(SimulatedFS):
    """A mount on which one call reports success and does nothing."""

    lie = ""

    def sync_content(self, operation: str, name: str, path: Path, file: SimFile) -> None:
        if operation != self.lie:
            super().sync_content(operation, name, path, file)

    def sync_directory(self, path: Path) -> None:
        if self.lie != "sync_directory":
            super().sync_directory(path)

    def sync_file(self, path: Path) -> None:
        if self.lie != "sync_file":
            super().sync_file(path)

    def drop_cached(self, path: Path) -> None:
        if self.lie != "drop_cached":
            super().drop_cached(path)


def lying_mount(lie: str) -> Callable[[SimulatedDisk, Fault | None], SimulatedFS]:
    def mount(disk: SimulatedDisk, fault: Fault | None) -> SimulatedFS:
        fs = LyingFS(disk, fault)
        fs.lie = lie
        return fs

    return mount


@pytest.mark.parametrize("lie", ["datasync", "sync", "sync_directory"])
def test_a_missing_sync_is_noticed_after_a_power_loss(lie: str) -> None:
    assert power_loss(1, 1000, lying_mount(lie), until_violated=True).violations


def test_a_recovery_that_does_not_sync_what_it_found_is_noticed() -> None:
    assert crash_everywhere(1, 2, lying_mount("sync_file"), until_violated=True).violations


def test_a_recovery_that_trusts_the_page_cache_is_noticed() -> None:
    assert error_everywhere(1, 1, lying_mount("drop_cached"), until_violated=True).violations


def always(answer: Any) -> Callable[..., Any]:
    return lambda *_: answer


@pytest.mark.parametrize(
    ("module", "name", "replacement"),
    [
        (app.journal.segment_reader, "payload_is_valid", always(True)),
        (app.journal.scan, "_is_torn_tail", always(True)),
        (app.journal.inspection, "_missing", lambda *_, **__: None),
        (app.journal.inspection, "_in_use", lambda candidates, _: candidates),
    ],
)
def test_a_missing_check_is_noticed_by_corruption(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(module, name, replacement)
    assert corrupt_everything(1, 1, until_violated=True).violations


def test_treating_every_hole_as_damage_is_noticed_by_power_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.journal.scan, "_is_torn_tail", always(False))
    assert power_loss(1, 500, until_violated=True).violations


def test_a_partial_write_that_is_not_cut_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: SegmentWriter, buffers: Sequence[Buffer], last_lsn: int) -> int:
        written = self._file.write(buffers)
        self.segment.last_lsn = last_lsn
        self.segment.end = self.segment.file_bytes = self._file.size
        return written

    monkeypatch.setattr(SegmentWriter, "write", write)
    monkeypatch.setattr(SegmentWriter, "cut_back", always(None))
    assert error_everywhere(1, 2, until_violated=True).violations


def test_going_on_after_a_failed_sync_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "_guard", lambda _self, operation: _until_it_works(operation))
    assert error_everywhere(1, 2, until_violated=True).violations


def _until_it_works(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except Exception:
        return operation()
