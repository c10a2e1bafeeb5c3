"""The account of usage by itself: what is counted, once, whatever the disk and the journal do."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from app.commit.usage import DayUsage, Usage, UsageDamaged, dump_day, load_day, parts
from app.kinds import Kind
from app.schema import SCHEMAS

DAY_MS = 86_400_000
DAY = 20_000
NAME = "2024-10-04"
NEXT = "2024-10-05"


def frame(*rows: tuple[int, int, str | None, bytes]) -> pa.RecordBatch:
    """Events: workspace, day, name, payload."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "timestamp": 1,
                "batch_timestamp": day * DAY_MS + 5,
                "workspace_id": workspace,
                "event_type": "track",
                "event_name": name,
                "source_ip": b"x" * 16,
                "payload": payload,
            }
            for workspace, day, name, payload in rows
        ],
        schema=SCHEMAS[Kind.EVENTS],
    )


ONE = frame((1, DAY, "a", b"{}"))


class Disk:
    """What is saved. broken: reads fail."""

    def __init__(self) -> None:
        self.days: dict[str, bytes] = {}
        self.broken = False

    def read(self, day: str) -> DayUsage:
        if self.broken:
            raise OSError(5, "Input/output error")
        return load_day(self.days[day]) if day in self.days else DayUsage()

    def usage(self, on_counted: Callable[[int, int, int], None] = lambda *_: None) -> Usage:
        return Usage(self.read, on_counted)


def rows(usage: Usage, day: str = NAME) -> dict[int, tuple[int, int]]:
    return {workspace: (each.rows, each.bytes) for (workspace, _), each in usage.day(day).items()}


def test_runs_of_a_frame_are_counted_by_workspace_and_day() -> None:
    some = frame(
        (1, DAY, "ab", b"{}"),
        (1, DAY, None, b"{...}"),
        (2, DAY, "c", b""),
        (2, DAY + 1, "d", b"12"),
        (1, DAY, "e", b""),
    )

    assert list(parts(Kind.EVENTS, some)) == [
        (NAME, 1, 2, 9),
        (NAME, 2, 1, 1),
        (NEXT, 2, 1, 3),
        (NAME, 1, 1, 1),
    ]
    assert list(parts(Kind.EVENTS, some, [1, 1, 1, 1, 1])) == list(parts(Kind.EVENTS, some))
    assert list(parts(Kind.EVENTS, some, [2, 1, 1, 1])) == list(parts(Kind.EVENTS, some))
    assert list(parts(Kind.EVENTS, some.slice(0, 0))) == []
    assert list(parts(Kind.EVENTS, some.slice(2, 2))) == [(NAME, 2, 1, 1), (NEXT, 2, 1, 3)]


def test_a_saved_day_is_read_back_and_damage_is_seen() -> None:
    disk = Disk()
    usage = disk.usage()
    usage.add(7, Kind.EVENTS, ONE)
    usage.save(disk.days.__setitem__)
    data = disk.days[NAME]

    assert load_day(data) == load_day(dump_day(load_day(data)))
    for at in range(len(data) - 1):
        if at != 8:  # the space
            with pytest.raises(UsageDamaged):
                load_day(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_frames_are_counted_once_over_a_start() -> None:
    disk = Disk()
    before = disk.usage()
    for lsn in (1, 2):
        before.add(lsn, Kind.EVENTS, ONE)
    before.save(disk.days.__setitem__)
    before.add(3, Kind.EVENTS, ONE)

    after = disk.usage()
    for lsn in (2, 3):
        after.add_again(lsn, Kind.EVENTS, ONE)
    after.end_replay(3, [NAME])

    assert rows(after) == {1: (3, 9)}


def test_lsns_that_are_used_again_are_counted_again() -> None:
    """A power cut may take frames that were counted, where a 202 does not promise otherwise."""
    disk = Disk()
    before = disk.usage()
    before.add(9, Kind.EVENTS, ONE)
    before.save(disk.days.__setitem__)
    second = disk.usage()
    second.end_replay(4, [NAME])
    second.save(disk.days.__setitem__)
    third = disk.usage()
    third.add_again(5, Kind.EVENTS, ONE)

    assert rows(third) == {1: (2, 6)}


def test_a_day_that_cannot_be_read_is_counted_beside_what_is_saved() -> None:
    disk = Disk()
    before = disk.usage()
    before.add(1, Kind.EVENTS, ONE)
    before.save(disk.days.__setitem__)
    counted: list[tuple[int, int, int]] = []
    usage = disk.usage(lambda *each: counted.append(each))
    disk.broken = True
    usage.add(2, Kind.EVENTS, frame((1, DAY, "bc", b"{}")))

    assert counted == [(1, 1, 4)]
    assert usage.bytes_of(1, NAME) == 4
    with pytest.raises(OSError, match="Input/output"):
        usage.save(disk.days.__setitem__)
    disk.broken = False
    usage.save(disk.days.__setitem__)
    assert rows(disk.usage()) == {1: (2, 7)}


def test_a_save_that_fails_is_made_again() -> None:
    disk = Disk()
    usage = disk.usage()
    usage.add(1, Kind.EVENTS, ONE)

    def full(day: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        usage.save(full)
    usage.save(disk.days.__setitem__)
    assert rows(disk.usage()) == {1: (1, 3)}
