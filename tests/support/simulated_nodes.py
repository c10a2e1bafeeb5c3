"""Files and directories in memory that know what of them is on the medium."""

import random
from collections.abc import Callable
from dataclasses import dataclass

SECTOR_BYTES = 512


class SimFile:
    """`cached` is what a read sees; `durable` with any part of `pending` is what a power cut leaves."""

    def __init__(self, content: bytes = b"") -> None:
        self.cached = bytearray(content)
        self.durable = bytearray(content)
        self.pending: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append((offset, data))
        _put(self.cached, offset, data)

    def truncate(self, size: int) -> None:
        self.pending.append((size, None))
        del self.cached[size:]

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending.clear()

    def sync_fails(self) -> None:
        """The kernel gives up on the dirty pages and marks them clean: they never reach the disk."""
        self.pending.clear()

    def forget_cache(self) -> None:
        self.cached = bytearray(self.durable)
        for offset, data in self.pending:
            _apply(self.cached, offset, data)

    def torn(self, rng: random.Random) -> bytes:
        """One of the contents that a power cut may leave."""
        content = bytearray(self.durable)
        chance = rng.choice((0.0, 1.0, 0.5, 0.9))
        for offset, data in self.pending:
            if data is None:
                if rng.random() < chance:
                    _apply(content, offset, None)
                continue
            at = 0
            while at < len(data):
                length = min(SECTOR_BYTES - (offset + at) % SECTOR_BYTES, len(data) - at)
                if rng.random() < chance:
                    _put(content, offset + at, data[at : at + length])
                at += length
            if rng.random() < 0.1 and len(content) < offset + len(data):
                # The length got to the disk and the data did not: stale bytes of the medium show.
                content.extend(rng.randbytes(offset + len(data) - len(content)))
        return bytes(content)


class SimDirectory:
    def __init__(self) -> None:
        self.cached: dict[str, SimFile | SimDirectory] = {}
        self.durable: dict[str, SimFile | SimDirectory] = {}

    def contents(self) -> frozenset[tuple[str, object]]:
        """All names and bytes below, as a read sees them: equal for equal trees."""
        return frozenset(
            (name, bytes(node.cached) if isinstance(node, SimFile) else node.contents())
            for name, node in self.cached.items()
        )


@dataclass
class NameChange:
    """Names that change together, as of one rename: durable when one of their directories is synced."""

    changes: list[tuple[SimDirectory, str, SimFile | SimDirectory | None]]

    def apply(self, entries: Callable[[SimDirectory], dict[str, SimFile | SimDirectory]]) -> None:
        for directory, name, node in self.changes:
            if node is None:
                entries(directory).pop(name, None)
            else:
                entries(directory)[name] = node


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    else:
        _put(content, offset, data)
