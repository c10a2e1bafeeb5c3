"""The publication log of one Kafka partition: what has been published, in the place where the files are.

    _commits/{topic}-{p}/{n}.json               entry n, created only if absent
    _commits/{topic}-{p}/checkpoints/{n}.json   stands for the entries up to n, which may be gone
    _commits/{topic}-{p}/windows/{n}.msgpack    the batch ids remembered then

The writer that creates entry n has published it. An entry may be removed once a checkpoint covers it, so a
writer that was asleep meanwhile could create it again: therefore, after creating entry n, it checks whether a
checkpoint for n or more exists. The checkpoint was there before the entry was removed, so it will be seen.
"""

import re
from typing import Final, NamedTuple

import msgspec

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.kafka.entry import CHECKPOINTS, ENTRIES, FIRST_NUMBER, Checkpoint, PublicationEntry
from app.kafka.shared_place import COMMITS, SharedPlace

CHECKPOINT_ENTRIES: Final = 100
LOADS_MAX: Final = 10
"""How often the log is read again if entries are removed while it is read."""

_NAME: Final = re.compile(r"(|checkpoints/|windows/)(\d{20})\.(?:json|msgpack)")


class PartitionLost(Exception):
    """Another writer has published this partition further; what is buffered here is void."""


class PublicationLogDamaged(Exception):
    """The log has a gap, or cannot be read. Nothing is published until an operator has examined it."""


class Names(NamedTuple):
    """Numbers of what is there, rising."""

    entries: list[int]
    checkpoints: list[int]
    windows: list[int]


class LogState(msgspec.Struct):
    """number, to: of the newest entry; 0 when nothing was published. last: that entry, if it is still there.

    since: entries after the newest checkpoint, `checkpoint` being its number.
    """

    window: DeduplicationWindow
    number: int = FIRST_NUMBER - 1
    to: int = 0
    last: PublicationEntry | None = None
    checkpoint: int = FIRST_NUMBER - 1
    since: list[PublicationEntry] = []


class PublicationLog:
    """Used by the thread of its partition alone."""

    def __init__(
        self,
        place: SharedPlace,
        topic: str,
        partition: int,
        policy: DeduplicationPolicy,
        checkpoint_entries: int = CHECKPOINT_ENTRIES,
    ) -> None:
        self._checkpoint_entries = checkpoint_entries
        self.directory = log_directory(topic, partition)
        self._place = place
        self._policy = policy

    def load(self) -> LogState:
        """Raises OSError, CommitLogDamaged."""
        problem = ""
        for _ in range(LOADS_MAX):
            try:
                return self._load()
            except (FileNotFoundError, PublicationLogDamaged) as error:
                problem = str(error)
            except msgspec.DecodeError as error:
                raise PublicationLogDamaged(f"{self.directory}: {error}") from None
        raise PublicationLogDamaged(problem)

    def _load(self) -> LogState:
        names = list_log(self._place, self.directory)
        state = LogState(DeduplicationWindow(self._policy))
        if names.checkpoints:
            number = names.checkpoints[-1]
            checkpoint = read_checkpoint(self._place, self.directory, number)
            state.window.load(self._place.read(_window(self.directory, number)))
            state.number = state.checkpoint = number
            state.to = checkpoint.to
        for number in names.entries:
            if number <= state.checkpoint:
                continue
            if number != state.number + 1:
                raise PublicationLogDamaged(f"{self.directory}: entry {state.number + 1} is missing")
            entry = read_entry(self._place, self.directory, number)
            note(state, entry)
        return state

    def append(self, state: LogState, entry: PublicationEntry) -> None:
        """Publish. Raises PartitionLost; OSError, and then it may have been done: try again.

        `state` is not changed.
        """
        if not self._place.create(_entry(self.directory, entry.number), msgspec.json.encode(entry)):
            raise PartitionLost(f"{self.directory}: another writer has written entry {entry.number}")
        checkpoints = self._place.names(f"{self.directory}/checkpoints")
        if any(int(name.removesuffix(".json")) >= entry.number for name in checkpoints):
            raise PartitionLost(f"{self.directory}: entry {entry.number} is already covered by a checkpoint")

    def compact(self, state: LogState) -> None:
        """Make a checkpoint when there are enough entries, and remove what it stands for. Raises OSError.

        Every file of the newest entry is in its place.
        """
        if state.number - state.checkpoint < self._checkpoint_entries:
            return
        checkpoint = Checkpoint(
            number=state.number,
            to=state.to,
            files=[file for entry in state.since for file in entry.files],
            quarantined=[rows for entry in state.since for rows in entry.quarantined],
            lost=sum(entry.lost for entry in state.since),
            foreign=[record for entry in state.since for record in entry.foreign],
        )
        self._place.create(_window(self.directory, state.number), state.window.dump())
        self._place.create(_checkpoint(self.directory, state.number), msgspec.json.encode(checkpoint))
        state.checkpoint, state.since = state.number, []
        names = list_log(self._place, self.directory)
        for number in names.entries:
            if number <= state.checkpoint:
                self._place.remove(_entry(self.directory, number))
        for number in names.windows:
            if number < state.checkpoint:
                self._place.remove(_window(self.directory, number))


def note(state: LogState, entry: PublicationEntry) -> None:
    """The entry is in the log."""
    state.window.remember(entry.to, entry.batches)
    state.number, state.to, state.last = entry.number, entry.to, entry
    state.since = [*state.since, entry]


def log_directory(topic: str, partition: int) -> str:
    return f"{COMMITS}/{topic}-{partition}"


def list_log(place: SharedPlace, directory: str) -> Names:
    found: dict[str, list[int]] = {"": [], "checkpoints/": [], "windows/": []}
    for name in place.names(directory):
        match = _NAME.fullmatch(name)
        if match is not None:
            found[match[1]].append(int(match[2]))
    return Names(*(sorted(numbers) for numbers in found.values()))


def read_entry(place: SharedPlace, directory: str, number: int) -> PublicationEntry:
    return ENTRIES.decode(place.read(_entry(directory, number)))


def read_checkpoint(place: SharedPlace, directory: str, number: int) -> Checkpoint:
    return CHECKPOINTS.decode(place.read(_checkpoint(directory, number)))


def _entry(directory: str, number: int) -> str:
    return f"{directory}/{number:020}.json"


def _checkpoint(directory: str, number: int) -> str:
    return f"{directory}/checkpoints/{number:020}.json"


def _window(directory: str, number: int) -> str:
    return f"{directory}/windows/{number:020}.msgpack"
