"""The common place of data files and publication logs: all is created once, atomically, and never changed.

Several processes may create the same name at the same moment: one of them succeeds. That is all the agreement
that writers need. Everything raises OSError when it may be tried again.
"""

import contextlib
import uuid
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from app.disk.durable_file import Buffer
from app.disk.durable_fs import DurableFS
from app.object_store.store import NameTaken, ObjectStore
from app.object_store.uploads import make_calls

COMMITS: Final = "_commits"
TEMPORARY: Final = f"{COMMITS}/tmp"

FILES_AT_A_TIME: Final = 64
"""Descriptors that may wait for their sync."""

LEFT_BEHIND_MS: Final = 3_600_000
"""A temporary file lives only as long as one publish; one of this age is abandoned."""


class SharedPlace(Protocol):
    """Paths are posix, below the sink's path."""

    def create(self, path: str, content: Buffer) -> bool:
        """Durably give these bytes a name. False when other bytes have it; true, too, when these have."""
        ...

    def create_all(self, files: Sequence[tuple[str, Buffer]]) -> None:
        """Create each of these unless its name is taken, by whatever bytes."""
        ...

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def size(self, path: str) -> int | None:
        """None when there is no such file."""
        ...

    def names(self, directory: str) -> list[str]:
        """Names of all files below a directory, relative to it; in no order."""
        ...

    def remove(self, path: str) -> None:
        """Does nothing if it does not exist."""
        ...

    def tidy(self, now_ms: int) -> None:
        """Remove temporary files of processes that died long ago. now_ms: since the epoch."""
        ...


class SharedDirectory:
    """On a file system that all writers see. A name is given by link(2), which replaces nothing."""

    def __init__(self, fs: DurableFS, root: Path) -> None:
        self._fs = fs
        self._root = root

    def create(self, path: str, content: Buffer) -> bool:
        created = self._create([(path, content)])
        return bool(created) or self.read(path) == bytes(memoryview(content).cast("B"))

    def create_all(self, files: Sequence[tuple[str, Buffer]]) -> None:
        for start in range(0, len(files), FILES_AT_A_TIME):
            self._create(files[start : start + FILES_AT_A_TIME])

    def _create(self, files: Sequence[tuple[str, Buffer]]) -> set[str]:
        """Those that did not have their names taken. Synced side by side, before and after they get them."""
        finals = {path: self._root / path for path, _ in files}
        temporaries = {path: self._root / TEMPORARY / uuid.uuid4().hex for path, _ in files}
        directories = {final.parent for final in finals.values()}
        self._fs.make_directories([*directories, self._root / TEMPORARY])
        try:
            self._write([(temporaries[path], content) for path, content in files])
            created = {path for path, final in finals.items() if self._link(temporaries[path], final)}
        finally:
            for temporary in temporaries.values():
                with contextlib.suppress(OSError):
                    self._fs.unlink(temporary)
        self._fs.sync_directories(directories)  # a name may be another's, and not durable yet
        return created

    def _write(self, files: Sequence[tuple[Path, Buffer]]) -> None:
        opened = []
        try:
            for path, content in files:
                opened.append(self._fs.create(path))
                opened[-1].write([content])
            self._fs.sync_files(opened)
        finally:
            for file in opened:
                file.close()

    def _link(self, temporary: Path, final: Path) -> bool:
        try:
            self._fs.link(temporary, final)
        except FileExistsError:
            return False
        return True

    def tidy(self, now_ms: int) -> None:
        directory = self._root / TEMPORARY
        with contextlib.suppress(FileNotFoundError):
            for name in self._fs.list_directory(directory):
                with contextlib.suppress(FileNotFoundError):
                    if self._fs.stat(directory / name).modified_ns < (now_ms - LEFT_BEHIND_MS) * 1_000_000:
                        self._fs.unlink(directory / name)

    def read(self, path: str) -> bytes:
        return self._fs.read(self._root / path)

    def size(self, path: str) -> int | None:
        try:
            return self._fs.stat(self._root / path).size
        except FileNotFoundError:
            return None

    def names(self, directory: str) -> list[str]:
        found: list[str] = []
        pending = [""]
        while pending:
            below = pending.pop()
            try:
                names = self._fs.list_directory(self._root / directory / below)
            except FileNotFoundError:
                continue
            for name in names:
                relative = f"{below}/{name}" if below else name
                with contextlib.suppress(FileNotFoundError):
                    is_directory = self._fs.stat(self._root / directory / relative).is_directory
                    (pending if is_directory else found).append(relative)
        return found

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(self._root / path)


class SharedBucket:
    """A `SharedPlace` on an object store that refuses to create an object that is there (If-None-Match)."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create(self, path: str, content: Buffer) -> bool:
        try:
            self._store.create(path, content, zlib.crc32(memoryview(content).cast("B")))
        except NameTaken:
            return False
        return True

    def create_all(self, files: Sequence[tuple[str, Buffer]]) -> None:
        calls = [partial(self._create_any, path, content) for path, content in files]
        failures = make_calls(calls, min(self._store.policy.parallel_uploads, len(calls)))
        if failures:
            raise failures[0]

    def _create_any(self, path: str, content: Buffer) -> None:
        self.create(path, content)

    def read(self, path: str) -> bytes:
        facts = self._store.facts(path)
        if facts is None:
            raise FileNotFoundError(path)
        return self._store.read(path, 0, facts.size)

    def size(self, path: str) -> int | None:
        facts = self._store.facts(path)
        return None if facts is None else facts.size

    def names(self, directory: str) -> list[str]:
        return [path.removeprefix(f"{directory}/") for path in self._store.names(directory)]

    def remove(self, path: str) -> None:
        self._store.remove(path)

    def tidy(self, now_ms: int) -> None:
        """An object is there whole or not at all."""
