"""The published files according to the publication logs, for listing files or waiting for them."""

import threading
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from app.kafka.entry import Checkpoint, ForeignRecord, PublicationEntry
from app.kafka.publication_log import list_log, log_directory, read_checkpoint, read_entry
from app.kafka.shared_place import SharedPlace
from app.kinds import Kind
from app.parquet.data_file import DataFile, QuarantinedRows

STALE_S: Final = 1.0
"""How much older than the logs a listing may be."""

READS_MAX: Final = 10


class _Follower:
    """One partition's log, as far as it was read. The newest entry waits until its files are there."""

    def __init__(self, place: SharedPlace, directory: str) -> None:
        self._place = place
        self._directory = directory
        self._number = 0
        self.to = 0
        self.files: dict[str, DataFile] = {}
        self.quarantined: dict[str, QuarantinedRows] = {}
        self.foreign: dict[int, ForeignRecord] = {}
        self._pending: PublicationEntry | None = None

    def refresh(self) -> None:
        """Raises OSError."""
        for _ in range(READS_MAX):
            try:
                self._read()
                return
            except FileNotFoundError:
                continue  # a checkpoint has come to stand for it

    def _read(self) -> None:
        names = list_log(self._place, self._directory)
        for number in names.checkpoints:
            if number > self._number:
                self._settle()
                self._take(read_checkpoint(self._place, self._directory, number))
        for number in names.entries:
            if number > self._number:
                self._settle()
                self._pending = read_entry(self._place, self._directory, number)
                self._number = number
        if self._pending is not None and self._is_complete(self._pending):
            self._settle()

    def _is_complete(self, entry: PublicationEntry) -> bool:
        return all(self._place.size(path) is not None for path in entry.paths)

    def _settle(self) -> None:
        """An entry with another one behind it is complete."""
        if self._pending is not None:
            self._take(self._pending)
            self._pending = None

    def _take(self, some: PublicationEntry | Checkpoint) -> None:
        for file in some.files:
            self.files[file.path] = file
        for rows in some.quarantined:
            self.quarantined[rows.path] = rows
        for record in some.foreign:
            self.foreign[record.offset] = record
        self.to = max(self.to, some.to)
        self._number = max(self._number, some.number)


class PublishedPartitions:
    """All partitions of a topic. Safe from any thread. Raises OSError when the place does not answer."""

    def __init__(self, place: SharedPlace, topic: str, partitions: int) -> None:
        self._followers = [_Follower(place, log_directory(topic, each)) for each in range(partitions)]
        self._locks = [threading.Lock() for _ in self._followers]
        self._read_s: list[float | None] = [None] * partitions

    def _follower(self, partition: int, stale_s: float) -> _Follower:
        follower = self._followers[partition]
        with self._locks[partition]:
            read_s = self._read_s[partition]
            if read_s is None or time.monotonic() - read_s > stale_s:
                now_s = time.monotonic()
                follower.refresh()
                self._read_s[partition] = now_s
        return follower

    def to(self, partition: int, stale_s: float = STALE_S) -> int:
        """The offset up to which everything is in files that are there."""
        return self._follower(partition, stale_s).to

    def files(self) -> Sequence[DataFile]:
        found: list[DataFile] = []
        for partition in range(len(self._followers)):
            found += list(self._follower(partition, STALE_S).files.values())
        return found

    def files_of(self, partition: int) -> dict[str, DataFile]:
        """By path, as they were known last; a copy."""
        with self._locks[partition]:
            return dict(self._followers[partition].files)

    def find(self, path: str) -> DataFile | None:
        for partition in range(len(self._followers)):
            file = self._follower(partition, STALE_S).files.get(path)
            if file is not None:
                return file
        return None

    def foreign(self, partition: int) -> list[ForeignRecord]:
        """Records in quarantine that are not this service's, the newest last."""
        with self._locks[partition]:
            return list(self._followers[partition].foreign.values())

    def account(self) -> dict[tuple[int, Kind], "Account"]:
        """Rows in files and in quarantine, by workspace and kind."""
        accounts: dict[tuple[int, Kind], Account] = {}
        for file in self.files():
            accounts.setdefault((file.workspace_id, file.kind), Account()).published += file.rows
        for follower in self._followers:
            for rows in list(follower.quarantined.values()):
                accounts.setdefault((rows.workspace_id, rows.kind), Account()).quarantined += rows.rows
        return accounts


class Account(msgspec.Struct):
    published: int = 0
    quarantined: int = 0
