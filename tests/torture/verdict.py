"""Whether what is left on a disk keeps what was promised."""

from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import pyarrow as pa

from tests.support.simulated_disk import SimulatedDisk
from tests.torture.oracle import compare, rows_in_file
from tests.torture.stepped_service import DATA, Process
from tests.torture.world import WORKSPACES, World, account


class PowerCuts:
    """Judges states that power cuts leave in one world; one that was there before keeps its verdict.

    After a power cut all that is left is what is in the files, so equal contents are the same state, and
    short of the journal's random salts the service does the same with them.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._verdicts: dict[Hashable, list[str]] = {}

    def judge(self, disk: SimulatedDisk) -> list[str]:
        """disk: fresh from `after_power_loss`; it is used up."""
        state = disk.root.contents()
        if state not in self._verdicts:
            self._verdicts[state] = check(self._world, disk)
        return self._verdicts[state]

    @property
    def distinct(self) -> int:
        return len(self._verdicts)


def check(world: World, disk: SimulatedDisk) -> list[str]:
    """Start on `disk`, publish all, compare with what was sent; then start once more. `disk` is used up."""
    disk.blocked = None
    try:
        wrong, left = _start_and_flush(world, disk)
        before = data_files(disk)
        found: Counter[tuple[str, int, int]] = Counter()
        for path, content in before.items():
            found.update(rows_in_file(path, pa.BufferReader(content)))
        wrong += compare([sent.batch for sent in world.sent], found)
        again, _ = _start_and_flush(world, disk)
    except Exception as refusal:
        return [f"does not start: {refusal!r}"]
    if data_files(disk) != before:
        wrong.append("a second recovery changed the files")
    return wrong + again + left


def _start_and_flush(world: World, disk: SimulatedDisk) -> tuple[list[str], list[str]]:
    process = Process(disk, list(world.clock), world.metrics)
    try:
        process.open()
        process.flush()
        process.turn()
        wrong, _ = account(process)
        writer = process.service._open_parts().writer
        buffered = {workspace: writer.waiting_of(workspace, 1 << 40) for workspace in WORKSPACES}
        left = [f"buffered after a flush: {buffered}"] * (any(buffered.values()) or writer.buffered_bytes > 0)
        return wrong, left
    finally:
        process.kill()


def data_files(disk: SimulatedDisk) -> dict[Path, bytes]:
    return {
        path.relative_to(DATA): bytes(file.cached)
        for path, file in disk.files().items()
        if path.is_relative_to(DATA) and not path.name.startswith(".")
    }
