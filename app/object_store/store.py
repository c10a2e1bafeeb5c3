"""Objects that are written once, whole, and read in ranges. Every failure is an OSError."""

import contextlib
import errno
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from app.disk.durable_file import Buffer
from app.object_store.client import first_line, make_client
from app.object_store.policy import StorePolicy

if TYPE_CHECKING:
    from obstore import ObjectMeta

    from app.object_store.client import Client

READ_BYTES: Final = 4 << 20
"""How much of an object is read at a time to compare it."""

MEDIA_TYPE: Final = "application/vnd.apache.parquet"


class StoreUnavailable(OSError):
    """The store could not be asked, or did not do it; it may be tried again."""


class NameTaken(Exception):
    """Another object has this name, and stays. Not an OSError: trying again does not help."""

    def __init__(self, path: str) -> None:
        super().__init__(f"an object that this service did not write has the name {path}")
        self.path = path


class ObjectFacts(msgspec.Struct, frozen=True):
    """size: bytes. etag: as the store gives it, quotes included; None where it gives none."""

    size: int
    modified: datetime
    etag: str | None


class ObjectStore:
    """One bucket or container below its prefix. Paths are posix and relative to it. Safe from any thread.

    No request is repeated here, and none takes longer than the policy says.
    """

    def __init__(self, policy: StorePolicy) -> None:
        """Raises StoreMisconfigured."""
        self.policy = policy
        self._client: Client = make_client(policy)

    def create(self, path: str, content: Buffer, crc: int) -> None:
        """Upload bytes whole, as a new object. Harmless when that was done before: then the object is there.

        crc: CRC-32 of the content. Raises NameTaken when other bytes have this name; StoreUnavailable,
        and then the object may or may not be there.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        conditional = self.policy.conditional_writes
        content = memoryview(content).cast("B")
        if not conditional and self._is_same(path, len(content), crc):
            return
        try:
            with _as_store_error(path):
                obstore.put(
                    self._client,
                    path,
                    content,
                    attributes={"Content-Type": MEDIA_TYPE},
                    mode="create" if conditional else "overwrite",
                    use_multipart=False,
                )
        except FileNotFoundError as error:
            raise StoreUnavailable(errno.ENOENT, first_line(error), path) from None
        except AlreadyExistsError as error:
            if not self._is_same(path, len(content), crc):  # another upload of it is under way
                raise StoreUnavailable(errno.EAGAIN, first_line(error), path) from None

    def _is_same(self, path: str, size: int, crc: int) -> bool:
        """False when there is no such object; raises NameTaken when it has other bytes."""
        facts = self.facts(path)
        if facts is None:
            return False
        if facts.size != size or self.crc(path, size) != crc:
            raise NameTaken(path)
        return True

    def facts(self, path: str) -> ObjectFacts | None:
        """None when there is no such object. Raises StoreUnavailable."""
        import obstore

        try:
            with _as_store_error(path):
                found = obstore.head(self._client, path)
        except FileNotFoundError:
            return None
        return _facts(found)

    async def facts_soon(self, path: str) -> ObjectFacts | None:
        """`facts`, for an event loop."""
        import obstore

        try:
            with _as_store_error(path):
                return _facts(await obstore.head_async(self._client, path))
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer only where the object ends first.

        Raises FileNotFoundError, StoreUnavailable.
        """
        import obstore

        with _as_store_error(path):
            return bytes(obstore.get_range(self._client, path, start=offset, length=size))

    async def read_soon(self, path: str, offset: int, size: int) -> bytes:
        """`read`, for an event loop."""
        import obstore

        with _as_store_error(path):
            return bytes(await obstore.get_range_async(self._client, path, start=offset, length=size))

    def crc(self, path: str, size: int) -> int:
        """CRC-32 of the object's first `size` bytes. Raises StoreUnavailable."""
        crc = 0
        for offset in range(0, size, READ_BYTES):
            crc = zlib.crc32(self.read(path, offset, min(READ_BYTES, size - offset)), crc)
        return crc

    def names(self, directory: str) -> Iterator[str]:
        """Paths of all objects below a directory, in no order. Raises StoreUnavailable."""
        import obstore

        pages = obstore.list(self._client, directory)
        while True:
            with _as_store_error(directory or str(self.policy.url)):
                page = next(pages, None)
            if page is None:
                return
            yield from (each["path"] for each in page)

    def remove(self, path: str) -> None:
        """Delete an object; harmless when it is not there. Raises StoreUnavailable."""
        import obstore

        with contextlib.suppress(FileNotFoundError), _as_store_error(path):
            obstore.delete(self._client, path)


def _facts(meta: "ObjectMeta") -> ObjectFacts:
    return ObjectFacts(meta["size"], meta["last_modified"], meta["e_tag"])


@contextlib.contextmanager
def _as_store_error(path: str) -> Iterator[None]:
    """What the client raises, as the errors that files have; AlreadyExistsError passes."""
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except (AlreadyExistsError, FileNotFoundError):
        raise
    except BaseError as error:
        raise StoreUnavailable(errno.EIO, first_line(error), path) from None
