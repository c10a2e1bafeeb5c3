"""The window of accepted batch ids, so that a batch sent again is answered but not stored again.

The receipts travel in the journal's frames. Trimming a frame removes its receipts, so the window is saved to
a separate file before that; a start reads the file and then the remaining frames. A batch sent again after
its id has left the window is a new batch: at least once.
"""

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from app.commit.message_ids import MessageReceipt, MessageWindow
from app.commit.payload import BatchReceipt
from app.kinds import Kind

DIGEST_BYTES: Final = 16
MESSAGES_SHARE: Final = 4


SAVED_HEADER: Final = b"parquet-sink batch ids 1\n"
"""The magic bytes; a CRC-32 of the rest (4 bytes, little-endian) and SavedWindow as MessagePack follow."""


class WindowDamaged(Exception):
    """The saved window cannot be read."""


class DeduplicationPolicy(msgspec.Struct, frozen=True):
    """max_batches: remembered ids, shared by the workspaces that have any: one with more than its share loses
        ids first. max_lsn_distance: how many frames back they may be.
    max_messages: remembered message ids of one workspace; MESSAGES_SHARE times as many in total.
    repeat_window_ms: how long a batch without an id is recognised as a repetition by its bytes.
    """

    max_batches: int = 100_000
    max_lsn_distance: int = 10_000_000
    max_messages: int = 100_000
    repeat_window_ms: int = 60_000


class RememberedBatch(msgspec.Struct, frozen=True, array_like=True):
    lsn: int
    digest: bytes
    rows: int


class SavedWindow(msgspec.Struct, frozen=True):
    """The window as saved in the file: oldest first, complete up to `through_lsn`."""

    through_lsn: int
    batches: list[tuple[int, BatchReceipt]]
    messages: list[MessageReceipt] = []


SAVED_WINDOWS: Final = msgspec.msgpack.Decoder(SavedWindow)
"""Created at import: msgspec crashes if several threads decode a class for the first time at once."""


def digest(kind: Kind, body: bytes | bytearray) -> bytes:
    """Distinguishes another payload, or the same one sent as rows of another kind, under the same id.

    It protects no secret, so a short hash is enough.
    """
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES, person=kind.value.encode()).digest()


class DeduplicationWindow:
    """A bounded set of accepted batch ids; used by the commit thread, except that any thread may call
    `dump`."""

    def __init__(self, policy: DeduplicationPolicy) -> None:
        self._policy = policy
        self.messages: Final = MessageWindow(policy.max_messages, MESSAGES_SHARE * policy.max_messages)
        self._batches: OrderedDict[tuple[int, bytes], RememberedBatch] = OrderedDict()
        self._ids: dict[int, OrderedDict[bytes, None]] = {}  # by workspace, oldest first
        self._lock = threading.Lock()
        self._last_lsn = 0

    def __len__(self) -> int:
        return len(self._batches)

    def find(self, workspace_id: int, batch_id: bytes) -> RememberedBatch | None:
        return self._batches.get((workspace_id, batch_id))

    @property
    def repeat_window_ms(self) -> int:
        return self._policy.repeat_window_ms

    def remember(
        self, lsn: int, receipts: Iterable[BatchReceipt], messages: Iterable[MessageReceipt] = ()
    ) -> None:
        """Adds the receipts of the frame at `lsn`; the oldest ids are dropped when the window is full."""
        with self._lock:
            self.messages.remember(messages)
            for receipt in receipts:
                key = (receipt.workspace_id, receipt.batch_id)
                if key in self._batches:
                    self._drop(*key)
                self._batches[key] = RememberedBatch(lsn, receipt.digest, receipt.rows)
                self._ids.setdefault(receipt.workspace_id, OrderedDict())[receipt.batch_id] = None
                if len(self._batches) > self._policy.max_batches:
                    self._make_room(receipt.workspace_id)
            self._last_lsn = max(self._last_lsn, lsn)
            self._forget()

    def _make_room(self, workspace_id: int) -> None:
        """Drops one id: the oldest of this workspace if it has its share, else of the one with the most."""
        if len(self._ids[workspace_id]) * len(self._ids) <= self._policy.max_batches:
            workspace_id = max(self._ids, key=lambda each: len(self._ids[each]))
        self._drop(workspace_id, next(iter(self._ids[workspace_id])))

    def _drop(self, workspace_id: int, batch_id: bytes) -> None:
        del self._batches[workspace_id, batch_id]
        ids = self._ids[workspace_id]
        del ids[batch_id]
        if not ids:
            del self._ids[workspace_id]

    def _forget(self) -> None:
        oldest_lsn = self._last_lsn - self._policy.max_lsn_distance
        while self._batches:
            key, first = next(iter(self._batches.items()))
            if first.lsn >= oldest_lsn:
                return
            self._drop(*key)

    def dump(self) -> bytes:
        """The whole window, to be saved before the journal is trimmed."""
        with self._lock:
            batches = [
                (seen.lsn, BatchReceipt(workspace_id, batch_id, seen.digest, seen.rows))
                for (workspace_id, batch_id), seen in self._batches.items()
            ]
            saved = msgspec.msgpack.encode(SavedWindow(self._last_lsn, batches, self.messages.dump()))
        return SAVED_HEADER + zlib.crc32(saved).to_bytes(4, "little") + saved

    def load(self, saved: bytes) -> None:
        """Reads what `dump` wrote, or an earlier version did. Raises WindowDamaged."""
        if saved.startswith(SAVED_HEADER):
            crc, saved = saved[len(SAVED_HEADER) :][:4], saved[len(SAVED_HEADER) + 4 :]
            if zlib.crc32(saved).to_bytes(4, "little") != crc:
                raise WindowDamaged("its checksum is wrong")
        try:
            window = SAVED_WINDOWS.decode(saved)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WindowDamaged(str(error)) from None
        for lsn, receipt in window.batches:
            self.remember(lsn, (receipt,))
        self.messages.remember(window.messages)
        self._last_lsn = max(self._last_lsn, window.through_lsn)
