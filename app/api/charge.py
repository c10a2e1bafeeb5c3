"""Charges the body of one request against the bytes that may be in flight, as it arrives."""

from typing import Final

from app.commit.admission import Admission

STEP_BYTES: Final = 256 << 10
"""Bodies up to this size are charged once; larger ones in steps of it, as they arrive."""

GRACE_SHARE: Final = 6
"""The grace time is the deadline for a body divided by this; after that, a body must arrive at the rate that
just meets the deadline."""


class Charge:
    """Used only on the event loop. expected: the most bytes that the body will have.

    `begin`, `arrived` and `settle` raise Refused, and then leave the charge unchanged.
    """

    __slots__ = ("_admission", "_expected", "_holds", "held", "workspace_id")

    def __init__(self, admission: Admission, workspace_id: int, expected: int) -> None:
        self._admission = admission
        self._expected = expected
        self._holds = False
        self.workspace_id = workspace_id
        self.held = 0

    def begin(self, received: int = 0) -> None:
        size = min(self._expected, received + STEP_BYTES)
        self._admission.enter(self.workspace_id, size)
        self.held, self._holds = size, True

    def arrived(self, received: int) -> None:
        """Notes that this many bytes of the body have arrived so far."""
        if received > self.held:
            self._resize(min(max(self._expected, received), received + STEP_BYTES))

    def settle(self, size: int) -> None:
        """The body is complete, or decompressed, and has this size."""
        self._resize(size)

    def pass_on(self) -> None:
        """Passes on the responsibility for releasing the charge."""
        self._holds = False

    def end(self) -> None:
        if self._holds:
            self._holds = False
            self._admission.leave(self.workspace_id, self.held)

    def _resize(self, size: int) -> None:
        self._admission.resize(self.workspace_id, self.held, size)
        self.held = size


def due_at(since: float, seconds: float, received: int, expected: int) -> float:
    """When the next bytes of a body that began at `since` must have arrived; it may take `seconds` in all.

    A body that comes at an even rate and in time is never late; one that stalls does not keep its place for
    all of it.
    """
    grace = seconds / GRACE_SHARE
    return since + grace + (seconds - grace) * min(received / max(expected, 1), 1.0)
