"""The latest refusals of each workspace, truncated and bounded, to find out why a row is missing.

The commit thread records at most a few refusals per group; they are kept only in memory.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from app.errors import RequestError
from app.submission import RowRefusal, Submission, WireFormat

PER_WORKSPACE_MAX: Final = 100
WORKSPACES_MAX: Final = 200
"""Above this, the workspace whose last refusal is oldest is dropped."""

PER_GROUP_MAX: Final = 100
PER_BATCH_MAX: Final = 10
"""Refusals kept of one batch; the answer names more of its rows."""

TEXT_CHARACTERS_MAX: Final = 300
"""The length to which a message, and a row, are cut."""

SEARCHED_BYTES_MAX: Final = 64 << 10
"""Rows of a larger body are not shown: searching for them would delay the commit."""


class RecentRefusal(msgspec.Struct, frozen=True, array_like=True):
    """at_ms: when the batch was received. kind: empty if not known.

    reason: a code, or `invalid_row`.
    row: its number in the batch, from 1; 0 for a whole batch. text: the beginning of the row, empty if not
    known.
    """

    at_ms: int
    workspace_id: int
    kind: str
    reason: str
    row: int
    field: str
    message: str
    text: str


class RecentRefusals:
    """May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[int, deque[RecentRefusal]] = {}

    def note(self, refused: Sequence[RecentRefusal]) -> None:
        with self._lock:
            for each in refused:
                # Taken out and put in again: the first is the one that was quiet for the longest time.
                kept = self._of.pop(each.workspace_id, None) or deque(maxlen=PER_WORKSPACE_MAX)
                kept.append(each)
                self._of[each.workspace_id] = kept
                if len(self._of) > WORKSPACES_MAX:
                    del self._of[next(iter(self._of))]

    def last(self, workspace_id: int | None, count: int = PER_WORKSPACE_MAX) -> list[RecentRefusal]:
        """The refusals of one workspace, or of all if it is None, newest first."""
        with self._lock:
            if workspace_id is not None:
                return list(self._of.get(workspace_id, ()))[::-1][:count]
            found = [each for kept in self._of.values() for each in kept]
        found.sort(key=lambda each: each.at_ms)
        return found[::-1][:count]


def batch_refused(submission: Submission, error: RequestError) -> RecentRefusal:
    """A record of a batch that was refused entirely."""
    return _note(submission, error.code, 0, "", error.message, _Texts(submission))


def rows_refused(
    submission: Submission, reason: str, refusals: Sequence[RowRefusal]
) -> Iterator[RecentRefusal]:
    """Records of the first refused rows of a batch."""
    texts = _Texts(submission)
    for each in refusals[:PER_BATCH_MAX]:
        yield _note(submission, reason, each.row, each.field, each.message, texts)


def _note(
    submission: Submission, reason: str, row: int, field: str, message: str, texts: "_Texts"
) -> RecentRefusal:
    return RecentRefusal(
        submission.received_ms,
        submission.workspace_id,
        submission.kind.value if submission.kind is not None else "",
        reason,
        row,
        field[:TEXT_CHARACTERS_MAX],
        message[:TEXT_CHARACTERS_MAX],
        texts.of(row),
    )


class _Texts:
    """The beginnings of the rows of a JSON body: lines, or elements of an array."""

    def __init__(self, submission: Submission) -> None:
        shown = submission.wire_format is WireFormat.JSON and submission.messages is None
        self._body = bytes(submission.body) if shown and len(submission.body) <= SEARCHED_BYTES_MAX else b""
        self._rows: Sequence[bytes | msgspec.Raw] | None = None

    def of(self, row: int) -> str:
        """row: from 1; 0 for the body."""
        if not row:
            return _cut(self._body)
        if self._rows is None:
            self._rows = _rows(self._body)
        return _cut(bytes(self._rows[row - 1])) if row <= len(self._rows) else ""


def _rows(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    if body.lstrip().startswith(b"["):
        try:
            return msgspec.json.decode(body, type=list[msgspec.Raw])
        except msgspec.DecodeError:
            return [body]
    lines = body.split(b"\n")
    # One object over several lines is one row.
    return [body] if lines[0].strip() == b"{" else lines


def _cut(text: bytes) -> str:
    return text.strip()[: 4 * TEXT_CHARACTERS_MAX].decode("utf-8", "replace")[:TEXT_CHARACTERS_MAX]
