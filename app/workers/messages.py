"""The messages between workers and the process that owns the journal, over one socket per worker.

    bytes   field
    4       length of the message, unsigned, little-endian
    n       the message as MessagePack, an array that begins with its type

Both ends run the same code of the same installation: the format is no contract.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.commit.admission import Levels
from app.commit.quota import Excess
from app.commit.recent_refusals import RecentRefusal
from app.commit.settle import BatchOutcome, Proposal
from app.commit.store import WhyNot

MESSAGE_BYTES_MAX: Final = 1 << 30
"""More than any group can hold: a larger length is invalid."""

OUTCOMES_BUFFER_BYTES: Final = 4 << 20
"""How many bytes may be queued for a worker that does not read."""

_LENGTH = struct.Struct("<I")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The worker runs. Answered by the socket on which it is to accept, then by State.

    Not earlier: if the main process is killed while the worker starts, the port must not stay occupied.
    """


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A group; `number` comes back with what became of it."""

    number: int
    proposal: Proposal


class Publish(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Write what this workspace has had accepted."""

    number: int
    workspace_id: int


class StateSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """State `version` counts from now on."""

    version: int


Family = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""Metrics: name, documentation, type, and samples as name, labels, value."""


class Measured(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The worker's metrics since its start. number: of the request, 0 if unrequested."""

    number: int
    families: Sequence[Family]


class Noted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The worker's latest refusals."""

    refused: Sequence[RecentRefusal]


class GroupStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The group is durable. outcomes: one per batch. sync_seconds: what that took the disk."""

    number: int
    outcomes: Sequence[BatchOutcome]
    sync_seconds: float


class GroupFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Nothing of the group counts as accepted. why, text: of NotStored."""

    number: int
    why: WhyNot
    text: str


class PublishDone(msgspec.Struct, frozen=True, array_like=True, tag=True):
    number: int
    published: bool


class AdmissionState(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What admission goes by. closed: why nothing is taken, or None. crowded: workspaces over their share of
    the buffer. in_excess: workspaces that have used up their quota. version: rises when `closed` changes."""

    version: int
    closed: str | None
    levels: Levels
    crowded: Sequence[int]
    in_excess: Sequence[Excess] = ()


class Measure(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by Measured."""

    number: int


FromWorker = Hello | Propose | Publish | StateSeen | Measured | Noted
ToWorker = GroupStored | GroupFailed | PublishDone | AdmissionState | Measure


class Stuck(Exception):
    """The other end does not read."""


class Channel:
    """One end of the socket. Any thread sends, one receives.

    receives: the type of what comes.
    """

    def __init__(self, connection: socket.socket, receives: Any) -> None:
        self._connection = connection
        self._decoder = msgspec.msgpack.Decoder(receives)
        self._encoder = msgspec.msgpack.Encoder()
        self._sending = threading.Lock()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OUTCOMES_BUFFER_BYTES)

    def send(self, message: Any) -> None:
        """Blocks while the other end is slow. Raises OSError when it is gone."""
        data = self._encoder.encode(message)
        with self._sending:
            self._connection.sendall(_LENGTH.pack(len(data)))
            self._connection.sendall(data)

    def send_at_once(self, message: Any) -> None:
        """Never blocks: raises Stuck when there is no room, and then the channel is of no use any more.

        OSError when the other end is gone.
        """
        data = self._encoder.encode(message)
        data = _LENGTH.pack(len(data)) + data
        with self._sending:
            try:
                sent = self._connection.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
        if sent < len(data):
            raise Stuck

    def receive(self) -> Any:
        """The next message; None when there will be none."""
        head = self._read(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MESSAGE_BYTES_MAX:
            return None
        data = self._read(length)
        return None if data is None else self._decoder.decode(data)

    def send_socket(self, passed: socket.socket) -> None:
        """Before any message: the other end waits for it in `receive_socket`."""
        with self._sending:
            socket.send_fds(self._connection, [b"\0"], [passed.fileno()])

    def receive_socket(self) -> socket.socket:
        """Raises ConnectionError when the other end is gone."""
        _, descriptors, _, _ = socket.recv_fds(self._connection, 1, 1)
        if not descriptors:
            raise ConnectionError("the connection was closed")
        return socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        """Ends the other thread's `receive`, too."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self, size: int) -> bytearray | None:
        data = bytearray(size)
        view = memoryview(data)
        filled = 0
        while filled < size:
            try:
                count = self._connection.recv_into(view[filled:], 0, socket.MSG_WAITALL)
            except OSError:
                return None
            if not count:
                return None
            filled += count
        return data
