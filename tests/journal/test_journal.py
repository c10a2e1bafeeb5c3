"""A journal on a real file system: what goes in comes out, across rotation, reopening and trimming."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.disk.durable_fs import DurableFS
from app.journal.failures import FrameTooLarge, JournalDamaged, JournalFailed, JournalFull
from app.journal.frame import FrameType, encode_frame
from app.journal.journal import Journal
from app.journal.policy import RESERVED_LSNS_PER_START, JournalPolicy
from app.journal.repair import repair
from app.journal.segment import list_segments
from tests.journal.workload import DIRECTORY, entries
from tests.support.simulated_disk import Fault, SimulatedDisk, SimulatedFS

FOUR_FRAMES = JournalPolicy(segment_bytes=72 + 4 * 56)
"""A segment is full after four frames of up to 8 bytes."""


@pytest.fixture
def fs() -> DurableFS:
    return DurableFS()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def numbered(count: int) -> list[list[bytes]]:
    return [[b"%d" % number] for number in range(count)]


def payloads(journal: Journal, after_lsn: int = 0) -> list[bytes]:
    return [payload for _, payload in entries(journal, after_lsn)]


def test_payloads_come_back_in_order_after_reopening(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    appended = journal.append([[b"a", memoryview(b"bc"), pa.py_buffer(b"d")], [], [b"x" * 100_000]])
    journal.close()
    again = Journal.open(fs, directory, JournalPolicy())
    lsns = range(appended.first_lsn, appended.last_lsn + 1)
    assert entries(again) == list(zip(lsns, [b"abcd", b"", b"x" * 100_000], strict=True))
    assert again.recovery.entries == 3


def test_entries_are_readable_without_a_close(fs: DurableFS, directory: Path) -> None:
    Journal.open(fs, directory, JournalPolicy()).append(numbered(3))
    assert payloads(Journal.open(fs, directory, JournalPolicy())) == [b"0", b"1", b"2"]


def test_a_full_segment_is_followed_by_a_new_one(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, FOUR_FRAMES)
    for payload in numbered(9):
        journal.append([payload])
    assert len(list_segments(fs, directory)) == 3
    assert payloads(journal) == [b"%d" % number for number in range(9)]


def test_reading_starts_behind_the_given_lsn(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, FOUR_FRAMES)
    lsns = [journal.append([payload]).first_lsn for payload in numbered(9)]
    assert [lsn for lsn, _ in entries(journal, lsns[5])] == lsns[6:]


def test_a_read_is_of_what_was_there_when_it_began(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.append(numbered(2))
    reading = journal.read(0)
    journal.append(numbered(5))
    assert len(list(reading)) == 2


def test_an_entry_larger_than_a_read_window_comes_back(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    large = bytes(range(256)) * (5 << 12)
    journal.append([[b"before"], [large], [b"after"]])
    assert payloads(Journal.open(fs, directory, JournalPolicy())) == [b"before", large, b"after"]


def test_trim_removes_whole_segments_and_never_the_active_one(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, FOUR_FRAMES)
    lsns = [journal.append([payload]).first_lsn for payload in numbered(9)]
    size = journal.size_bytes
    journal.trim(lsns[4])
    assert payloads(journal) == [b"%d" % number for number in range(4, 9)]
    assert journal.size_bytes < size
    journal.trim(journal.last_lsn)
    assert len(list_segments(fs, directory)) == 1
    assert payloads(journal) == [b"8"]


def test_roll_lets_the_last_entries_be_trimmed(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.append(numbered(3))
    journal.roll()
    journal.trim(journal.last_lsn)
    assert payloads(journal) == []


def test_no_lsn_is_used_twice_when_all_was_trimmed(fs: DurableFS, directory: Path) -> None:
    seen: list[int] = []
    for _ in range(5):
        journal = Journal.open(fs, directory, JournalPolicy())
        seen.append(journal.append(numbered(1)).first_lsn)
        journal.roll()
        journal.trim(journal.last_lsn)
    assert seen == sorted(set(seen))


def test_a_start_never_appends_to_an_old_segment(fs: DurableFS, directory: Path) -> None:
    Journal.open(fs, directory, JournalPolicy()).append(numbered(1))
    before = {path: fs.read(path) for _, path in list_segments(fs, directory)}
    Journal.open(fs, directory, JournalPolicy()).append(numbered(1))
    assert {path: fs.read(path) for path in before} == before


def test_a_payload_beyond_the_limit_is_refused_with_nothing_written(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy(max_frame_bytes=10))
    size = journal.size_bytes
    with pytest.raises(FrameTooLarge, match="at most 10 bytes"):
        journal.append([[b"fits"], [b"123456", b"78901"]])
    assert journal.size_bytes == size


def test_an_emptied_directory_is_noticed_by_whoever_knows_an_lsn(fs: DurableFS, directory: Path) -> None:
    with pytest.raises(JournalDamaged, match="LSN 1 to 42"):
        Journal.open(fs, directory, JournalPolicy(), known_lsn=42)
    repair(fs, directory, known_lsn=42)
    journal = Journal.open(fs, directory, JournalPolicy(), known_lsn=42)
    assert journal.append(numbered(1)).first_lsn > 42


@pytest.mark.parametrize("mode", ["write", "memory"])
def test_without_syncs_an_emptied_directory_goes_on_above_what_is_known(
    mode: Literal["write", "memory"], fs: DurableFS, directory: Path
) -> None:
    policy = JournalPolicy(acknowledge=mode)
    journal = Journal.open(fs, directory, policy, known_lsn=42)
    assert journal.recovery.lost_lsns == (1, 42)
    lsn = journal.append(numbered(1)).first_lsn
    assert lsn > 42
    journal.close()
    again = Journal.open(fs, directory, policy, known_lsn=42)
    assert again.recovery.lost_lsns is None
    assert payloads(again) == ([b"0"] if mode == "write" else [])
    assert again.append(numbered(1)).first_lsn > lsn


@pytest.mark.parametrize("seed", range(20))
def test_write_mode_goes_on_above_what_is_known_after_a_power_cut(seed: int) -> None:
    disk = SimulatedDisk()
    policy = JournalPolicy(acknowledge="write")
    journal = Journal.open(disk.mount(), DIRECTORY, policy)
    known = [journal.append([[bytes(600)]]).last_lsn for _ in range(3)][-1]
    disk = disk.after_power_loss(random.Random(seed))
    journal = Journal.open(disk.mount(), DIRECTORY, policy, known_lsn=known)
    kept = len(entries(journal))
    lsn = journal.append([[b"later"]]).first_lsn
    assert lsn > known
    assert journal.recovery.lost_lsns is None or kept < 3
    # A kill, and the same start again; from now on also with syncs, since nothing that is known is missing.
    again = Journal.open(disk.mount(), DIRECTORY, JournalPolicy(), known_lsn=known)
    assert len(entries(again)) == kept + 1
    assert entries(again)[-1] == (lsn, b"later")


def test_damage_names_file_offset_and_lsns(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    lsn = journal.append([[b"first"]]).first_lsn
    journal.append([[b"second"]])
    (_, path), *_ = list_segments(fs, directory)
    path.write_bytes(path.read_bytes().replace(b"first", b"fIrst"))
    with pytest.raises(JournalDamaged, match=rf"{path.name} at offset 72: .*LSN {lsn} to {lsn} "):
        Journal.open(fs, directory, JournalPolicy())


def test_damage_that_comes_later_is_noticed_by_a_read(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.append([[b"first"]])
    (_, path), *_ = list_segments(fs, directory)
    path.write_bytes(path.read_bytes().replace(b"first", b"fIrst"))
    with pytest.raises(JournalDamaged):
        entries(journal)


def test_repair_keeps_what_is_behind_the_damage(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.append([[b"one"], [b"two"], [b"three"]])
    journal.close()
    (_, path), *_ = list_segments(fs, directory)
    path.write_bytes(path.read_bytes().replace(b"two", b"tvo"))
    assert len(repair(fs, directory)) == 1
    assert b'"first_lsn":3,"last_lsn":3' in fs.read(directory / "losses.jsonl")
    assert b"tvo" in fs.read(directory / "aside" / f"damaged-{path.stem}-128")
    assert payloads(Journal.open(fs, directory, JournalPolicy())) == [b"one", b"three"]


def test_a_torn_tail_is_cut_and_copied_aside(fs: DurableFS, directory: Path) -> None:
    Journal.open(fs, directory, JournalPolicy()).append([[b"whole"]])
    (_, path), *_ = list_segments(fs, directory)
    path.write_bytes(path.read_bytes() + b"a torn frame")
    journal = Journal.open(fs, directory, JournalPolicy())
    assert payloads(journal) == [b"whole"]
    assert journal.recovery.torn_bytes == 12
    assert journal.recovery.torn_copy is not None
    assert fs.read(journal.recovery.torn_copy) == b"a torn frame"
    assert Journal.open(fs, directory, JournalPolicy()).recovery.torn_bytes == 0


def test_copies_of_torn_tails_are_bounded(
    fs: DurableFS, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.journal.set_aside.TORN_BYTES_MAX", 20)
    for _ in range(3):
        Journal.open(fs, directory, JournalPolicy())
        path = list_segments(fs, directory)[-1][1]
        path.write_bytes(path.read_bytes() + b"a torn frame")
    assert Journal.open(fs, directory, JournalPolicy()).recovery.torn_copy is None
    assert len(fs.list_directory(directory / "aside")) == 1


def test_a_frame_that_a_client_has_put_into_its_payload_is_not_believed(
    fs: DurableFS, directory: Path
) -> None:
    Journal.open(fs, directory, JournalPolicy()).close()
    journal = Journal.open(fs, directory, JournalPolicy())
    forged = [bytes(part) for part in encode_frame(FrameType.ENTRY, 0, 99, 99, [b"12345678"], 8)]
    journal.append([[*forged]])
    path = list_segments(fs, directory)[-1][1]
    data = bytearray(path.read_bytes())
    data[72 + 4] ^= 1  # the header of the frame that holds it: a torn write, as far as anybody can tell
    path.write_bytes(data)
    again = Journal.open(fs, directory, JournalPolicy())
    assert payloads(again) == []
    assert again.recovery.torn_bytes == len(data) - 72


def test_a_closed_journal_takes_nothing(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed, match="closed"):
        journal.append(numbered(1))


def test_a_mark_is_written_once_per_append(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, JournalPolicy())
    journal.append(numbered(1))
    sizes = []
    for _ in range(3):
        journal.mark()
        sizes.append(journal.size_bytes)
    assert len(set(sizes)) == 1


def test_memory_mode_writes_no_entry_and_reuses_no_lsn(fs: DurableFS, directory: Path) -> None:
    Journal.open(fs, directory, JournalPolicy()).append([[b"on disk"]])
    journal = Journal.open(fs, directory, JournalPolicy(acknowledge="memory"))
    lsn = journal.append([[b"in ", b"memory"]]).last_lsn
    assert payloads(journal) == [b"on disk", b"in memory"]
    journal.trim(lsn)
    assert (payloads(journal), journal.size_bytes) == ([], 0)
    again = Journal.open(fs, directory, JournalPolicy())
    assert payloads(again) == []
    assert again.last_lsn > lsn
    assert again.last_lsn > RESERVED_LSNS_PER_START


def test_write_mode_survives_a_kill() -> None:
    disk = SimulatedDisk()
    fs = disk.mount()
    journal = Journal.open(fs, DIRECTORY, JournalPolicy(acknowledge="write"))
    before = fs.calls.count("datasync")
    journal.append(numbered(2))
    assert fs.calls.count("datasync") == before
    assert payloads(Journal.open(disk.mount(), DIRECTORY, JournalPolicy())) == [b"0", b"1"]


def test_a_full_disk_costs_nothing_and_ends_without_a_restart() -> None:
    disk = SimulatedDisk(capacity_bytes=2000)
    journal = Journal.open(disk.mount(), DIRECTORY, FOUR_FRAMES)
    taken = 0
    while disk.room_for(1000) == 1000:
        journal.append(numbered(3))
        taken += 1
    with pytest.raises(JournalFull, match="no space"):
        journal.append([[bytes(1000)]])
    assert taken > 1
    assert payloads(journal) == [b"0", b"1", b"2"] * taken
    journal.mark()
    disk.capacity_bytes = 4000
    journal.append([[b"goes on"]])
    assert payloads(Journal.open(disk.mount(), DIRECTORY, FOUR_FRAMES))[-1] == b"goes on"


def test_after_a_failed_sync_nothing_is_taken_any_more() -> None:
    fs = SimulatedDisk().mount()
    journal = Journal.open(fs, DIRECTORY, JournalPolicy())
    journal.append(numbered(1))
    fs.fault = Fault(len(fs.calls) + 1, "EIO")
    with pytest.raises(JournalFailed, match="fdatasync"):
        journal.append(numbered(1))
    for call in (lambda: journal.append(numbered(1)), journal.mark, journal.roll, lambda: journal.trim(1)):
        with pytest.raises(JournalFailed, match="fdatasync"):
            call()


def test_trimming_and_reading_go_on_beside_appends(fs: DurableFS, directory: Path) -> None:
    journal = Journal.open(fs, directory, FOUR_FRAMES)
    appended: list[tuple[int, bytes]] = []
    done = threading.Event()

    def trim_behind() -> int:
        trimmed = 0
        while not done.is_set():
            trimmed = max(trimmed, journal.last_lsn - 20)
            journal.trim(trimmed)
            assert journal.first_lsn <= journal.last_lsn + 1
            assert journal.size_bytes > 0
        return trimmed

    with ThreadPoolExecutor(1) as writer:
        trimming = writer.submit(trim_behind)
        try:
            for payload in numbered(300):
                appended.append((journal.append([payload]).first_lsn, payload[0]))
        finally:
            done.set()
        trimmed = trimming.result()
    journal.trim(trimmed)
    assert trimmed > 0
    left = entries(journal)
    assert left == appended[-len(left) :]
    # A segment's own first frame has an LSN, too.
    assert trimmed - 4 <= left[0][0] <= next(lsn for lsn, _ in appended if lsn > trimmed)


class JournalMachine(RuleBasedStateMachine):
    """Any order of operations, crashes included, against a dict."""

    policy = JournalPolicy(segment_bytes=600)

    @initialize()
    def start(self) -> None:
        self.disk = SimulatedDisk()
        self.expected: dict[int, bytes] = {}
        self.trimmed = self.highest = 0
        self.open()

    def open(self) -> None:
        self.fs: SimulatedFS = self.disk.mount()
        self.journal = Journal.open(self.fs, DIRECTORY, self.policy, known_lsn=self.highest)

    @rule(group=st.lists(st.lists(st.binary(max_size=60), max_size=3), min_size=1, max_size=5))
    def append(self, group: list[list[bytes]]) -> None:
        appended = self.journal.append(group)
        assert appended.first_lsn > self.highest
        for lsn, payload in enumerate(group, appended.first_lsn):
            self.expected[lsn] = b"".join(payload)
        self.highest = appended.last_lsn

    @rule()
    def mark(self) -> None:
        self.journal.mark()

    @rule()
    def roll(self) -> None:
        self.journal.roll()

    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        through = data.draw(st.integers(self.journal.first_lsn - 1, self.journal.last_lsn))
        self.trimmed = max(self.trimmed, through)
        self.journal.trim(through)

    @rule()
    def close_and_open(self) -> None:
        self.journal.close()
        self.open()

    @rule()
    def kill_and_open(self) -> None:
        self.fs.dead = True
        self.open()

    @rule(randomness=st.randoms(use_true_random=False))
    def lose_power_and_open(self, randomness: random.Random) -> None:
        self.fs.dead = True
        self.disk = self.disk.after_power_loss(randomness)
        self.open()

    @invariant()
    def holds_what_was_appended(self) -> None:
        found = dict(entries(self.journal))
        assert list(found) == sorted(found)
        assert found.items() <= self.expected.items()
        assert {lsn for lsn in self.expected if lsn > self.trimmed} <= found.keys()
        assert self.journal.last_lsn >= self.highest


JournalMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestJournalMachine = JournalMachine.TestCase


@pytest.mark.parametrize(("max_frame_bytes", "segment_bytes"), [(0, 1), (1 << 40, 1), (1, 0)])
def test_a_policy_refuses_impossible_limits(max_frame_bytes: int, segment_bytes: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        JournalPolicy(max_frame_bytes=max_frame_bytes, segment_bytes=segment_bytes)
