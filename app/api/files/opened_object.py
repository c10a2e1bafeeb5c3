"""A published file on an object store, read in ranges as it is sent."""

from typing import Final, Self

from app.api.files.response import Opened
from app.errors import NotFound, Overloaded
from app.object_store.store import ObjectFacts, ObjectStore, StoreUnavailable

READ_BYTES: Final = 4 << 20
"""Bytes that one request reads and one response holds in memory: each request costs a round trip, and
money."""

RETRY_AFTER_S: Final = 5


class OpenedObject(Opened):
    """An `Opened` object. Objects never change, so nothing is held open."""

    read_bytes = READ_BYTES

    def __init__(self, store: ObjectStore, path: str, facts: ObjectFacts) -> None:
        self._store = store
        self._path = path
        self.size = facts.size
        self.modified_s = facts.modified.timestamp()
        self.etag = facts.etag or f'"{facts.size:x}-{facts.modified.timestamp():.0f}"'

    @classmethod
    async def open(cls, store: ObjectStore, path: str) -> Self:
        """Raises NotFound if the object does not exist; Overloaded if the store does not respond."""
        try:
            facts = await store.facts_soon(path)
        except StoreUnavailable:
            raise Overloaded(
                "The object store does not respond; try again.", retry_after_s=RETRY_AFTER_S
            ) from None
        if facts is None:
            raise NotFound("The file was published but is no longer in its place.")
        return cls(store, path, facts)

    async def read(self, offset: int, size: int) -> bytes:
        return await self._store.read_soon(self._path, offset, size)

    def close(self) -> None:
        """Nothing is open."""
